/* SPDX-License-Identifier: MIT */
/*
 * Entry of an arm64 guest, as Linux's booting protocol has it (Documentation/arch/arm64/booting.rst): EL1, no MMU,
 * x0: the device tree. Maps the first 4 GiB one to one, by tables that are part of the image, so that nothing is
 * written before caches are on, and calls gio_xen_start(tree).
 */
#define NORMAL 0x705			/* block, attribute 1, inner shareable, accessed */
#define DEVICE (0x401 | 3 << 53)	/* block, attribute 0, accessed, never executed */

	.section .head, "ax"
	b start
	.long 0
	.quad 0x80000			/* from the beginning of RAM: xen.lds says the same */
	.quad gio_xen_image_end - . + 16	/* bytes, from the header on */
	.quad 2				/* little endian, 4 KiB pages */
	.quad 0, 0, 0
	.ascii "ARM\x64"
	.long 0

	.globl start
start:
	mov x19, x0
	mov x0, #0xff00			/* attribute 0: device, 1: write-back */
	msr mair_el1, x0
	ldr x0, =(25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23) /* 39 bits, write-back walks, no upper half */
	msr tcr_el1, x0
	adrp x0, tables
	msr ttbr0_el1, x0
	isb
	tlbi vmalle1
	ic iallu
	dsb nsh
	isb
	ldr x0, =0x30d0180d		/* what must be one; MMU, data and instruction caches, stack alignment */
	msr sctlr_el1, x0
	isb

	ldr x0, =gio_xen_bss
	ldr x1, =gio_xen_image_end
1:	stp xzr, xzr, [x0], #16
	cmp x0, x1
	b.lo 1b
	ldr x0, =boot_stack_end
	mov sp, x0
	ldr x0, =vectors
	msr vbar_el1, x0
	isb
	mov x0, x19
	bl gio_xen_start

	/*
	 * Accesses to devices. One that Xen refuses, as no device is there, reads as ones, and is lost as a write: its
	 * exception returns to the caller. So does one that is not aligned to its size, which the processor refuses,
	 * but not every emulator of one.
	 */
	.text
	.balign 4
	.globl gio_xen_arch_load, gio_xen_arch_store
access_begin:
gio_xen_arch_load:			/* (address, size) */
	sub w3, w1, #1
	tst x0, x3
	b.ne 9f
	cmp w1, #2
	b.lo 1f
	b.eq 2f
	cmp w1, #4
	b.eq 4f
	ldr x0, [x0]
	ret
4:	ldr w0, [x0]
	ret
2:	ldrh w0, [x0]
	ret
1:	ldrb w0, [x0]
	ret
9:	mov x0, #-1
	ret
gio_xen_arch_store:			/* (address, size, value) */
	sub w3, w1, #1
	tst x0, x3
	b.ne 9f
	cmp w1, #2
	b.lo 1f
	b.eq 2f
	cmp w1, #4
	b.eq 4f
	str x2, [x0]
	ret
4:	str w2, [x0]
	ret
2:	strh w2, [x0]
	ret
1:	strb w2, [x0]
9:	ret
access_end:

	/* All other exceptions are the guest's end. Interrupts are masked for good (interrupts.c). */
	.balign 2048
vectors:
	.set vector, 0
	.rept 16
	.balign 128
	.if vector == 4			/* synchronous, at this level */
	mrs x16, elr_el1		/* x16, x17: free within a call */
	ldr x17, =access_begin
	cmp x16, x17
	b.lo 9f
	ldr x17, =access_end
	cmp x16, x17
	b.hs 9f
	mov x0, #-1
	msr elr_el1, x30
	eret
9:
	.endif
	mov x0, #vector
	b trap
	.set vector, vector + 1
	.endr
trap:
	mrs x1, esr_el1
	mrs x2, elr_el1
	mrs x3, far_el1
	ldr x4, =boot_stack_end		/* it may be the stack that is at fault */
	mov sp, x4
	b gio_xen_trap

	/* 1 GiB each: devices and what is Xen's, RAM, more of it, nothing of ours. */
	.data
	.balign 4096
tables:
	.quad low + 3
	.quad 0x40000000 + NORMAL
	.quad 0x80000000 + NORMAL
	.quad 0xc0000000 + DEVICE
	.skip 4096 - 32
low:					/* 2 MiB each; from 0x38000000 on there are pages of Xen's (xen/arch-arm.h) */
	.set block, 0
	.rept 448
	.quad block * 0x200000 + DEVICE
	.set block, block + 1
	.endr
	.rept 64
	.quad block * 0x200000 + NORMAL
	.set block, block + 1
	.endr

	.bss
	.balign 16
	.skip 64 * 1024
boot_stack_end:

	.section .note.GNU-stack, "", @progbits
