// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's side of docs/xenbus.md. It makes a platform device for a directory device/virtio_disk/N in xenstore, and
 * removes it.
 *
 *   our state      backend's state   what we do                                               our new state
 *   Initialising   InitWait          check the backend's offer, make what the answer names    Initialised
 *                                    (event channels, shared pages) and write it
 *   Initialised    Connected         make the platform device, since the backend has          Connected
 *                                    accepted the answer
 *   Connected      InitWait          remove the device and what was made for it, since the    Initialising
 *                                    backend begins anew; then the first line applies
 *   any            Closing, Closed   remove the device and what was made for it               Closed
 *
 * Our state is also Closed after we have refused an offer, until the backend begins anew; and after we have given a
 * device up that breaks the protocol or does not answer, until it may be connected again.
 *
 * What an offer, an answer and a device are depends on the transport (front.h), which the offer chooses.
 *
 * Save and restore: a guest freezes its virtio drivers before it is saved. After a restore or a migration its backend
 * does not know it, and is in InitWait. The guest's event channels are gone. So the connection begins at Initialising
 * again, but the platform device stays, with its driver frozen. When both states are Connected the driver goes on. A
 * driver that cannot freeze (virtio_mmio before 5.17) loses its device, and gets a new one.
 *
 * Threads: xenbus calls us in a thread that all of its devices share. A virtio driver may wait for I/O in its probe,
 * and must not hold that thread up. So each device has a work item, which looks at the two states as they are now, and
 * not at single events.
 *
 * The backend is not trusted. It may begin anew as often as it likes: each time it then waits longer for us, and it
 * cannot fill the log.
 *
 * A device whose registers the toolstack has placed (`base` is not 0, as with xl on Arm) is in the device tree. The
 * frontend takes it by messages where the backend offers them, unless it is told not to (`tree_messages=0`), and leaves
 * it alone else. Once taken, the registers answer as if there were no device, which virtio_mmio finds when the device
 * tree's devices get their drivers (of.c). That waits for gk_front_settle().
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/virtio_ids.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <xen/xen.h>
#include <xen/xenbus.h>

#include <abi/virtio_msg.h>
#include <abi/xen.h>
#include <abi/xenbus.h>

#include "compat.h"
#include "dma_ops.h"
#include "front.h"
#include "frontend.h"
#include "keys.h"
#include "mmio.h"
#include "msg.h"
#include "sysfs.h"
#include "tree.h"

#define RETRIES	     60u /* of a connection for which there is no memory, */
#define RETRY_PERIOD HZ	 /* so far apart */

#define PAUSE_MIN HZ	    /* before the second connection after the first one, doubled each time, */
#define PAUSE_MAX (30 * HZ) /* up to this; none again */
#define CALM	  (60 * HZ) /* after a connection that lasted so long */

#define SETTLE (10 * HZ) /* for devices of the device tree that messages are offered for */

static bool tree_messages = true;
module_param(tree_messages, bool, 0444);
MODULE_PARM_DESC(tree_messages,
		 "take devices of the device tree by messages, where their backends offer them (default Y)");

static struct workqueue_struct *queue;

/* How many placed devices are on their way, and who waits for them. */
static atomic_t unsettled = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(settled);

/* ---- states ----------------------------------------------------------------------------------------------------- */

/* A frozen device stays: drivers cannot let go of what they have frozen, only go on. */
static void let_go(struct gk_front *front)
{
	if (!front->transport)
		return;
	if (!front->frozen)
		front->transport->destroy(front);
	front->transport->close(front);
}

/* A placed device is connected, or refused, or gone: for the first time, if it is on its way. */
static void settle(struct gk_front *front)
{
	if (!front->unsettled)
		return;
	front->unsettled = false;
	atomic_dec(&unsettled);
	wake_up(&settled);
}

/* A placed device that is not connected is the device tree's: its backend is not told that it is refused. */
static void disconnect(struct gk_front *front, enum xenbus_state state)
{
	let_go(front);
	if (front->placed && state == XenbusStateClosed)
		state = XenbusStateInitialising;
	xenbus_switch_state(front->xbdev, state);
	settle(front);
}

/* Nobody serves the device any more: what is still asked of it fails at once. One that is frozen asks for nothing. */
static void lose(struct gk_front *front)
{
	if (front->pdev && !front->frozen)
		front->transport->lose(front);
}

