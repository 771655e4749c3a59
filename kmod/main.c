// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <linux/virtio.h>
#include <linux/workqueue.h>
#include <xen/xen.h>

#include "compat.h"
#include "grantio.h"

#define GK_TREE	    (GK_KERNEL_HAS_OF_IOMMU && !GK_KERNEL_HAS_XEN_VIRTIO) /* else it is the kernel's, or nobody's */
#define REAP_PERIOD (HZ / 8)
#define REAP_CALL   64u /* what a call of gio_grants_reap() tries */

struct gio_os gk_os;

static void reap(struct work_struct *work);
static DECLARE_DELAYED_WORK(reap_work, reap);

static void reap(struct work_struct *work)
{
	u32 left = gio_grants_reap(gk_os.grants), calls = left / REAP_CALL;

	/* All once: much of it may be only what was not tried before (entry_linux.c). */
	while (calls--)
		left = gio_grants_reap(gk_os.grants);
	if (left)
		schedule_delayed_work(&reap_work, REAP_PERIOD);
}

void gk_reap_schedule(void)
{
	schedule_delayed_work(&reap_work, REAP_PERIOD);
}

/* ---- which virtio devices must be restricted ------------------------------------------------------------------- */

static gk_restricted_fn *restricted_before;

static bool restricted(struct virtio_device *vdev)
{
	return gk_dma_attached(vdev->dev.parent) || (restricted_before && restricted_before(vdev));
}

static void restricted_begin(void)
{
	restricted_before = gk_restricted_get();
	gk_restricted_set(restricted);
}

static void restricted_end(void)
{
	gk_restricted_set(restricted_before);
	/* Whoever is in restricted() still, which does not sleep, has left it when all tasks have slept once. */
	synchronize_rcu_tasks();
}

/* ---- module ---------------------------------------------------------------------------------------------------- */

static int __init gk_init(void)
{
	int ret;

	/* A PV guest's frames are not its own numbers, and none of its accesses can reach a device: no such devices. */
	if (!xen_domain() || xen_pv_domain())
		return -ENODEV;
	if (GK_KERNEL_HAS_XEN_VIRTIO)
		pr_info("grantio: the kernel has CONFIG_XEN_VIRTIO: devices of the device tree are left to it\n");
	ret = gio_grants_init(&gk_os.grants, &gk_os, 0);
	if (ret) {
		pr_err("grantio: cannot use the grant table: %d\n", ret);
		return ret;
	}
	restricted_begin();
	ret = gk_type_register();
	if (ret) {
		pr_err("grantio: cannot register with virtio: %d\n", ret);
		goto end_restricted;
	}
	ret = GK_TREE ? gk_tree_register() : 0;
	if (ret) {
		pr_err("grantio: cannot register with the device tree: %d\n", ret);
		goto unregister_type;
	}
	ret = gk_front_register();
	if (ret) {
		pr_err("grantio: cannot register with xenbus: %d\n", ret);
		goto unregister_tree;
	}
	return 0;

unregister_tree:
	if (GK_TREE)
		gk_tree_unregister();
unregister_type:
	gk_type_unregister();
end_restricted:
	restricted_end();
	gio_grants_exit(gk_os.grants);
	return ret;
}

static void __exit gk_exit(void)
{
	u32 held;

	gk_front_unregister();
	if (GK_TREE)
		gk_tree_unregister();
	gk_type_unregister();
	cancel_delayed_work_sync(&reap_work); /* no device is left that would schedule it */
	restricted_end();
	held = gio_grants_exit(gk_os.grants);
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
