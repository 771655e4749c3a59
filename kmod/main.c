// SPDX-License-Identifier: GPL-2.0-only
/*
 * grantio.ko: virtio devices over grants for Linux kernels that were built without CONFIG_XEN_VIRTIO.
 *
 * Concepts. Toolstack and backend describe a device in xenstore (docs/xenbus.md). The frontend (frontend.c) turns it
 * into a virtio device, by one of two transports: "msg" (msg.c), whose device is ours, or "mmio" (mmio.c), for the
 * kernel's own virtio_mmio driver. Its parent is a platform device with DMA operations of its own (dma_ops.c): by
 * copies in a pool that was granted when the device came up (pooled.c), or by grants of what is mapped. Grants are the
 * guest library's (guest/grant, guest/dma), whose system is this kernel: os_linux.c gives memory and locks,
 * entry_linux.c the kernel's grant references. Devices that a device tree describes have their platform device (or PCI
 * device) already: of.c gives them these DMA operations.
 *
 * Restricted. Such a device never has other DMA operations than these, they return no address but grants, and the
 * device must offer VERSION_1 and ACCESS_PLATFORM. A grant that the backend still holds at unmap goes to quarantine
 * with its page; the request completes and the device goes on.
 *
 * Whole units or copies. Without a pool a unit of 4 KiB is granted if all of it is mapped. If only a part is mapped,
 * the backend sees a copy of that part, with zeroes around it (bounce.c).
 *
 * Errors: 0 or -errno. Threads: as each function says.
 */
#include <linux/module.h>
#include <xen/xen.h>

#include "compat.h"
#include "frontend.h"
#include "of.h"
#include "reap.h"
#include "virtio.h"

#define GK_OF (GK_KERNEL_HAS_OF_IOMMU && !GK_KERNEL_HAS_XEN_VIRTIO) /* else it is the kernel's, or nobody's */

static int __init gk_init(void)
{
	int err;

	if (!xen_domain())
		return -ENODEV;
	if (GK_KERNEL_HAS_XEN_VIRTIO)
		pr_info("grantio: the kernel has CONFIG_XEN_VIRTIO: devices of the device tree are left to it\n");
	err = gk_reap_open();
	if (err) {
		pr_err("grantio: cannot use the grant table: %d\n", err);
		return err;
	}
	err = gk_virtio_register();
	if (err) {
		pr_err("grantio: cannot register with virtio: %d\n", err);
		goto close_grants;
	}
	err = gk_front_register();
	if (err) {
		pr_err("grantio: cannot register with xenbus: %d\n", err);
		goto unregister_virtio;
	}
	/* Devices of the device tree get their drivers when its node has one, and not before. */
	if (GK_OF)
		gk_front_settle();
	err = GK_OF ? gk_of_register() : 0;
	if (err) {
		pr_err("grantio: cannot register with the device tree: %d\n", err);
		goto unregister_front;
	}
	return 0;

unregister_front:
	gk_front_unregister();
unregister_virtio:
	gk_virtio_unregister();
close_grants:
	gk_reap_close();
	return err;
}

static void __exit gk_exit(void)
{
	u32 held;

	gk_front_unregister();
	if (GK_OF)
		gk_of_unregister();
	gk_virtio_unregister();
	held = gk_reap_close();
	if (held)
		pr_notice("grantio: %u grants are still held, and left to the kernel with their pages\n", held);
}

module_init(gk_init);
module_exit(gk_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("virtio disks over Xen grants");
/* Nothing else loads it: it has no alias for devices that are not described by firmware. */
MODULE_SOFTDEP("post: virtio_mmio");
MODULE_ALIAS("xen:virtio_disk");
MODULE_ALIAS("xen:virtio");
