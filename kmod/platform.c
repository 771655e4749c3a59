// SPDX-License-Identifier: GPL-2.0-only
/*
 * The "virtio-mmio" platform device that the frontend makes, and what becomes of it when the guest is saved.
 *
 * When the guest is saved the device's driver freezes: it waits for its I/O, resets the device and frees its rings and
 * its interrupt. After a save that was cancelled the driver goes on at once. After a restore it must wait: there is no
 * backend yet and no interrupt, and another device may be at its registers. So this file has a PM domain, which
 * replaces the steps that the kernel would take. The frontend calls gk_platform_revive() when the driver may go on.
 * Until then the kernel holds the requests to the disk back.
 */
#include <linux/interrupt.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/pm.h>
#include <linux/pm_domain.h>

#include <abi/virtio_mmio.h>

#include "compat.h"
#include "dma_ops.h"
#include "platform.h"
#include "virtio.h"

/* ---- save and restore ------------------------------------------------------------------------------------------- */

static const struct dev_pm_ops *driver_pm(const struct device *dev)
{
	static const struct dev_pm_ops none;

	return dev->driver && dev->driver->pm ? dev->driver->pm : &none;
}

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
 * A virtio driver that cannot freeze is left alone, because virtio_mmio would reset the device while that driver uses
 * it. After a save that was cancelled it goes on. After a restore its device is removed.
 */
static int platform_freeze(struct device *dev)
{
	struct gk_front *front = front_of(dev);
	int err;

	if (!driver_pm(dev)->freeze || !gk_virtio_freezable(dev))
		return 0;
	front->kept = front->frozen;
	if (front->kept)
		return 0; /* it is frozen since an earlier save, and its backend has not come back yet */
	err = driver_pm(dev)->freeze(dev);
	if (err)
		dev_err(dev, "grantio: its driver cannot be frozen: %d: what is saved now loses its I/O\n", err);
	front->frozen = !err;
	/* If the save fails, the kernel may never thaw this device. The work item looks at it when it can run again. */
	front->look(front);
	return 0;
}

/* The save was cancelled, or it was a checkpoint: the guest goes on with its backend and its interrupt as before. */
static int platform_thaw(struct device *dev)
{
	struct gk_front *front = front_of(dev);
	int err;

	if (!front->frozen || front->kept)
		return 0;
	err = driver_pm(dev)->thaw(dev);
	if (err)
		dev_err(dev, "grantio: its driver does not go on: %d: it is connected anew\n", err);
	front->frozen = err;
	return 0;
}

/* After a restore nothing, or another device, is at its registers. gk_platform_revive() is called when they are back.
 */
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

int gk_platform_revive(struct gk_front *front)
{
	struct platform_device *pdev = front->pdev;
	struct resource *irq;
	int err = -ENODEV;

	device_lock(&pdev->dev);
	irq = platform_get_resource(pdev, IORESOURCE_IRQ, 0);
	if (irq && driver_pm(&pdev->dev)->restore) {
		irq->start = irq->end = front->irq;
		err = driver_pm(&pdev->dev)->restore(&pdev->dev);
	}
	front->frozen = err;
	device_unlock(&pdev->dev);
	return err;
}

/* ---- the device ------------------------------------------------------------------------------------------------- */

int gk_platform_create(struct gk_front *front)
{
	const struct resource resources[] = {
		DEFINE_RES_MEM(front->base, GIO_VIRTIO_MMIO_BYTES),
		DEFINE_RES_IRQ(front->irq),
	};
	struct platform_device *pdev = platform_device_alloc("virtio-mmio", PLATFORM_DEVID_AUTO);
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
	err = platform_device_add_resources(pdev, resources, ARRAY_SIZE(resources));
	if (err)
		goto put_module;
	err = gk_dma_attach(&pdev->dev, &front->dma, front->xbdev->otherend_id, front->type);
	if (err)
		goto put_module;
	err = platform_device_add(pdev); /* if its driver is loaded, it probes the device now */
	if (err)
		goto put_module;
	front->pdev = pdev;
	return 0;

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
	platform_device_unregister(front->pdev);
	front->pdev = NULL;
	module_put(THIS_MODULE);
}
