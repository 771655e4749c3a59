// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's side of docs/xenbus.md, version 1. It makes a "virtio-mmio" platform device for a directory
 * device/virtio_disk/N in xenstore, and removes it.
 *
 *   our state      backend's state   what we do                                               our new state
 *   Initialising   InitWait          check the backend's offer, make an event channel and     Initialised
 *                                    write its port
 *   Initialised    Connected         make the platform device, since the backend has bound    Connected
 *                                    the channel
 *   Connected      InitWait          remove the device and the channel, since the backend     Initialising
 *                                    begins anew; then the first line applies
 *   any            Closing, Closed   remove the device and the channel                        Closed
 *
 * Our state is also Closed after we have refused an offer. It stays so until the backend begins anew.
 *
 * Save and restore: a guest freezes its virtio drivers before it is saved. After a restore or a migration its backend
 * does not know it, and is in InitWait. The guest's event channels are gone. So the connection begins at Initialising
 * again, but the platform device stays, with its driver frozen. When both states are Connected the driver goes on. The
 * registers must be where they were, because the driver has them mapped. A driver that cannot freeze (virtio_mmio
 * before 5.17) loses its device, and gets a new one.
 *
 * Threads: xenbus calls us in a thread that all of its devices share. A virtio driver may wait for I/O in its probe,
 * and must not hold that thread up. So each device has a work item, which looks at the two states as they are now, and
 * not at single events.
 *
 * The backend is not trusted. The registers that it offers must lie where version 1 says, and must overlap neither the
 * guest's memory nor another device. It may begin anew as often as it likes, and cannot fill the log by that.
 *
 * A device whose registers the toolstack has placed (`base` is not 0, as with xl on Arm) is in the device tree. The
 * frontend leaves it alone.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/sched/mm.h>
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

#include <abi/virtio_mmio.h>
#include <abi/xen.h>
#include <abi/xenbus.h>

#include "compat.h"
#include "dma_ops.h"
#include "front.h"
#include "frontend.h"
#include "platform.h"
#include "sysfs.h"
#include "tree.h"
#include "virtio.h"

#define RETRIES	     60u /* of a connection for which there is no memory, */
#define RETRY_PERIOD HZ	 /* so far apart */

static struct workqueue_struct *queue;

/* The registers that are taken, by base / GIO_XENBUS_MMIO_STEP. */
static DEFINE_XARRAY(bases);

/* What the backend can have us say as often as it likes. */
#define complain(front, error, ...)                                           \
	do {                                                                  \
		if (__ratelimit(&(front)->dma.complaints))                    \
			xenbus_dev_error((front)->xbdev, error, __VA_ARGS__); \
	} while (0)

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
		complain(front, -ENODEV,
			 "magic %#x, version %u, features %#x: needs version 2, VERSION_1 and ACCESS_PLATFORM", magic,
			 version, features);
		return -ENODEV;
	}
	if (type != front->type) {
		complain(front, -ENODEV, "virtio device of type %u: the toolstack says %u", type, front->type);
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
		complain(front, -EBUSY, "mmio-base: another device is at %#llx", front->base);
		return -EBUSY;
	}
	err = registers_check(front);
	release_mem_region(front->base, GIO_VIRTIO_MMIO_BYTES); /* it is the driver's to request */
	return err;
}

/* ---- states ----------------------------------------------------------------------------------------------------- */

/* A frozen device stays, and its registers' place: drivers cannot let go of what they have frozen, only go on. */
static void let_go(struct gk_front *front)
{
	if (!front->frozen)
		gk_platform_destroy(front);
	channel_close(front);
	if (!front->pdev)
		base_release(front);
}

static void disconnect(struct gk_front *front, enum xenbus_state state)
{
	let_go(front);
	xenbus_switch_state(front->xbdev, state);
}

/* A whole number in a key of the backend's, and nothing else there. 0 or -errno. */
static int number_read(const struct xenbus_device *xbdev, const char *key, unsigned int base, u64 *value)
{
	char *text = xenbus_read(XBT_NIL, xbdev->otherend, key, NULL);
	int err;

	if (IS_ERR(text))
		return PTR_ERR(text);
	err = kstrtou64(text, base, value);
	kfree(text);
	return err;
}

