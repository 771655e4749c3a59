// SPDX-License-Identifier: GPL-2.0-only
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <xen/events.h>
#include <xen/xenbus.h>

#include <abi/dma_addr.h>

#include "compat.h"
#include "link.h"
#include "reap.h"

#define BYTES (2 * GIO_MSG_PAGE_BYTES)

/* ---- what the guest library asks of its system ------------------------------------------------------------------ */

static void ops_notify(void *opaque)
{
	struct gk_link *link = opaque;

	notify_remote_via_irq(link->message.irq);
}

/* Let the message channel go on, if it waits for that; with the flag if it brought nothing. */
static void message_eoi(struct gk_link *link)
{
	bool nothing = link->driver.bus.taken == link->taken;

	if (!xchg(&link->owed, 0))
		return;
	link->taken = link->driver.bus.taken;
	xen_irq_lateeoi(link->message.irq, nothing ? XEN_EOI_FLAG_SPURIOUS : 0);
}

static void ops_wait(void *opaque, unsigned int ms)
{
	struct gk_link *link = opaque;

	if (!READ_ONCE(link->told))
		message_eoi(link); /* what the last event brought has been taken */
	wait_event_timeout(link->wake, READ_ONCE(link->told), msecs_to_jiffies(ms) + 1);
	/* Before the messages are looked at, so that an event behind them is not lost: a full barrier. */
	xchg(&link->told, 0);
}

static uint64_t ops_now_ms(void *opaque)
{
	return ktime_to_ms(ktime_get());
}

static void ops_slow(void *opaque, unsigned int id)
{
	struct gk_link *link = opaque;

	dev_warn(&link->xbdev->dev, "grantio: message %#x: no answer yet, and it is waited for\n", id);
}

static const struct gio_msg_driver_ops ops = {
	.notify = ops_notify,
	.wait = ops_wait,
	.now_ms = ops_now_ms,
	.slow = ops_slow,
};

/* ---- events ----------------------------------------------------------------------------------------------------- */

/* The channel is let go on by whoever takes the messages. */
static irqreturn_t message_event(int irq, void *opaque)
{
	struct gk_channel *channel = opaque;
	struct gk_link *link = channel->link;

	xchg(&link->owed, 1);
	xchg(&link->told, 1); /* full barrier: before `asking` is read; pairs with the one in gk_link_unlock() */
	if (READ_ONCE(link->asking))
		wake_up(&link->wake);
	else
		link->ops->heard(link);
	return IRQ_HANDLED;
}

static irqreturn_t queue_event(int irq, void *opaque)
{
	struct gk_channel *channel = opaque;
	bool news = channel->link->ops->used(channel->link, channel->index);

	xen_irq_lateeoi(irq, news ? 0 : XEN_EOI_FLAG_SPURIOUS);
	return IRQ_HANDLED;
}

static int channel_open(struct gk_link *link, struct gk_channel *channel, unsigned int index, irq_handler_t handler)
{
	evtchn_port_t port;
	int irq, err = xenbus_alloc_evtchn(link->xbdev, &port);

	if (err)
		return err; /* said by xenbus */
	channel->link = link;
	channel->index = index;
	irq = bind_evtchn_to_irqhandler_lateeoi(port, handler, 0, "grantio", channel);
	if (irq < 0) {
		xenbus_free_evtchn(link->xbdev, port);
		return irq;
	}
	channel->irq = irq;
	channel->port = port;
	return 0;
}

/* By the irq, not by the port: after a restore that number is no channel or somebody else's, and the kernel knows. */
static void channel_close(struct gk_channel *channel)
{
	if (channel->port)
		unbind_from_irqhandler(channel->irq, channel);
	channel->port = 0;
}

/* ---- open and close --------------------------------------------------------------------------------------------- */

void gk_link_init(struct gk_link *link, const struct gk_link_ops *owner)
{
	mutex_init(&link->lock);
	init_waitqueue_head(&link->wake);
	link->ops = owner;
}

static int channels_open(struct gk_link *link, unsigned int channels)
{
	unsigned int i;
	int err = channel_open(link, &link->message, 0, message_event);

	for (i = 0; !err && i < channels; i++)
		err = channel_open(link, &link->queues[i], i, queue_event);
	link->channels = channels;
	return err;
}

int gk_link_open(struct gk_link *link, struct xenbus_device *xbdev, u32 user, unsigned int channels)
{
	int err = gio_dma_init(&link->dma, &gk_os, gk_os.grants, xbdev->otherend_id, ~0ull);

	if (err)
		return err;
	link->xbdev = xbdev;
	link->dma.user = user;
	link->pages = gio_dma_alloc(&link->dma, BYTES, GIO_MSG_PAGE_BYTES, &link->addr);
	if (!link->pages)
		return -ENOMEM;
	WRITE_ONCE(link->dead, 0);
	link->told = 0;
	link->owed = 0;
	link->taken = 0;
	gio_msg_driver_init(&link->driver, link->pages, link->pages + GIO_MSG_PAGE_BYTES, &ops, link);
	err = channels_open(link, channels);
	if (err)
		gk_link_close(link);
	return err;
}

void gk_link_close(struct gk_link *link)
{
	unsigned int i;

	if (!link->pages)
		return;
	for (i = 0; i < link->channels; i++)
		channel_close(&link->queues[i]);
	channel_close(&link->message);
	gio_dma_free(&link->dma, link->pages, BYTES, link->addr);
	link->pages = NULL;
	gk_reap_schedule(); /* the backend may hold them still */
}

grant_ref_t gk_link_driver_ref(const struct gk_link *link)
{
	return gio_dma_addr_gref(link->addr);
}

grant_ref_t gk_link_device_ref(const struct gk_link *link)
{
	return gio_dma_addr_gref(link->addr + GIO_MSG_PAGE_BYTES);
}

/* ---- use -------------------------------------------------------------------------------------------------------- */

void gk_link_lock(struct gk_link *link)
{
	mutex_lock(&link->lock);
	WRITE_ONCE(link->asking, true);
}

bool gk_link_take(struct gk_link *link)
{
	xchg(&link->told, 0); /* full barrier: before the messages are looked at */
	return gio_msg_driver_poll(&link->driver);
}

bool gk_link_kill(struct gk_link *link)
{
	return !xchg(&link->dead, 1);
}

void gk_link_give_up(struct gk_link *link, const char *why, int err)
{
	if (gk_link_kill(link))
		link->ops->given_up(link, why, err);
}

/* What came while somebody asked, and was not what he asked for, is taken by nobody yet. */
void gk_link_unlock(struct gk_link *link)
{
	int err = gio_msg_driver_given_up(&link->driver);
	bool left;

	WRITE_ONCE(link->asking, false);
	smp_mb(); /* before `told` is read: pairs with message_event(), of which one sees what the other wrote */
	left = READ_ONCE(link->told) || link->driver.changed;
	if (!READ_ONCE(link->told))
		message_eoi(link);
	mutex_unlock(&link->lock);
	if (err)
		gk_link_give_up(link, "it breaks the protocol, or does not answer", err);
	else if (left)
		link->ops->heard(link);
}

void gk_link_kick(struct gk_link *link, unsigned int queue)
{
	notify_remote_via_irq(link->queues[queue % link->channels].irq);
}

void gk_link_sync(struct gk_link *link)
{
	unsigned int i;

	for (i = 0; i < link->channels; i++)
		if (link->queues[i].port)
			synchronize_irq(link->queues[i].irq);
}
