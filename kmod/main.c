// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <xen/xen.h>

#include "compat.h"
#include "grantio.h"
#include "reap.h"
#include "virtio.h"

#define GK_TREE (GK_KERNEL_HAS_OF_IOMMU && !GK_KERNEL_HAS_XEN_VIRTIO) /* else it is the kernel's, or nobody's */

static int __init gk_init(void)
{
	int err;

	/* A PV guest's frames are not its own numbers, and none of its accesses can reach a device: no such devices. */
	if (!xen_domain() || xen_pv_domain())
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
	err = GK_TREE ? gk_tree_register() : 0;
	if (err) {
		pr_err("grantio: cannot register with the device tree: %d\n", err);
		goto unregister_virtio;
	}
	err = gk_front_register();
	if (err) {
		pr_err("grantio: cannot register with xenbus: %d\n", err);
		goto unregister_tree;
	}
	return 0;

unregister_tree:
	if (GK_TREE)
		gk_tree_unregister();
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
	if (GK_TREE)
		gk_tree_unregister();
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