static bool transport_is_mmio(struct gk_front *front)
{
	char *transport = xenbus_read(XBT_NIL, front->xbdev->otherend, GIO_XENBUS_KEY_TRANSPORT, NULL);
	bool mmio = !IS_ERR(transport) && !strcmp(transport, GIO_XENBUS_TRANSPORT_MMIO);

	if (!IS_ERR(transport))
		kfree(transport);
	return mmio;
}

/* Read anew by xenbus when the guest is restored. */
static bool backend_valid(const struct xenbus_device *xbdev)
{
	return (u32)xbdev->otherend_id <= GIO_DOMID_MAX;
}

/*
 * What type the device must have is the toolstack's word: the name of the directory, or the key `type` in our own
 * directory, to which the backend cannot write. Without either it is a disk. The key is read with the backend's offer,
 * and not before, since what writes it for xl does so after xl has made the directory.
 */
static int type_read(const struct xenbus_device *xbdev, u32 *type)
{
	char *text;
	int err;

	*type = VIRTIO_ID_BLOCK;
	if (strcmp(xbdev->devicetype, "virtio"))
		return 0;
	text = xenbus_read(XBT_NIL, xbdev->nodename, GIO_XENBUS_KEY_TYPE, NULL);
	if (IS_ERR(text))
		return 0;
	err = gk_tree_type(text, type);
	kfree(text);
	return err;
}

/* A driver that was frozen goes on with a device of its own type only. */
static int type_take(struct gk_front *front)
{
	u32 type;

	if (type_read(front->xbdev, &type)) {
		complain(front, -EINVAL, "type: must be virtio,deviceN, N the hexadecimal number of a type of device");
		return -EINVAL;
	}
	if (front->pdev && type != front->type) {
		complain(front, -EINVAL, "type: was %u before this guest was saved, and must be, not %u", front->type,
			 type);
		return -EINVAL;
	}
	front->type = type;
	return 0;
}

/* What the backend has published; says what is wrong with it. */
static int offer_read(struct gk_front *front)
{
	u64 version, base;

	if (!backend_valid(front->xbdev)) {
		complain(front, -EINVAL, "backend-id %d: must be at most %u", front->xbdev->otherend_id, GIO_DOMID_MAX);
		return -EINVAL;
	}
	if (number_read(front->xbdev, GIO_XENBUS_KEY_VERSION, 10, &version) || version != GIO_XENBUS_VERSION) {
		complain(front, -EPROTO, "grantio-version: must be %u", GIO_XENBUS_VERSION);
		return -EPROTO;
	}
	if (!transport_is_mmio(front)) {
		complain(front, -EPROTO, "transport: must be mmio");
		return -EPROTO;
	}
	if (type_take(front))
		return -EINVAL;
	if (number_read(front->xbdev, GIO_XENBUS_KEY_MMIO_BASE, 10, &base) || !base_valid(base)) {
		complain(front, -EPROTO, "mmio-base: must be %#x to %#x, by %#x, and no memory", GIO_XENBUS_MMIO_BASE,
			 GIO_XENBUS_MMIO_END - GIO_XENBUS_MMIO_STEP, GIO_XENBUS_MMIO_STEP);
		return -EPROTO;
	}
	if (front->pdev && base != front->base) {
		complain(front, -EPROTO, "mmio-base: was %#llx before this guest was saved, and must be", front->base);
		return -EPROTO;
	}
	if (!front->pdev && base_take(front, base)) {
		complain(front, -EBUSY, "mmio-base: another device is at %#llx", base);
		return -EBUSY;
	}
	return 0;
}

