// The artifact linked into the image: CMake's TBFT_ARTIFACT names the file. Aligned as the loader needs it.
  .section .rodata
  .balign 16
  .globl tbft_linked_artifact
tbft_linked_artifact:
  .incbin TBFT_LINKED_ARTIFACT
  .globl tbft_linked_artifact_end
tbft_linked_artifact_end:
  .byte 0
#if defined(__linux__) && defined(__ELF__)
  .section .note.GNU-stack, "", %progbits
#endif
