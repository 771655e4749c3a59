// SPDX-License-Identifier: GPL-2.0-only
/*
 * The "virtio-mmio" platform device that the frontend makes, and what becomes of it when the guest is saved. Its driver
 * freezes then: it waits for its I/O, resets the device and frees rings and interrupt. After a cancelled save it goes
 * on at once. After a restore it must not: there is no backend yet, no interrupt, and at its registers may be another
 * device. So freezing and going on are ours, by a PM domain, and the frontend says when (gk_platform_revive()); until
 * then the kernel keeps what is asked of the disk.
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

/* By what it was made with, which it keeps: after front_remove() its parent's driver may be another device's. */
static struct gk_front *front_of(struct device *dev)
{
	return container_of(gk_dma_of(dev), struct gk_front, dma);
}

/*
 * Never an error: Xen's part of the kernel goes on after one as if the guest had been saved and restored, or not. A
 * virtio driver that knows no freezing is left alone, since virtio_mmio would reset its device under it when it thaws:
 * after a save that was cancelled it goes on, and after a restore its device is taken from it.
 */
static int platform_freeze(struct device *dev)
{
	struct gk_front *front = front_of(dev);
	int err;

	if (!driver_pm(dev)->freeze || !gk_virtio_freezable(dev))
		return 0;
	front->kept = front->frozen;
	if (front->kept)
		return 0; /* by a save before this one, and its backend has not come yet */
	err = driver_pm(dev)->freeze(dev);
	if (err)
		dev_err(dev, "grantio: its driver cannot be frozen: %d: what is saved now loses its I/O\n", err);
	front->frozen = !err;
	/* A save that fails on the way tells some devices nothing more: looked at as soon as there is work again. */
	front->look(front);
	return 0;
}

/* The guest was not saved after all, or was, and goes on all the same: all is as it was. */
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

/* Restored: there is nothing at its registers yet, or another device. gk_platform_revive() comes when they are its own.
 */
static int platform_restore(struct device *dev)
{
	return 0;
}

/*
 * The system's sleep is a save, too: xenbus restores the parent of a device that sleeps, so that its frontend begins
 * anew. And so is a hibernation's end, after which, if the power cannot be switched off, everything is restored.
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
	/* It has our DMA operations as long as it is there. */
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
	err = platform_device_add(pdev); /* and its driver, if it is there, probes it now */
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
