// SPDX-License-Identifier: GPL-2.0-only
/*
 * The platform device that the frontend makes, and what becomes of it when the guest is saved.
 *
 * When the guest is saved the device's driver freezes: it waits for its I/O, resets the device and frees its rings.
 * After a save that was cancelled the driver goes on at once. After a restore it must wait: there is no backend yet and
 * no event channel. So this file has a PM domain, which replaces the steps that the kernel would take. The frontend
 * calls the transport's revive() when the driver may go on. Until then the kernel holds the requests to the disk back.
 */
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/pm.h>
#include <linux/pm_domain.h>

#include "compat.h"
#include "dma_ops.h"
#include "platform.h"

/* ---- save and restore ------------------------------------------------------------------------------------------- */

/*
 * Found by the DMA operations that the device was made with, and keeps. Its parent does not lead to the front: after
 * front_remove() the parent's driver data may be another front's.
 */
static struct gk_front *front_of(struct device *dev)
{
	return container_of(gk_dma_of(dev), struct gk_front, dma);
}

/*
 * This returns no error, since after one Xen's part of the kernel goes on without a word of whether the guest was
 * saved.
 *
 * A device whose virtio driver cannot freeze is left alone. After a save that was cancelled it goes on. After a restore
 * it is removed.
 */
static int platform_freeze(struct device *dev)
{
	struct gk_front *front = front_of(dev);
	int err;

	if (!front->pdev || !front->transport->freezable(front))
		return 0;
	front->kept = front->frozen;
	if (front->kept)
		return 0; /* it is frozen since an earlier save, and its backend has not come back yet */
	err = front->transport->freeze(front);
	if (err)
		dev_err(dev, "grantio: its driver cannot be frozen: %d: what is saved now loses its I/O\n", err);
	front->frozen = !err;
	/* If the save fails, the kernel may never thaw this device. The work item looks at it when it can run again. */
	front->look(front);
	return 0;
}

/* The save was cancelled, or it was a checkpoint: the guest goes on with its backend as before. */
static int platform_thaw(struct device *dev)
{
	struct gk_front *front = front_of(dev);
	int err;

	if (!front->frozen || front->kept)
		return 0;
	err = front->transport->thaw(front);
	if (err)
		dev_err(dev, "grantio: its driver does not go on: %d: it is connected anew\n", err);
	front->frozen = err;
	return 0;
}

/* After a restore nobody serves the device yet. The frontend has it go on when somebody does. */
static int platform_restore(struct device *dev)
{
	return 0;
}

/*
 * When the system sleeps, xenbus treats the parent as if the guest were restored, and the frontend begins anew. So
 * sleep is handled as a save. The same is true of the last step of a hibernation (poweroff): if the power cannot be
 * switched off, everything is restored.
 */
static struct dev_pm_domain domain = {
	.ops = {.freeze = platform_freeze,
		.thaw = platform_thaw,
		.restore = platform_restore,
		.suspend = platform_freeze,
		.resume = platform_restore,
		.poweroff = platform_freeze},
};

/* ---- the device ------------------------------------------------------------------------------------------------- */

int gk_platform_create(struct gk_front *front, const char *name, const struct resource *resources, unsigned int count)
{
	struct platform_device *pdev = platform_device_alloc(name, PLATFORM_DEVID_AUTO);
	int err = -ENOMEM;

	if (!pdev)
		return err;
	/* The device has our DMA operations as long as it exists, so the module must stay as long. */
	if (!try_module_get(THIS_MODULE)) {
		err = -ESHUTDOWN;
		goto put_device;
	}
	pdev->dev.parent = &front->xbdev->dev;
	dev_pm_domain_set(&pdev->dev, &domain);
	err = platform_device_add_resources(pdev, resources, count);
	if (err)
		goto put_module;
	err = gk_dma_attach(&pdev->dev, &front->dma, front->xbdev->otherend_id, front->type);
	if (err)
		goto put_module;
	front->pdev = pdev;
	err = platform_device_add(pdev); /* if there is a driver for it, it is probed now */
	if (err)
		goto forget;
	return 0;

forget:
	front->pdev = NULL;
put_module:
	module_put(THIS_MODULE);
put_device:
	platform_device_put(pdev);
	return err;
}

void gk_platform_destroy(struct gk_front *front)
{
	if (!front->pdev)
		return;
	platform_device_del(front->pdev);
	gk_dma_end(&front->dma);
	platform_device_put(front->pdev);
	front->pdev = NULL;
	module_put(THIS_MODULE);
}
