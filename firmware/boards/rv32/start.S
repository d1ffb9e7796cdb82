// Reset and trap entry of the RISC-V board.
  .section .reset, "ax"
  .globl tbft_reset
tbft_reset:
  .option push
  .option norelax
  la gp, __global_pointer$
  .option pop
  la t0, tbft_trap_entry
  csrw mtvec, t0
  la t0, tbft_trap_stack_top
  csrw mscratch, t0
  // The first 4 MiB stand for flash: read and execute only, in machine mode too (locked).
  // pmpaddr of a naturally aligned power of two: address / 4, then ones up to half of its size.
  la t0, tbft_flash_start
  srli t0, t0, 2
  li t1, (0x400000 / 8) - 1
  or t0, t0, t1
  csrw pmpaddr0, t0
  li t0, 0x9d
  csrw pmpcfg0, t0
  csrw mcountinhibit, zero
  la sp, tbft_stack_top
  call tbft_start

// Interrupts and exceptions, on a stack of their own: a stack overflow can still be told.
  .text
  .balign 4
tbft_trap_entry:
  csrrw sp, mscratch, sp
  addi sp, sp, -64
  sw ra, 0(sp)
  sw t0, 4(sp)
  sw t1, 8(sp)
  sw t2, 12(sp)
  sw t3, 16(sp)
  sw t4, 20(sp)
  sw t5, 24(sp)
  sw t6, 28(sp)
  sw a0, 32(sp)
  sw a1, 36(sp)
  sw a2, 40(sp)
  sw a3, 44(sp)
  sw a4, 48(sp)
  sw a5, 52(sp)
  sw a6, 56(sp)
  sw a7, 60(sp)
  csrr a0, mcause
  csrr a1, mepc
  csrr a2, mtval
  call tbft_rv32_trap
  lw ra, 0(sp)
  lw t0, 4(sp)
  lw t1, 8(sp)
  lw t2, 12(sp)
  lw t3, 16(sp)
  lw t4, 20(sp)
  lw t5, 24(sp)
  lw t6, 28(sp)
  lw a0, 32(sp)
  lw a1, 36(sp)
  lw a2, 40(sp)
  lw a3, 44(sp)
  lw a4, 48(sp)
  lw a5, 52(sp)
  lw a6, 56(sp)
  lw a7, 60(sp)
  addi sp, sp, 64
  csrrw sp, mscratch, sp
  mret

  .bss
  .balign 16
  .space 2048
tbft_trap_stack_top:
