// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kind of device it is says the toolstack, not the backend: else a disk's backend could make its device a
 * keyboard, a network interface or a source of random numbers, for which a distribution's kernel loads a driver at
 * once. virtio_mmio reads the kind from the backend's registers. Before the virtio bus tells anybody of the device it
 * is compared here, and a device of another kind gets the number 0, which no driver is for.
 *
 * The bus is known by a driver for nothing that is registered with it.
 */
#include <linux/device.h>
#include <linux/virtio.h>

#include "compat.h"
#include "grantio.h"

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

static int type_check(struct notifier_block *block, unsigned long what, void *opaque)
{
	struct virtio_device *vdev = dev_to_virtio((struct device *)opaque);
	u32 type;

	if (what != BUS_NOTIFY_ADD_DEVICE || !gk_dma_attached(vdev->dev.parent))
		return NOTIFY_DONE;
	type = gk_dma_of(vdev->dev.parent)->type;
	if (vdev->id.device != type) {
		dev_err(&vdev->dev, "grantio: type %u, where the toolstack has a device of type %u: refused\n",
			vdev->id.device, type);
		vdev->id.device = 0;
	}
	return NOTIFY_OK;
}

static struct notifier_block block = {.notifier_call = type_check};

int gk_type_register(void)
{
	int ret = register_virtio_driver(&nothing);

	if (ret)
		return ret;
	ret = bus_register_notifier(nothing.driver.bus, &block);
	if (ret)
		unregister_virtio_driver(&nothing);
	return ret;
}

void gk_type_unregister(void)
{
	bus_unregister_notifier(nothing.driver.bus, &block);
	unregister_virtio_driver(&nothing);
}