/*
 * Whether a connection may begin now; else the work item is to run when it may. A backend that begins anew all the time
 * costs the guest little.
 */
static bool may_begin(struct gk_front *front)
{
	unsigned long now = jiffies;

	if (time_before(now, front->next)) {
		queue_delayed_work(queue, &front->work, front->next - now);
		return false;
	}
	if (front->calm && time_after(now, front->connected + CALM))
		front->pause = 0;
	front->calm = false;
	front->next = now + front->pause;
	front->pause = clamp_t(unsigned long, 2 * front->pause, PAUSE_MIN, PAUSE_MAX);
	return true;
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
		gk_complain(front, -EINVAL,
			    "type: must be virtio,deviceN, N the hexadecimal number of a type of device");
		return -EINVAL;
	}
	if (front->pdev && type != front->type) {
		gk_complain(front, -EINVAL, "type: was %u before this guest was saved, and must be, not %u",
			    front->type, type);
		return -EINVAL;
	}
	front->type = type;
	return 0;
}

/* Messages where the backend offers them, and else registers. NULL: it offers neither. */
static const struct gk_transport *transport_offered(const struct gk_front *front)
{
	u64 version;

	if (gk_key_number(front->xbdev->otherend, GIO_XENBUS_KEY_VERSION, 10, &version) ||
	    (version != GIO_XENBUS_VERSION && version != GIO_XENBUS_VERSION_MSG))
		return NULL;
	if (gk_msg_offered(front->xbdev))
		return &gk_msg;
	/* What a PV guest accesses never reaches a register, and placed registers are the device tree's. */
	return version == GIO_XENBUS_VERSION && !xen_pv_domain() && !front->placed ? &gk_mmio : NULL;
}

/* What the backend has published; says what is wrong with it. */
static int offer_read(struct gk_front *front)
{
	const struct xenbus_device *xbdev = front->xbdev;
	const struct gk_transport *transport;
	int err;

	if (!backend_valid(xbdev)) {
		gk_complain(front, -EINVAL, "backend-id %d: must be at most %u", xbdev->otherend_id, GIO_DOMID_MAX);
		return -EINVAL;
	}
	transport = transport_offered(front);
	if (!transport) {
		gk_complain(front, -EPROTO, "grantio-version: must be %u, or %u with " GIO_MSG_DRAFT,
			    GIO_XENBUS_VERSION, GIO_XENBUS_VERSION_MSG);
		return -EPROTO;
	}
	if (front->pdev && transport != front->transport) {
		gk_complain(front, -EPROTO, "transport: is another one than before this guest was saved");
		return -EPROTO;
	}
	front->transport = transport;
	err = type_take(front);
	return err ? err : transport->offer(front);
}