/* Our answer, all at once; the state follows it. */
static int answer_write(struct gk_front *front)
{
	const char *dir = front->xbdev->nodename;
	struct xenbus_transaction xbt;
	int err, tries;

	for (tries = 0; tries < 10; tries++) {
		err = xenbus_transaction_start(&xbt);
		if (err)
			return err;
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_VERSION, "%u", GIO_XENBUS_VERSION);
		if (!err)
			err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_DMA, GIO_XENBUS_DMA_GRANT);
		if (!err)
			err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_PORT, "%u", front->port);
		if (err) {
			xenbus_transaction_end(xbt, 1);
			return err;
		}
		err = xenbus_transaction_end(xbt, 0);
		if (err != -EAGAIN)
			return err;
	}
	return err;
}

/* Initialising, and the backend is in InitWait. */
static void offer_take(struct gk_front *front)
{
	int err = offer_read(front);

	front->retries = 0;
	if (err) {
		xenbus_switch_state(front->xbdev, XenbusStateClosed);
		return;
	}
	err = channel_open(front);
	if (!err)
		err = answer_write(front);
	if (!err)
		err = xenbus_switch_state(front->xbdev, XenbusStateInitialised);
	if (err) {
		complain(front, err, "cannot make its event channel");
		disconnect(front, XenbusStateClosed);
	}
}

/* The same device as before, as far as can be seen, for the domain that its backend is in now. */
static int revive(struct gk_front *front)
{
	int err = registers_check(front);

	if (err)
		return err;
	front->dma.dma.backend = front->xbdev->otherend_id; /* nothing is mapped while it is frozen */
	err = gk_platform_revive(front);
	if (err)
		complain(front, err, "its driver does not go on after the restore");
	return err;
}

static int create(struct gk_front *front)
{
	int err = device_check(front);

	if (err)
		return err;
	err = gk_platform_create(front);
	if (err)
		complain(front, err, "cannot make its platform device at %#llx", front->base);
	return err;
}

/* Memory may come back, and a disk that was saved is not given up while it may. False: it has been tried enough. */
static bool connect_later(struct gk_front *front)
{
	if (front->retries++ == RETRIES)
		return false;
	queue_delayed_work(queue, &front->work, RETRY_PERIOD);
	return true;
}

/* Initialised, and the backend is Connected. */
static void connect(struct gk_front *front)
{
	int err = front->pdev ? revive(front) : create(front);

	if (!err)
		xenbus_switch_state(front->xbdev, XenbusStateConnected);
	else if (err != -ENOMEM || !connect_later(front))
		disconnect(front, XenbusStateClosed);
}

/*
 * What was connected is no more. Xenbus takes the state for Initialising, but has not written that: after a save that
 * failed the backend still finds Connected in xenstore, and would wait for ever. A device that is not frozen goes: its
 * requests reach nobody, and what removes it may make more of them (a file system's last writes).
 */
static void begin_anew(struct gk_front *front)
{
	if (front->pdev && !front->frozen)
		gk_virtio_break(&front->pdev->dev);
	let_go(front);
	front->xbdev->state = XenbusStateUnknown; /* else nothing is written */
	xenbus_switch_state(front->xbdev, XenbusStateInitialising);
}

/* As the backend says it, 0 (unknown) if it says nothing. */
static enum xenbus_state backend_state(struct gk_front *front)
{
	return xenbus_read_unsigned(front->xbdev->otherend, "state", XenbusStateUnknown);
}

static void step(struct gk_front *front)
{
	enum xenbus_state backend, state;

	/* Frozen and Connected: the save has failed, or the driver could not go on after it. */
	if (xchg(&front->restored, 0) || (front->frozen && front->xbdev->state == XenbusStateConnected))
		begin_anew(front);
	backend = backend_state(front);
	state = front->xbdev->state;
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
		/* One that has not begun has nothing to end: the backend may still follow a former kernel. */
		if (state != XenbusStateClosed && state != XenbusStateInitialising)
			disconnect(front, XenbusStateClosed);
		break;
	default: /* not there yet */
		break;
	}
}

/* Memory is not got by writing to a disk: it may be the one that waits for this step. */
static void step_work(struct work_struct *work)
{
	struct gk_front *front = container_of(to_delayed_work(work), struct gk_front, work);
	unsigned int flags = memalloc_noio_save();

	step(front);
	memalloc_noio_restore(flags);
}

/* ---- xenbus ----------------------------------------------------------------------------------------------------- */

