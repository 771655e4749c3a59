/* SPDX-License-Identifier: MIT */
/*
 * Entry of a PVH guest (xen/arch-x86/hvm/start_info.h): 32-bit protected mode, no paging, ebx: struct hvm_start_info.
 * Maps the first 4 GiB one to one, goes to 64-bit mode and calls gio_xen_start(info).
 */
	.section .note.Xen, "a", @note
	.balign 4
	.long 4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY: this is a PVH guest, and where it begins */
	.asciz "Xen"
	.long start32

	.text
	.code32
	.globl start32
start32:
	cld
	mov $boot_stack_end, %esp
	mov %ebx, %esi

	mov $gio_xen_page_tables, %edi
	mov $0x83, %eax			/* present, writable, 2 MiB */
	mov $2048, %ecx
1:	mov %eax, (%edi)
	movl $0, 4(%edi)
	add $0x200000, %eax
	add $8, %edi
	dec %ecx
	jnz 1b
	mov $page_pointers, %edi	/* four tables of 1 GiB each */
	mov $gio_xen_page_tables + 3, %eax
	mov $4, %ecx
2:	mov %eax, (%edi)
	add $0x1000, %eax
	add $8, %edi
	dec %ecx
	jnz 2b
	movl $page_pointers + 3, page_top

	mov %cr4, %eax
	or $0x20, %eax			/* PAE */
	mov %eax, %cr4
	mov $page_top, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx		/* EFER */
	rdmsr
	or $0x100, %eax			/* LME */
	wrmsr
	mov %cr0, %eax
	or $0x80000001, %eax		/* PG, PE */
	mov %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $start64

	.code64
start64:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov %esi, %edi
	call gio_xen_start
3:	hlt
	jmp 3b

	/* One stub for each exception: all of them are the guest's end. */
	.globl gio_xen_traps
	.balign 16
gio_xen_traps:
	.set vector, 0
	.rept 32
	.balign 16
	mov $vector, %edi
	mov %rsp, %rsi
	jmp trap
	.set vector, vector + 1
	.endr
trap:
	and $-16, %rsp
	call gio_xen_trap

	.data
	.balign 8
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 8: code, 64 bits */
	.quad 0x00cf93000000ffff	/* 16: data */
gdt_pointer:
	.word . - gdt - 1
	.quad gdt

	.bss
	.balign 4096
	.globl gio_xen_hypercall_page
gio_xen_hypercall_page:
	.skip 4096
	.globl gio_xen_page_tables
gio_xen_page_tables:
	.skip 4 * 4096
page_pointers:
	.skip 4096
page_top:
	.skip 4096
	.balign 16
	.skip 64 * 1024
boot_stack_end:

	.section .note.GNU-stack, "", @progbits