/* Our answer, all at once; the state follows it. */
static int answer_write(struct gk_front *front)
{
	struct xenbus_transaction xbt;
	int err, tries;

	for (tries = 0; tries < 10; tries++) {
		err = xenbus_transaction_start(&xbt);
		if (err)
			return err;
		err = front->transport->answer(front, xbt);
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
	front->seen = false;
	front->again = false;
	xchg(&front->lost, 0);
	if (err) {
		disconnect(front, XenbusStateClosed);
		return;
	}
	err = front->transport->open(front);
	if (err == -EBUSY)
		queue_delayed_work(queue, &front->work, front->pause);
	if (!err)
		err = answer_write(front);
	if (!err)
		err = xenbus_switch_state(front->xbdev, XenbusStateInitialised);
	if (err) {
		if (err != -EBUSY)
			gk_complain(front, err, "cannot answer the backend's offer");
		disconnect(front, XenbusStateClosed);
	}
}

/* It is the same device as before, for the domain that its backend is in now. */
static int revive(struct gk_front *front)
{
	int err;

	front->dma.dma.backend = front->xbdev->otherend_id; /* nothing is mapped while it is frozen */
	err = front->transport->revive(front);
	front->frozen = err;
	if (err)
		gk_complain(front, err, "its driver does not go on after the restore");
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
	int err = front->pdev ? revive(front) : front->transport->create(front);

	front->seen = true;
	front->connected = jiffies;
	front->calm = !err;
	settle(front);
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
	lose(front);
	let_go(front);
	front->xbdev->state = XenbusStateUnknown; /* else nothing is written */
	xenbus_switch_state(front->xbdev, XenbusStateInitialising);
}

/* As the backend says it, 0 (unknown) if it says nothing. */
static enum xenbus_state backend_state(struct gk_front *front)
{
	return xenbus_read_unsigned(front->xbdev->otherend, "state", XenbusStateUnknown);
}

/* The backend is in InitWait. */
static void step_offer(struct gk_front *front)
{
	enum xenbus_state state = front->xbdev->state;
	bool now;

	if (state == XenbusStateInitialised && !front->seen)
		return; /* it has not seen our answer yet */
	now = may_begin(front);
	if (state != XenbusStateInitialising) {
		lose(front);
		disconnect(front, now ? XenbusStateInitialising : XenbusStateClosed);
	}
	if (now)
		offer_take(front);
}

/* The backend is in Connected. It goes to InitWait when it sees that a device which was given up begins anew. */
static void step_connected(struct gk_front *front)
{
	if (front->xbdev->state == XenbusStateInitialised)
		connect(front);
	else if (front->again && front->xbdev->state == XenbusStateClosed && may_begin(front))
		xenbus_switch_state(front->xbdev, XenbusStateInitialising);
}

static void step(struct gk_front *front)
{
	enum xenbus_state backend, state;

	/* Frozen and Connected: the save has failed, or the driver could not go on after it. */
	if (xchg(&front->restored, 0) || (front->frozen && front->xbdev->state == XenbusStateConnected))
		begin_anew(front);
	if (xchg(&front->lost, 0)) {
		disconnect(front, XenbusStateClosed);
		front->again = true;
	}
	backend = backend_state(front);
	state = front->xbdev->state;
	switch (backend) {
	case XenbusStateInitWait:
		step_offer(front);
		break;
	case XenbusStateConnected:
		step_connected(front);
		break;
	case XenbusStateClosed:
		lose(front);
		fallthrough;
	case XenbusStateClosing:
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

/* The toolstack has placed its registers: it is in the device tree. */
static bool placed(const struct xenbus_device *xbdev)
{
	u64 base;

	return !gk_key_number(xbdev->otherend, "base", 0, &base) && base;
}

/* Not ours to bring up: were it bound to us, it would hold the module. */
static bool left_to_tree(const struct xenbus_device *xbdev)
{
	if (!placed(xbdev))
		return false;
	if (tree_messages && !GK_KERNEL_HAS_XEN_VIRTIO && gk_msg_offered(xbdev))
		return false;
	dev_info(&xbdev->dev, "placed by the toolstack: left to the device tree\n");
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
	if (left_to_tree(xbdev))
		return -ENODEV;
	front = kzalloc(sizeof(*front), GFP_KERNEL);
	if (!front)
		return -ENOMEM;
	front->xbdev = xbdev;
	front->look = front_look;
	front->next = jiffies;
	front->placed = front->unsettled = placed(xbdev);
	INIT_DELAYED_WORK(&front->work, step_work);
	gk_dma_init(&front->dma);
	gk_msg_init(front);
	if (front->unsettled)
		atomic_inc(&unsettled);
	dev_set_drvdata(&xbdev->dev, front);
	/* When the system goes down xenbus says Closing, and would wait for us to say that the backend has answered. */
	complete(&xbdev->down);
	/* The backend's state is told next; should it still be that of a connection before this one, it will change. */
	err = xenbus_switch_state(xbdev, XenbusStateInitialising);
	if (err)
		goto free_front;
	return 0;

free_front:
	settle(front);
	dev_set_drvdata(&xbdev->dev, NULL);
	kfree(front);
	return err;
}

/* For good: if there is still a backend, the device is ended in order. */
static void end(struct gk_front *front)
{
	enum xenbus_state backend = backend_state(front);

	if (backend != XenbusStateConnected && backend != XenbusStateClosing)
		lose(front);
	if (front->pdev && front->frozen && front->transport->abandon)
		front->frozen = front->transport->abandon(front);
	let_go(front);
}

/* Xenbus has stopped watching the backend. What comes after us finds the state that a new device has. */
static void front_remove(struct xenbus_device *xbdev)
{
	struct gk_front *front = dev_get_drvdata(&xbdev->dev);

	cancel_delayed_work_sync(&front->work);
	end(front);
	settle(front);
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

void gk_front_settle(void)
{
	wait_event_timeout(settled, !atomic_read(&unsettled), SETTLE);
}

void gk_front_unregister(void)
{
	xenbus_unregister_driver(&driver);
	destroy_workqueue(queue);
}