static void front_look(struct gk_front *front)
{
	mod_delayed_work(queue, &front->work, 0);
}

static void backend_changed(struct xenbus_device *xbdev, enum xenbus_state state)
{
	struct gk_front *front = dev_get_drvdata(&xbdev->dev);

	front_look(front);
}

/*
 * Xenbus has made the state Initialising, and watches the backend next: that brings step(), which is not waited for
 * here, where all of the guest stands still.
 */
static int front_resume(struct xenbus_device *xbdev)
{
	struct gk_front *front = dev_get_drvdata(&xbdev->dev);

	xchg(&front->restored, 1);
	return 0;
}

/* The toolstack has placed its registers: it is in the device tree, and not ours to bring up. */
static bool placed(const struct xenbus_device *xbdev)
{
	u64 base;

	if (number_read(xbdev, "base", 0, &base) || !base)
		return false;
	dev_info(&xbdev->dev, "at %#llx by the toolstack: left to the device tree\n", base);
	return true;
}

static int front_probe(struct xenbus_device *xbdev, const struct xenbus_device_id *id)
{
	struct gk_front *front;
	int err;

	if (!backend_valid(xbdev)) {
		xenbus_dev_error(xbdev, -EINVAL, "backend-id %d: must be at most %u", xbdev->otherend_id,
				 GIO_DOMID_MAX);
		return -EINVAL;
	}
	/* Were it bound to us, registering the driver would wait for it to connect, and it would hold the module. */
	if (placed(xbdev))
		return -ENODEV;
	front = kzalloc(sizeof(*front), GFP_KERNEL);
	if (!front)
		return -ENOMEM;
	front->xbdev = xbdev;
	front->look = front_look;
	INIT_DELAYED_WORK(&front->work, step_work);
	gk_dma_init(&front->dma);
	dev_set_drvdata(&xbdev->dev, front);
	/* When the system goes down xenbus says Closing, and would wait for us to say that the backend has answered. */
	complete(&xbdev->down);
	/* The backend's state is told next; should it still be that of a connection before this one, it will change. */
	err = xenbus_switch_state(xbdev, XenbusStateInitialising);
	if (err)
		goto free_front;
	return 0;

free_front:
	dev_set_drvdata(&xbdev->dev, NULL);
	kfree(front);
	return err;
}

/* Xenbus has stopped watching the backend. What comes after us finds the state that a new device has. */
static void front_remove(struct xenbus_device *xbdev)
{
	struct gk_front *front = dev_get_drvdata(&xbdev->dev);

	cancel_delayed_work_sync(&front->work);
	let_go(front);
	xenbus_switch_state(xbdev, XenbusStateInitialising);
	dev_set_drvdata(&xbdev->dev, NULL);
	if (front->pdev)
		dev_err(&xbdev->dev, "its driver waits for what was before a save: its disk is left, and the module\n");
	else
		kfree(front);
}

GK_XENBUS_DEFINE_REMOVE(front_remove)

static const struct xenbus_device_id ids[] = {{"virtio_disk"}, {"virtio"}, {""}};

static struct xenbus_driver driver = {
	.name = "grantio",
	.ids = ids,
	.allow_rebind = true,
	GK_XENBUS_NOT_ESSENTIAL.probe = front_probe,
	GK_XENBUS_REMOVE(front_remove),
	.otherend_changed = backend_changed,
	.resume = front_resume,
	.driver.dev_groups = gk_groups,
};

int gk_front_register(void)
{
	int err;

	/*
	 * Freezable: a save begins when the step that runs has ended, and none runs until all is back. Else one would
	 * be taking a device down, or speak to a backend of before, while the system freezes it.
	 */
	queue = alloc_workqueue("grantio", WQ_UNBOUND | WQ_MEM_RECLAIM | WQ_FREEZABLE, 0);
	if (!queue)
		return -ENOMEM;
	err = xenbus_register_frontend(&driver);
	if (err)
		destroy_workqueue(queue);
	return err;
}

void gk_front_unregister(void)
{
	xenbus_unregister_driver(&driver);
	destroy_workqueue(queue);
}
