/* SPDX-License-Identifier: MIT */
/*
 * Stands in front of an arm64 kernel and lets it begin when its virtio device answers. A guest that Xen makes at boot
 * runs before dom0 does, and a kernel that reads registers which nobody serves yet dies of it. In the file this is
 * followed, at KERNEL, by the kernel (Linux: Documentation/arch/arm64/booting.rst has the header of both).
 */
#define KERNEL	   0x200000
#define DEVICE	   0x2000000
#define MAGIC	   0x74726976 /* virtio 1.2, 4.2.2: "virt" */
#define SCHED_OP   29	      /* xen/xen.h */
#define SCHED_YIELD 0
#define XEN_HVC	   0xea1

	.text
head:
	b	start
	.long	0
	.quad	0	/* text_offset */
	.quad	SIZE	/* of all of it in memory */
	.quad	0xa	/* little endian, 4 KiB pages, anywhere */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

start:
	mov	x19, x0 /* the device tree */
	adr	x1, vectors
	msr	vbar_el1, x1
	isb
look:
	mov	x2, #DEVICE
	ldr	w3, [x2]
	ldr	w4, =MAGIC
	cmp	w3, w4
	b.eq	go
	mrs	x6, cntvct_el0 /* again in an eighth of a second: Xen logs each look */
	mrs	x7, cntfrq_el0
	add	x6, x6, x7, lsr #3
others:
	mov	x0, #SCHED_YIELD
	mov	x1, xzr
	mov	x16, #SCHED_OP
	hvc	#XEN_HVC
	mrs	x7, cntvct_el0
	cmp	x7, x6
	b.lo	others
	b	look
go:
	adr	x5, head
	add	x5, x5, #KERNEL
	mov	x0, x19
	mov	x1, xzr
	mov	x2, xzr
	mov	x3, xzr
	br	x5
	.ltorg

	/* A register that nobody serves: Xen makes it a data abort. It is as if 0 had been read. */
	.balign	2048
vectors:
	.space	0x200
	mrs	x9, elr_el1
	add	x9, x9, #4
	msr	elr_el1, x9
	mov	w3, wzr
	eret
	.balign	2048
