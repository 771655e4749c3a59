// SPDX-License-Identifier: GPL-2.0-only
/*
 * Version 1 of docs/xenbus.md: the backend publishes where virtio-mmio registers are, and the guest offers an event
 * channel as the device's interrupt. The kernel's own virtio_mmio drives the registers.
 *
 * The backend is not trusted: what it publishes must lie where version 1 says, apart from the guest's memory and from
 * other devices.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/pm.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <xen/events.h>
#include <xen/xenbus.h>

#include <abi/virtio_mmio.h>
#include <abi/xenbus.h>

#include "compat.h"
#include "keys.h"
#include "mmio.h"
#include "platform.h"
#include "virtio.h"

/* The registers that are taken, by base / GIO_XENBUS_MMIO_STEP. */
static DEFINE_XARRAY(bases);

/* ---- the event channel ----------------------------------------------------------------------------------------- */

/* Whose interrupt it is the virtio driver knows, which shares it with us. */
static irqreturn_t channel_event(int irq, void *front)
{
	return IRQ_NONE;
}

static int channel_open(struct gk_front *front)
{
	evtchn_port_t port;
	int irq, err = xenbus_alloc_evtchn(front->xbdev, &port);

	if (err)
		return err; /* said by xenbus */
	irq = bind_evtchn_to_irqhandler(port, channel_event, IRQF_SHARED, "grantio", front);
	if (irq < 0) {
		xenbus_free_evtchn(front->xbdev, port);
		return irq;
	}
	front->port = port;
	front->irq = irq;
	front->dma.pooled = false;
	return 0;
}

/* By the irq, not by the port: after a restore that number is no channel or somebody else's, and the kernel knows. */
static void channel_close(struct gk_front *front)
{
	if (front->port)
		unbind_from_irqhandler(front->irq, front);
	front->port = 0;
	front->irq = 0;
}

/* ---- the registers ---------------------------------------------------------------------------------------------- */

/* The registers are where version 1 has them, and nothing else is there. */
static bool base_valid(u64 base)
{
	return base >= GIO_XENBUS_MMIO_BASE && base <= GIO_XENBUS_MMIO_END - GIO_XENBUS_MMIO_STEP &&
	       !(base % GIO_XENBUS_MMIO_STEP) &&
	       region_intersects(base, GIO_XENBUS_MMIO_STEP, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) == REGION_DISJOINT;
}

static int base_take(struct gk_front *front, u64 base)
{
	int err = xa_insert(&bases, base / GIO_XENBUS_MMIO_STEP, front, GFP_KERNEL);

	if (!err)
		front->base = base;
	return err;
}

static void base_release(struct gk_front *front)
{
	if (front->base)
		xa_erase(&bases, front->base / GIO_XENBUS_MMIO_STEP);
	front->base = 0;
}

/* The upper half of the features that the device offers now. */
static u32 features_high(void __iomem *regs)
{
	writel(1, regs + VIRTIO_MMIO_DEVICE_FEATURES_SEL);
	return readl(regs + VIRTIO_MMIO_DEVICE_FEATURES);
}

static int registers_check(struct gk_front *front)
{
	const u32 needed = BIT(VIRTIO_F_VERSION_1 - 32) | BIT(VIRTIO_F_ACCESS_PLATFORM - 32);
	void __iomem *regs = ioremap(front->base, GIO_VIRTIO_MMIO_BYTES);
	u32 magic, version, features, type;

	if (!regs)
		return -ENOMEM;
	magic = readl(regs + VIRTIO_MMIO_MAGIC_VALUE);
	version = readl(regs + VIRTIO_MMIO_VERSION);
	features = features_high(regs);
	type = readl(regs + VIRTIO_MMIO_DEVICE_ID);
	iounmap(regs);
	if (magic != ('v' | 'i' << 8 | 'r' << 16 | 't' << 24) || version != 2 || (features & needed) != needed) {
		gk_complain(front, -ENODEV,
			    "magic %#x, version %u, features %#x: needs version 2, VERSION_1 and ACCESS_PLATFORM",
			    magic, version, features);
		return -ENODEV;
	}
	if (type != front->type) {
		gk_complain(front, -ENODEV, "virtio device of type %u: the toolstack says %u", type, front->type);
		return -ENODEV;
	}
	return 0;
}

/*
 * A device that cannot be restricted, or is no such device as the toolstack says, is refused before any driver sees it.
 * It may change its mind later: then the virtio core refuses it, no driver gets it (virtio.c), or its driver
 * finds DMA addresses that the device does not take.
 */
