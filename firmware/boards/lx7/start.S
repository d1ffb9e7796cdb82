// Reset, vectors and the receive interrupt of the Xtensa board. Offsets within the vectors are those of core
// de233_fpu (core-isa.h: XCHAL_*_VECOFS).
#include "hal_qemu/receive_ring_size.h"

#define UART 0xfd050020          // 16550, registers four bytes apart
#define UART_DATA 0
#define UART_INTERRUPT_ENABLE 4
#define UART_LINE_STATUS 20
#define EXCCAUSE_LEVEL1_INTERRUPT 4
#define PS_WOE_UM 0x00040020     // windowed calls, user vector mode, interrupt level 0
#define TLB_WAY 6                // eight segments of 512 MiB, each mapped to itself after reset
#define TLB_READ_WRITE_EXECUTE 3
#define PS_WOE_UM_MASKED 0x0004002f

  .section .vectors, "ax"
tbft_vectors:                      // VECBASE takes a multiple of 1 KiB

// ---- window overflow and underflow: a caller's registers to its stack frame, and back
  .macro vector offset
  .org \offset
  .endm

  vector 0x000                   // overflow of a call4 frame: a0-a3 below the frame of its callee
  s32e a0, a5, -16
  s32e a1, a5, -12
  s32e a2, a5, -8
  s32e a3, a5, -4
  rfwo
  vector 0x040
  l32e a0, a5, -16
  l32e a1, a5, -12
  l32e a2, a5, -8
  l32e a3, a5, -4
  rfwu
  vector 0x080                   // call8: a4-a7 too, into the caller's own frame
  s32e a0, a9, -16
  l32e a0, a1, -12
  s32e a1, a9, -12
  s32e a2, a9, -8
  s32e a3, a9, -4
  s32e a4, a0, -32
  s32e a5, a0, -28
  s32e a6, a0, -24
  s32e a7, a0, -20
  rfwo
  vector 0x0c0
  l32e a0, a9, -16
  l32e a1, a9, -12
  l32e a2, a9, -8
  l32e a7, a1, -12
  l32e a3, a9, -4
  l32e a4, a7, -32
  l32e a5, a7, -28
  l32e a6, a7, -24
  l32e a7, a7, -20
  rfwu
  vector 0x100                   // call12: a4-a11 too
  s32e a0, a13, -16
  l32e a0, a1, -12
  s32e a1, a13, -12
  s32e a2, a13, -8
  s32e a3, a13, -4
  s32e a4, a0, -48
  s32e a5, a0, -44
  s32e a6, a0, -40
  s32e a7, a0, -36
  s32e a8, a0, -32
  s32e a9, a0, -28
  s32e a10, a0, -24
  s32e a11, a0, -20
  rfwo
  vector 0x140
  l32e a0, a13, -16
  l32e a1, a13, -12
  l32e a2, a13, -8
  l32e a11, a1, -12
  l32e a3, a13, -4
  l32e a4, a11, -48
  l32e a5, a11, -44
  l32e a6, a11, -40
  l32e a7, a11, -36
  l32e a8, a11, -32
  l32e a9, a11, -28
  l32e a10, a11, -24
  l32e a11, a11, -20
  rfwu

// ---- constants of the code below (a literal must lie before its load), where no vector is used
  vector 0x180                   // level 2 interrupt: never enabled
  .align 4
.Lsave:        .word tbft_vector_save
.Lfault_stack: .word tbft_fault_stack_top
.Lfault_ps:    .word PS_WOE_UM_MASKED
.Lfault_call:  .word tbft_lx7_fault
.Lring:        .word tbft_receive_ring
.Luart:        .word UART
.Lring_bytes:  .word tbft_receive_ring + 8

// ---- exceptions
  vector 0x300                   // in kernel vector mode: never entered
  wsr a2, excsave1
  j .Lfault
  vector 0x340                   // user vector mode: interrupts of level 1, and faults
  wsr a2, excsave1
  rsr a2, exccause
  beqi a2, EXCCAUSE_LEVEL1_INTERRUPT, .Lreceive
  j .Lfault
  vector 0x3c0                   // exception within an exception: a register window could not be spilled
  wsr a2, excsave1
  j .Lfault

// Notes cause, instruction and address, and starts afresh on a stack of its own.
  .org 0x400
.Lfault:
  l32r a2, .Lsave
  s32i a3, a2, 0
  rsr a3, exccause
  s32i a3, a2, 4
  rsr a3, epc1
  s32i a3, a2, 8
  rsr a3, excvaddr
  s32i a3, a2, 12
  movi a0, 0
  wsr a0, windowbase
  rsync
  movi a2, 1
  wsr a2, windowstart
  rsync
  l32r a1, .Lfault_stack
  l32r a2, .Lfault_ps
  wsr a2, ps
  rsync
  l32r a2, .Lsave
  l32i a10, a2, 4
  l32i a11, a2, 8
  l32i a12, a2, 12
  movi a0, 0
  l32r a8, .Lfault_call
  callx8 a8

// The UART has bytes: from it into the ring (hal_qemu/uart_stream.h: u32 head, u32 tail, the bytes). No call, so no register
// window is touched. When the ring is full, the interrupt is turned off and the bytes wait in the UART, and
// behind it in the emulator, until the reader has made room.
.Lreceive:
  l32r a2, .Lsave
  s32i a3, a2, 0
  s32i a4, a2, 16
  s32i a5, a2, 20
  s32i a6, a2, 24
  l32r a3, .Luart
.Lnext:
  l32i a4, a3, UART_LINE_STATUS
  bbci a4, 0, .Ldone             // no more bytes
  l32r a2, .Lring
  l32i a4, a2, 0                 // head
  l32i a5, a2, 4                 // tail
  addi a6, a4, 1
  extui a6, a6, 0, TBFT_RECEIVE_RING_BITS
  beq a6, a5, .Lfull
  l32r a5, .Lring_bytes
  add a5, a5, a4
  l32i a4, a3, UART_DATA
  s8i a4, a5, 0
  s32i a6, a2, 0
  j .Lnext
.Lfull:
  movi a4, 0
  s32i a4, a3, UART_INTERRUPT_ENABLE
.Ldone:
  l32r a2, .Lsave
  l32i a3, a2, 0
  l32i a4, a2, 16
  l32i a5, a2, 20
  l32i a6, a2, 24
  rsr a2, excsave1
  rfe

  .weak tbft_receive_ring        // a program that does not use the UART has none, and gets no interrupt

// ---- reset
  .text
  .literal_position
  .literal .Lstack, tbft_stack_top
  .literal .Lstack_entry, tbft_stack_bottom + TLB_WAY
  .literal .Lvectors, tbft_vectors
  .literal .Lps, PS_WOE_UM
  .global tbft_reset
  .align 4
tbft_reset:
  movi a0, 0
  wsr a0, intenable
  wsr a0, windowbase
  rsync
  movi a2, 1
  wsr a2, windowstart
  rsync
  l32r a2, .Lvectors
  wsr a2, vecbase
  movi a2, 0xff                  // all coprocessors: the FPU
  wsr a2, cpenable
  rsync
  l32r a2, .Lstack_entry          // physical 0 at the stack's address as well
  movi a3, TLB_READ_WRITE_EXECUTE
  wdtlb a3, a2
  dsync
  l32r a1, .Lstack
  l32r a2, .Lps
  wsr a2, ps
  rsync
  movi a0, 0
  call8 tbft_start

  .bss
  .align 16
tbft_vector_save:
  .space 32
  .space 2048
tbft_fault_stack_top:
