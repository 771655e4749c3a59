// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's side of docs/xenbus.md, version 1: from a directory device/virtio_disk/N in xenstore to a "virtio-mmio"
 * platform device, and back.
 *
 *   our state       backend's state    what happens
 *   Initialising    InitWait           its offer is read and checked; we make an event channel and name it: Initialised
 *   Initialised     Connected          it has bound the channel: the platform device is made; Connected
 *   any             Closing, Closed    the platform device goes, and the channel; Closed
 *   Connected       InitWait           (the backend begins anew) the same, and then from the start
 *
 * Closed is also what becomes of a device that is refused, until the backend begins anew.
 *
 * Xenbus calls from a thread that all its devices share, and the virtio drivers wait for I/O in their probe: so the
 * work is done by a work item of each device, and follows from both states as they stand, not from events.
 *
 * The backend is not trusted: what it publishes must lie where version 1 says, apart from the guest's memory.
 */
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/workqueue.h>
#include <xen/events.h>
#include <xen/xenbus.h>

#include "compat.h"
#include "grantio.h"

static struct workqueue_struct *queue;

/* ---- the event channel ----------------------------------------------------------------------------------------- */

static int channel_open(struct gk_front *front)
{
	evtchn_port_t port;
	int irq, ret = xenbus_alloc_evtchn(front->xbdev, &port);

	if (ret)
		return ret; /* said by xenbus */
	irq = bind_evtchn_to_irq(port);
	if (irq < 0) {
		xenbus_free_evtchn(front->xbdev, port);
		return irq;
	}
	ret = gk_evtchn_refcounted(port);
	if (ret)
		return ret; /* cannot fail: it was bound just now */
	front->port = port;
	front->irq = irq;
	return 0;
}

static void channel_close(struct gk_front *front)
{
	if (front->port)
		evtchn_put(front->port); /* the last reference: unbinds the irq, closes the port */
	front->port = 0;
	front->irq = 0;
}

/* ---- the platform device ---------------------------------------------------------------------------------------- */

/* The registers are where version 1 has them, and nothing else is there. */
static bool base_valid(u64 base)
{
	return base >= GK_MMIO_BASE && base <= GK_MMIO_END - GK_MMIO_STEP && !(base % GK_MMIO_STEP) &&
	       region_intersects(base, GK_MMIO_STEP, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) == REGION_DISJOINT;
}

/* The upper half of the features that the device offers now. */
static u32 features_high(void __iomem *regs)
{
	writel(1, regs + VIRTIO_MMIO_DEVICE_FEATURES_SEL);
	return readl(regs + VIRTIO_MMIO_DEVICE_FEATURES);
}

/*
 * A device that cannot be restricted is refused before any driver sees it. It may change its mind later: then the
 * virtio core refuses it (main.c), or its driver finds DMA addresses that the device does not take.
 */
static int device_check(struct gk_front *front)
{
	const u32 needed = BIT(VIRTIO_F_VERSION_1 - 32) | BIT(VIRTIO_F_ACCESS_PLATFORM - 32);
	void __iomem *regs = ioremap(front->base, GK_MMIO_SIZE);
	u32 magic, version, features;

	if (!regs)
		return -ENOMEM;
	magic = readl(regs + VIRTIO_MMIO_MAGIC_VALUE);
	version = readl(regs + VIRTIO_MMIO_VERSION);
	features = features_high(regs);
	iounmap(regs);
	if (magic != ('v' | 'i' << 8 | 'r' << 16 | 't' << 24) || version != 2 || (features & needed) != needed) {
		xenbus_dev_error(front->xbdev, -ENODEV,
				 "refused: magic %#x, version %u, features %#x: needs virtio-mmio 2 with VERSION_1 and "
				 "ACCESS_PLATFORM",
				 magic, version, features);
		return -ENODEV;
	}
	return 0;
}

static int platform_create(struct gk_front *front)
{
	const struct resource resources[] = {
		DEFINE_RES_MEM(front->base, GK_MMIO_SIZE),
		DEFINE_RES_IRQ(front->irq),
	};
	struct platform_device *pdev = platform_device_alloc("virtio-mmio", PLATFORM_DEVID_AUTO);
	int ret = -ENOMEM;

	if (!pdev)
		return ret;
	pdev->dev.parent = &front->xbdev->dev;
	ret = platform_device_add_resources(pdev, resources, ARRAY_SIZE(resources));
	if (ret)
		goto put_device;
	ret = gk_dma_attach(pdev, &front->dma, front->xbdev->otherend_id);
	if (ret)
		goto put_device;
	ret = platform_device_add(pdev); /* and its driver, if it is there, probes it now */
	if (ret)
		goto put_device;
	front->pdev = pdev;
	return 0;

put_device:
	platform_device_put(pdev);
	return ret;
}

static void platform_destroy(struct gk_front *front)
{
	if (front->pdev)
		platform_device_unregister(front->pdev);
	front->pdev = NULL;
}

/* ---- states ----------------------------------------------------------------------------------------------------- */

static void disconnect(struct gk_front *front, enum xenbus_state state)
{
	platform_destroy(front);
	channel_close(front);
	xenbus_switch_state(front->xbdev, state);
}

/* What the backend has published; says what is wrong with it. */
static int offer_read(struct gk_front *front)
{
	const char *dir = front->xbdev->otherend;
	unsigned int version = xenbus_read_unsigned(dir, "grantio-version", 0);
	unsigned long long base;
	char *transport;
	bool mmio;

	if (version != GK_PROTOCOL) {
		xenbus_dev_error(front->xbdev, -EPROTO, "grantio-version %u: needs %u", version, GK_PROTOCOL);
		return -EPROTO;
	}
	transport = xenbus_read(XBT_NIL, dir, "transport", NULL);
	mmio = !IS_ERR(transport) && !strcmp(transport, "mmio");
	if (!IS_ERR(transport))
		kfree(transport);
	if (!mmio) {
		xenbus_dev_error(front->xbdev, -EPROTO, "transport: must be mmio");
		return -EPROTO;
	}
	if (xenbus_scanf(XBT_NIL, dir, "mmio-base", "%llu", &base) != 1 || !base_valid(base)) {
		xenbus_dev_error(front->xbdev, -EPROTO, "mmio-base: must be %#lx to %#lx, by %#lx, and no memory",
				 GK_MMIO_BASE, GK_MMIO_END - GK_MMIO_STEP, GK_MMIO_STEP);
		return -EPROTO;
	}
	front->base = base;
	return 0;
}

/* Our answer, all at once; the state follows it. */
static int answer_write(struct gk_front *front)
{
	const char *dir = front->xbdev->nodename;
	struct xenbus_transaction xbt;
	int ret, tries;

	for (tries = 0; tries < 10; tries++) {
		ret = xenbus_transaction_start(&xbt);
		if (ret)
			return ret;
		ret = xenbus_printf(xbt, dir, "grantio-version", "%u", GK_PROTOCOL);
		if (!ret)
			ret = xenbus_printf(xbt, dir, "dma", "grant");
		if (!ret)
			ret = xenbus_printf(xbt, dir, "event-channel", "%u", front->port);
		if (ret) {
			xenbus_transaction_end(xbt, 1);
			return ret;
		}
		ret = xenbus_transaction_end(xbt, 0);
		if (ret != -EAGAIN)
			return ret;
	}
	return ret;
}

/* Initialising, and the backend is in InitWait. */
static void offer_take(struct gk_front *front)
{
	int ret = offer_read(front);

	if (ret) {
		xenbus_switch_state(front->xbdev, XenbusStateClosed);
		return;
	}
	ret = channel_open(front);
	if (!ret)
		ret = answer_write(front);
	if (!ret)
		ret = xenbus_switch_state(front->xbdev, XenbusStateInitialised);
	if (ret) {
		xenbus_dev_error(front->xbdev, ret, "cannot make its event channel");
		disconnect(front, XenbusStateClosed);
	}
}

/* Initialised, and the backend is Connected. */
static void connect(struct gk_front *front)
{
	int ret = device_check(front);

	if (!ret) {
		ret = platform_create(front);
		if (ret)
			xenbus_dev_error(front->xbdev, ret, "cannot make its platform device at %#llx", front->base);
	}
	if (ret)
		disconnect(front, XenbusStateClosed);
	else
		xenbus_switch_state(front->xbdev, XenbusStateConnected);
}

static void step(struct work_struct *work)
{
	struct gk_front *front = container_of(work, struct gk_front, work);
	enum xenbus_state backend = xenbus_read_driver_state(front->xbdev->otherend), state = front->xbdev->state;

	switch (backend) {
	case XenbusStateInitWait:
		if (state == XenbusStateInitialised)
			break; /* it has not seen our answer yet */
		if (state != XenbusStateInitialising)
			disconnect(front, XenbusStateInitialising);
		offer_take(front);
		break;
	case XenbusStateConnected:
		if (state == XenbusStateInitialised)
			connect(front);
		break;
	case XenbusStateClosing:
	case XenbusStateClosed:
		if (state != XenbusStateClosed)
			disconnect(front, XenbusStateClosed);
		break;
	default: /* not there yet */
		break;
	}
}

/* ---- xenbus ----------------------------------------------------------------------------------------------------- */

static void backend_changed(struct xenbus_device *xbdev, enum xenbus_state state)
{
	struct gk_front *front = dev_get_drvdata(&xbdev->dev);

	queue_work(queue, &front->work);
}

static int front_probe(struct xenbus_device *xbdev, const struct xenbus_device_id *id)
{
	struct gk_front *front = kzalloc(sizeof(*front), GFP_KERNEL);

	if (!front)
		return -ENOMEM;
	front->xbdev = xbdev;
	INIT_WORK(&front->work, step);
	dev_set_drvdata(&xbdev->dev, front);
	/* When the system goes down xenbus says Closing, and would wait for us to say that the backend has answered. */
	complete(&xbdev->down);
	/* The backend's state is told next; should it still be that of a connection before this one, it will change. */
	return xenbus_switch_state(xbdev, XenbusStateInitialising);
}

/* Xenbus has stopped watching the backend. What comes after us finds the state that a new device has. */
static void front_remove(struct xenbus_device *xbdev)
{
	struct gk_front *front = dev_get_drvdata(&xbdev->dev);

	cancel_work_sync(&front->work);
	platform_destroy(front);
	channel_close(front);
	xenbus_switch_state(xbdev, XenbusStateInitialising);
	dev_set_drvdata(&xbdev->dev, NULL);
	kfree(front);
}

static const struct xenbus_device_id ids[] = {{"virtio_disk"}, {"virtio"}, {""}};

static struct xenbus_driver driver = {
	.name = "grantio",
	.ids = ids,
	.allow_rebind = true,
	.not_essential = true,
	.probe = front_probe,
	.remove = front_remove,
	.otherend_changed = backend_changed,
	.driver.dev_groups = gk_groups,
};

int gk_front_register(void)
{
	int ret;

	queue = alloc_workqueue("grantio", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!queue)
		return -ENOMEM;
	ret = xenbus_register_frontend(&driver);
	if (ret)
		destroy_workqueue(queue);
	return ret;
}

void gk_front_unregister(void)
{
	xenbus_unregister_driver(&driver);
	destroy_workqueue(queue);
}