static int device_check(struct gk_front *front)
{
	int err;

	if (!request_mem_region(front->base, GIO_VIRTIO_MMIO_BYTES, "grantio")) {
		gk_complain(front, -EBUSY, "mmio-base: another device is at %#llx", front->base);
		return -EBUSY;
	}
	err = registers_check(front);
	release_mem_region(front->base, GIO_VIRTIO_MMIO_BYTES); /* it is the driver's to request */
	return err;
}

/* ---- the offer and the answer ----------------------------------------------------------------------------------- */

static int mmio_offer(struct gk_front *front)
{
	const char *dir = front->xbdev->otherend;
	u64 base;

	if (!gk_key_is(dir, GIO_XENBUS_KEY_TRANSPORT, GIO_XENBUS_TRANSPORT_MMIO)) {
		gk_complain(front, -EPROTO, "transport: must be mmio");
		return -EPROTO;
	}
	if (gk_key_number(dir, GIO_XENBUS_KEY_MMIO_BASE, 10, &base) || !base_valid(base)) {
		gk_complain(front, -EPROTO, "mmio-base: must be %#x to %#x, by %#x, and no memory",
			    GIO_XENBUS_MMIO_BASE, GIO_XENBUS_MMIO_END - GIO_XENBUS_MMIO_STEP, GIO_XENBUS_MMIO_STEP);
		return -EPROTO;
	}
	if (front->pdev && base != front->base) {
		gk_complain(front, -EPROTO, "mmio-base: was %#llx before this guest was saved, and must be",
			    front->base);
		return -EPROTO;
	}
	if (!front->pdev && base_take(front, base)) {
		gk_complain(front, -EBUSY, "mmio-base: another device is at %#llx", base);
		return -EBUSY;
	}
	return 0;
}

static int mmio_answer(struct gk_front *front, struct xenbus_transaction xbt)
{
	const char *dir = front->xbdev->nodename;
	int err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_VERSION, "%u", GIO_XENBUS_VERSION);

	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_DMA, GIO_XENBUS_DMA_GRANT);
	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_PORT, "%u", front->port);
	return err;
}

/* ---- the platform device and virtio_mmio ------------------------------------------------------------------------ */

static int mmio_create(struct gk_front *front)
{
	const struct resource resources[] = {
		DEFINE_RES_MEM(front->base, GIO_VIRTIO_MMIO_BYTES),
		DEFINE_RES_IRQ(front->irq),
	};
	int err = device_check(front);

	if (err)
		return err;
	err = gk_platform_create(front, "virtio-mmio", resources, ARRAY_SIZE(resources));
	if (err)
		gk_complain(front, err, "cannot make its platform device at %#llx", front->base);
	return err;
}

static const struct dev_pm_ops *driver_pm(const struct gk_front *front)
{
	static const struct dev_pm_ops none;
	const struct device_driver *driver = front->pdev->dev.driver;

	return driver && driver->pm ? driver->pm : &none;
}

/*
 * A virtio driver that knows no freezing is left alone, since virtio_mmio would reset its device under it when it
 * thaws: after a save that was cancelled it goes on, and after a restore its device is taken from it.
 */
static bool mmio_freezable(struct gk_front *front)
{
	return driver_pm(front)->freeze && gk_virtio_freezable(&front->pdev->dev);
}

static int mmio_freeze(struct gk_front *front)
{
	return driver_pm(front)->freeze(&front->pdev->dev);
}

static int mmio_thaw(struct gk_front *front)
{
	return driver_pm(front)->thaw(&front->pdev->dev);
}

/* The same device as before, as far as can be seen, and its driver goes on with the new interrupt. */
static int mmio_revive(struct gk_front *front)
{
	struct resource *irq = platform_get_resource(front->pdev, IORESOURCE_IRQ, 0);
	int err = registers_check(front);

	if (err)
		return err;
	device_lock(&front->pdev->dev);
	err = -ENODEV;
	if (irq && driver_pm(front)->restore) {
		irq->start = irq->end = front->irq;
		err = driver_pm(front)->restore(&front->pdev->dev);
	}
	device_unlock(&front->pdev->dev);
	return err;
}

static void mmio_lose(struct gk_front *front)
{
	gk_virtio_break(&front->pdev->dev);
}

/* A device that is frozen keeps its registers' place: drivers cannot let go of what they have frozen, only go on. */
static void mmio_close(struct gk_front *front)
{
	channel_close(front);
	if (!front->pdev)
		base_release(front);
}

const struct gk_transport gk_mmio = {
	.offer = mmio_offer,
	.open = channel_open,
	.answer = mmio_answer,
	.create = mmio_create,
	.revive = mmio_revive,
	.lose = mmio_lose,
	.destroy = gk_platform_destroy,
	.close = mmio_close,
	.freeze = mmio_freeze,
	.thaw = mmio_thaw,
	.freezable = mmio_freezable,
};
