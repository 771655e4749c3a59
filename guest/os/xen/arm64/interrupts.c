/* SPDX-License-Identifier: MIT */
/*
 * Interrupts that are never taken: they stay masked in the processor, but the controller (GICv3, or GICv2 where that is
 * what the host has) lets those that matter be pending, and a pending one ends WFI. Acknowledging them before what they
 * tell is looked at means that none is slept through: one that comes later is pending, and the next WFI does not sleep.
 * Three matter: Xen's event channels (all by one line), the timer that bounds a sleep, and lines of devices.
 */
#include "arch.h"
#include "interrupts.h"

#define BIT(n) (UINT32_C(1) << (n))

/* Arm IHI 0069 (GICv3) and IHI 0048 (GICv2): the distributor's registers are the same, as far as they are used. */
#define GICD_CTLR      0x000u
#define GICD_ISENABLER 0x100u
#define GICD_ICENABLER 0x180u
#define GICD_ITARGETSR 0x800u
#define GICR_SGI       0x10000u
#define GICC_CTLR      0x00u
#define GICC_PMR       0x04u
#define GICC_IAR       0x0cu
#define GICC_EOIR      0x10u
#define ENABLE_V2      1u
#define ENABLE_V3      (BIT(1) | BIT(4)) /* group 1, affinity routing */
#define IRQ_SPURIOUS   1020u		 /* and above: nothing is pending */
#define IRQ_FIRST_LINE 32u
#define LINES_PER_WORD 64u

static bool v3;
static uint64_t noted[1024 / LINES_PER_WORD];

#define SYSTEM_READ(reg, value)	 __asm__ volatile("mrs %0, " reg : "=r"(value))
#define SYSTEM_WRITE(reg, value) __asm__ volatile("msr " reg ", %0" : : "r"((uint64_t)(value)) : "memory")

#define ICC_PMR_EL1	"s3_0_c4_c6_0"
#define ICC_IAR1_EL1	"s3_0_c12_c12_0"
#define ICC_EOIR1_EL1	"s3_0_c12_c12_1"
#define ICC_SRE_EL1	"s3_0_c12_c12_5"
#define ICC_IGRPEN1_EL1 "s3_0_c12_c12_7"

static void barrier(void)
{
	__asm__ volatile("isb" : : : "memory");
}

static void gicd_write(uint64_t offset, uint32_t value)
{
	gio_xen_arch_store(GUEST_GICD_BASE + offset, 4, value);
}

/* A guest sees the controller of its host: GICv3 keeps the processor's own lines elsewhere, and has system registers.
 */
void gio_xen_interrupts_start(void)
{
	const uint32_t wanted = BIT(GUEST_TIMER_VIRT_PPI) | BIT(GUEST_EVTCHN_PPI);
	uint64_t features;

	SYSTEM_READ("id_aa64pfr0_el1", features);
	v3 = features >> 24 & 15;
	gicd_write(GICD_CTLR, v3 ? ENABLE_V3 : ENABLE_V2);
	if (v3) {
		gio_xen_arch_store(GUEST_GICV3_GICR0_BASE + GICR_SGI + GICD_ISENABLER, 4, wanted);
		SYSTEM_WRITE(ICC_SRE_EL1, 1);
		barrier();
		SYSTEM_WRITE(ICC_PMR_EL1, 0xff);
		SYSTEM_WRITE(ICC_IGRPEN1_EL1, 1);
	} else {
		gicd_write(GICD_ISENABLER, wanted);
		gio_xen_arch_store(GUEST_GICC_BASE + GICC_PMR, 4, 0xff);
		gio_xen_arch_store(GUEST_GICC_BASE + GICC_CTLR, 4, 1);
	}
	barrier();
}

/* Take one pending interrupt off the controller. IRQ_SPURIOUS or above: there is none. */
static unsigned acknowledge(void)
{
	uint64_t value;
	unsigned irq;

	if (v3)
		SYSTEM_READ(ICC_IAR1_EL1, value);
	else
		value = gio_xen_arch_load(GUEST_GICC_BASE + GICC_IAR, 4);
	irq = value & 0x3ff;
	if (irq >= IRQ_SPURIOUS)
		return irq;
	if (v3)
		SYSTEM_WRITE(ICC_EOIR1_EL1, irq);
	else
		gio_xen_arch_store(GUEST_GICC_BASE + GICC_EOIR, 4, irq);
	barrier();
	return irq;
}

void gio_xen_arch_settle(struct vcpu_info *vcpu)
{
	unsigned irq;

	while ((irq = acknowledge()) < IRQ_SPURIOUS)
		noted[irq / LINES_PER_WORD] |= UINT64_C(1) << irq % LINES_PER_WORD;
	/* Xen raises its line when it sets this, and not while it is set. Before ports are looked at: see xen/xen.h. */
	__atomic_store_n(&vcpu->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vcpu->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
}

/* CNTV_CTL_EL0: enabled, not masked. The comparison is with the counter that gio_xen_arch_now() is made of. */
void gio_xen_arch_sleep(const uint32_t *ports, unsigned count, uint64_t end)
{
	(void)ports; /* any event ends it */
	(void)count;
	SYSTEM_WRITE("cntv_cval_el0", gio_xen_arch_ticks(end));
	SYSTEM_WRITE("cntv_ctl_el0", 1);
	barrier();
	__asm__ volatile("dsb sy; wfi" : : : "memory");
	SYSTEM_WRITE("cntv_ctl_el0", 0);
	barrier();
}

bool gio_xen_arch_irq_enable(unsigned irq, bool enable)
{
	if (irq < IRQ_FIRST_LINE || irq >= IRQ_SPURIOUS)
		return false;
	if (!v3)
		gio_xen_arch_store(GUEST_GICD_BASE + GICD_ITARGETSR + irq, 1, 1); /* the first vCPU; GICv3's default */
	gicd_write((enable ? GICD_ISENABLER : GICD_ICENABLER) + irq / 32 * 4, BIT(irq % 32));
	return true;
}

bool gio_xen_arch_irq_noted(unsigned irq, bool take)
{
	uint64_t *word = &noted[irq / LINES_PER_WORD], bit = UINT64_C(1) << irq % LINES_PER_WORD;
	bool was = *word & bit;

	if (take)
		*word &= ~bit;
	return was;
}
