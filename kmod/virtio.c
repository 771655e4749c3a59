// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether a virtio device has the type that the toolstack gave it.
 *
 * virtio_mmio reads the type from registers that the backend controls. A disk's backend could call its device a
 * keyboard, a network interface or a source of random numbers, and a distribution's kernel would load a driver for it
 * at once. So the type is compared with the toolstack's, in two places:
 * - Before the virtio bus announces the device: a device of a wrong type gets the number 0, for which there is no
 *   driver.
 * - When the virtio core asks whether the device must be restricted (Linux 6.0 and later): a device of a wrong type
 *   loses ACCESS_PLATFORM, and the core refuses it. A driver that is registered at the same moment may find the device
 *   before its number is 0, and this catches it.
 * Kernels before 6.0 do not ask. There such a driver may get the device, but only the guest's administrator can load
 * one at that moment.
 *
 * The kernel does not export the virtio bus. This file registers a driver that is for no device, and finds the bus by
 * it.
 */
#include <linux/device.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>

#include "compat.h"
#include "dma_ops.h"
#include "virtio.h"

static int nothing_probe(struct virtio_device *vdev)
{
	return -ENODEV;
}

static void nothing_remove(struct virtio_device *vdev)
{
}

static const struct virtio_device_id nothing_ids[] = {{0}};

static struct virtio_driver nothing = {
	.driver.name = "grantio",
	.id_table = nothing_ids,
	.probe = nothing_probe,
	.remove = nothing_remove,
};

/* ---- types ------------------------------------------------------------------------------------------------------ */

/* The number of lines per device is limited, since the backend causes one each time that it begins anew. */
static bool type_wrong(struct virtio_device *vdev)
{
	struct gk_dma *dma = gk_dma_of(vdev->dev.parent);

	if (vdev->id.device == dma->type)
		return false;
	if (__ratelimit(&dma->complaints))
		dev_err(&vdev->dev, "grantio: type %u, where the toolstack has a device of type %u: refused\n",
			vdev->id.device, dma->type);
	return true;
}

static int type_check(struct notifier_block *block, unsigned long what, void *opaque)
{
	struct virtio_device *vdev = dev_to_virtio((struct device *)opaque);

	if (what != BUS_NOTIFY_ADD_DEVICE || !gk_dma_attached(vdev->dev.parent))
		return NOTIFY_DONE;
	if (type_wrong(vdev))
		vdev->id.device = 0;
	return NOTIFY_OK;
}

static struct notifier_block block = {.notifier_call = type_check};

/* ---- which devices must be restricted --------------------------------------------------------------------------- */

static gk_restricted_fn *restricted_before;

static bool restricted(struct virtio_device *vdev)
{
	if (!gk_dma_attached(vdev->dev.parent))
		return restricted_before && restricted_before(vdev);
	if (type_wrong(vdev))
		__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	return true;
}

static void restricted_begin(void)
{
	restricted_before = gk_restricted_get();
	gk_restricted_set(restricted);
}

static void restricted_end(void)
{
	gk_restricted_set(restricted_before);
	/* restricted() does not sleep: once every task has slept, none is in it any more, and the module may go. */
	synchronize_rcu_tasks();
}

/* ---- drivers ---------------------------------------------------------------------------------------------------- */

static int never_freezes(struct device *dev, void *unused)
{
	return dev->bus == nothing.driver.bus && dev->driver && !gk_virtio_freeze_of(drv_to_virtio(dev->driver));
}

bool gk_virtio_freezable(struct device *parent)
{
	return !device_for_each_child(parent, NULL, never_freezes);
}

static int break_device(struct device *dev, void *unused)
{
	if (dev->bus == nothing.driver.bus)
		virtio_break_device(dev_to_virtio(dev));
	return 0;
}

void gk_virtio_break(struct device *parent)
{
	device_for_each_child(parent, NULL, break_device);
}

/* ---- module ----------------------------------------------------------------------------------------------------- */

int gk_virtio_register(void)
{
	int err = register_virtio_driver(&nothing);

	gk_dma_break_by(gk_virtio_break);
	if (err)
		return err;
	err = bus_register_notifier(nothing.driver.bus, &block);
	if (err) {
		unregister_virtio_driver(&nothing);
		return err;
	}
	restricted_begin();
	return 0;
}

void gk_virtio_unregister(void)
{
	restricted_end();
	bus_unregister_notifier(nothing.driver.bus, &block);
	unregister_virtio_driver(&nothing);
}
