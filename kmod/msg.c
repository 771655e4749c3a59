// SPDX-License-Identifier: GPL-2.0-only
/*
 * Version 2 of docs/xenbus.md. The backend offers messages; the guest answers with two pages, event channels, and a
 * pool of pages through which all data goes. The virtio device is ours, and its parent is a platform device, which has
 * the DMA operations and is frozen when the guest is saved.
 *
 * Dead. A backend that answers wrongly, or not within the library's limits, or that begins anew, is given up: each
 * operation then succeeds at once and asks for nothing, and queues are broken. So a driver can always be unbound, but
 * for requests that were in flight: Linux's virtio_blk waits for these without limit.
 */
#include <linux/err.h>
#include <linux/cpumask.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/virtio.h>
#include <xen/xenbus.h>

#include <abi/virtio_msg_bus.h>
#include <abi/xenbus.h>

#include "compat.h"
#include "dma_ops.h"
#include "front.h"
#include "keys.h"
#include "msg.h"
#include "platform.h"
#include "reap.h"
#include "vdev.h"
#include "virtio.h"

#define POOL_KIB_MIN  256u
#define POOL_KIB_MAX  65536u /* abi/virtio_msg_bus.h: GIO_POOL_RUN_MAX pages */
#define SEGMENT_PAGES 8u     /* the longest mapping: short ones let a request have many */
#define SMALL_READS   1024u  /* request headers: 4 pages */
#define SMALL_WRITES  4096u  /* status bytes: 1 page */

/*
 * References of former connections that a backend may hold when a new one begins. So at most these, and what one
 * connection has, are ever in quarantine, however often the backend begins anew.
 */
#define HELD_MAX 256u

static unsigned int pool_kib = 4096;
module_param(pool_kib, uint, 0444);
MODULE_PARM_DESC(pool_kib, "memory of each device's pool in KiB, 256 to 65536 (default 4096)");

static bool direct;
module_param(direct, bool, 0444);
MODULE_PARM_DESC(direct, "no pool for devices that the toolstack calls trusted: their backends see the guest's pages");

/* ---- given up --------------------------------------------------------------------------------------------------- */

static void break_device(struct gk_msg *msg)
{
	if (msg->vdev.vdev)
		virtio_break_device(msg->vdev.vdev);
}

static void link_given_up(struct gk_link *link, const char *why, int err)
{
	struct gk_front *front = container_of(link, struct gk_front, msg.link);

	break_device(&front->msg);
	gk_complain(front, err, "the device is given up: %s", why);
	xchg(&front->lost, 1);
	front->look(front);
}

static void msg_lose(struct gk_front *front)
{
	gk_link_kill(&front->msg.link);
	break_device(&front->msg);
}

/* ---- the offer -------------------------------------------------------------------------------------------------- */

bool gk_msg_offered(const struct xenbus_device *xbdev)
{
	return gk_key_has(xbdev->otherend, GIO_XENBUS_KEY_DRAFT, GIO_MSG_DRAFT);
}

static int number_offered(struct gk_front *front, const char *key, u64 min, u64 max, u64 *value)
{
	int err = gk_key_number(front->xbdev->otherend, key, 10, value);

	if (!err && *value >= min && *value <= max)
		return 0;
	gk_complain(front, -EPROTO, "%s: must be %llu to %llu", key, min, max);
	return -EPROTO;
}

static int msg_offer(struct gk_front *front)
{
	struct gk_msg *msg = &front->msg;
	u64 unused;
	int err = number_offered(front, GIO_XENBUS_KEY_REVISION, 1, 1, &unused);

	if (!err)
		err = number_offered(front, GIO_XENBUS_KEY_MAX_SIZE, GIO_MSG_MAX, GIO_MSG_MAX, &unused);
	if (!err)
		err = number_offered(front, GIO_XENBUS_KEY_BUS_FEATURES, 0, 0, &unused);
	if (!err)
		err = number_offered(front, GIO_XENBUS_KEY_MAX_CHANNELS, 1, GIO_MSG_CHANNELS_MAX, &msg->channels);
	if (!err)
		err = number_offered(front, GIO_XENBUS_KEY_POOL_MAX, 0, U32_MAX, &msg->pool_max);
	return err;
}

/* ---- the answer ------------------------------------------------------------------------------------------------- */

/* The toolstack's word, in our own directory. */
static bool trusted(const struct gk_front *front)
{
	return gk_key_is(front->xbdev->nodename, "trusted", "1");
}

static int pool_open(struct gk_front *front)
{
	const u32 pages = clamp(pool_kib, POOL_KIB_MIN, POOL_KIB_MAX) >> (GIO_PAGE_SHIFT - 10);
	const struct gio_pool_config config = {
		.os = &gk_os,
		.grants = gk_os.grants,
		.backend = front->xbdev->otherend_id,
		.read_pages = pages / 2,
		.write_pages = pages / 2,
		.small_read = SMALL_READS,
		.small_write = SMALL_WRITES,
		.mapping_pages = SEGMENT_PAGES,
		.shares = num_possible_cpus(),
		.user = front->msg.user,
	};
	int err;

	front->dma.pooled = !(direct && trusted(front));
	if (!front->dma.pooled)
		return 0;
	err = gio_pool_open(&front->dma.pool, &config);
	if (!err)
		WRITE_ONCE(front->dma.pool_pages, config.read_pages + config.write_pages);
	return err;
}

/* -EBUSY: too much is held; the backend may let go of it later. */
static int held_check(struct gk_front *front)
{
	u32 held;

	if (!front->msg.user)
		front->msg.user = gio_grants_user(gk_os.grants);
	held = gk_reap_held(front->msg.user);
	if (held <= HELD_MAX)
		return 0;
	gk_complain(front, -EBUSY, "the backend holds %u pages of former connections, at most %u may be", held,
		    HELD_MAX);
	return -EBUSY;
}

static int msg_open(struct gk_front *front)
{
	struct gk_msg *msg = &front->msg;
	int err = held_check(front);

	if (err)
		return err;
	err = gk_link_open(&msg->link, front->xbdev, msg->user, min_t(u64, msg->channels, num_online_cpus()));
	if (err)
		return err;
	err = pool_open(front);
	gk_vdev_begin(&msg->vdev, front->dma.pool);
	return err;
}

/* The runs of its pool that the backend is to map: none if there is no pool, or a larger one than it is willing to. */
static unsigned int runs_of(const struct gk_front *front, struct gio_pool_run runs[GIO_POOL_RUNS])
{
	unsigned int i, n = front->dma.pool ? gio_pool_runs(front->dma.pool, runs) : 0;
	u64 pages = 0;

	for (i = 0; i < n; i++)
		pages += runs[i].count;
	return pages > front->msg.pool_max ? 0 : n;
}

/* Without runs the backend copies, as it does from any grants. */
static int pool_answer(struct gk_front *front, struct xenbus_transaction xbt)
{
	const char *dir = front->xbdev->nodename;
	struct gio_pool_run runs[GIO_POOL_RUNS];
	unsigned int i, n = runs_of(front, runs);
	char key[24];
	int err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_DMA, n ? GIO_XENBUS_DMA_POOL : GIO_XENBUS_DMA_GRANT);

	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_POOL_RUNS, "%u", n);
	for (i = 0; i < n && !err; i++) {
		snprintf(key, sizeof(key), GIO_XENBUS_KEY_POOL_RUN, i);
		err = xenbus_printf(xbt, dir, key, "%u:%u:%c", runs[i].first, runs[i].count,
				    runs[i].readonly ? 'r' : 'w');
	}
	return err;
}

static int channels_answer(struct gk_front *front, struct xenbus_transaction xbt)
{
	const struct gk_link *link = &front->msg.link;
	const char *dir = front->xbdev->nodename;
	unsigned int i;
	char key[32];
	int err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_PORT, "%u", link->message.port);

	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_CHANNELS, "%u", link->channels);
	for (i = 0; i < link->channels && !err; i++) {
		snprintf(key, sizeof(key), GIO_XENBUS_KEY_QUEUE_PORT, i);
		err = xenbus_printf(xbt, dir, key, "%u", link->queues[i].port);
	}
	return err;
}

static int msg_answer(struct gk_front *front, struct xenbus_transaction xbt)
{
	const struct gk_link *link = &front->msg.link;
	const char *dir = front->xbdev->nodename;
	int err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_VERSION, "%u", GIO_XENBUS_VERSION_MSG);

	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_TRANSPORT, GIO_XENBUS_TRANSPORT_MSG);
	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_DRAFT, GIO_MSG_DRAFT);
	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_CONNECTION, "%016llx", (u64)get_random_u64());
	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_DRIVER_PAGE, "%u", gk_link_driver_ref(link));
	if (!err)
		err = xenbus_printf(xbt, dir, GIO_XENBUS_KEY_DEVICE_PAGE, "%u", gk_link_device_ref(link));
	if (!err)
		err = channels_answer(front, xbt);
	return err ? err : pool_answer(front, xbt);
}

/* The device is gone, or frozen: nothing of it is mapped. */
static void msg_close(struct gk_front *front)
{
	gk_link_close(&front->msg.link);
	if (gio_pool_close(front->dma.pool))
		gk_reap_schedule();
	front->dma.pool = NULL;
	WRITE_ONCE(front->dma.pool_pages, 0);
}

/* ---- the device ------------------------------------------------------------------------------------------------- */

static int info_read(struct gk_front *front)
{
	struct gk_link *link = &front->msg.link;
	int err;

	gk_link_lock(link);
	err = gio_msg_driver_info(&link->driver, front->type);
	if (err)
		gk_link_kill(link); /* nothing else is to become of it: it is said here, and the offer refused */
	gk_link_unlock(link);
	if (err)
		gk_complain(front, err, "no device of type %u, or one that cannot be driven", front->type);
	return err;
}

static void msg_destroy(struct gk_front *front)
{
	gk_vdev_unregister(&front->msg.vdev);
	gk_platform_destroy(front);
}

static int msg_create(struct gk_front *front)
{
	int err = info_read(front);

	if (err)
		return err;
	err = gk_platform_create(front, "grantio", NULL, 0);
	if (err) {
		gk_complain(front, err, "cannot make its platform device");
		return err;
	}
	err = gk_vdev_register(&front->msg.vdev, &front->pdev->dev, front->type);
	if (err) {
		gk_complain(front, err, "cannot register its virtio device");
		gk_platform_destroy(front);
		return err;
	}
	return 0;
}

/* ---- save and restore ------------------------------------------------------------------------------------------- */

static bool msg_freezable(struct gk_front *front)
{
	return front->msg.vdev.vdev && gk_virtio_freezable(&front->pdev->dev);
}

static int msg_freeze(struct gk_front *front)
{
	/* The driver of a device that was given up might wait for requests that nobody answers. */
	return gk_link_dead(&front->msg.link) ? -EIO : gk_vdev_freeze(&front->msg.vdev);
}

/* Over the pages, channels and pool that there are. */
static int msg_thaw(struct gk_front *front)
{
	return gk_vdev_restore(&front->msg.vdev);
}

/* The same device as before, as far as can be seen, behind a new connection. It may have another size now. */
static int msg_revive(struct gk_front *front)
{
	int err = info_read(front);

	if (!err)
		err = gk_vdev_restore(&front->msg.vdev);
	if (!err)
		virtio_config_changed(front->msg.vdev.vdev);
	return err;
}

/* Without a device: the driver goes on with queues that are broken, so that it can be unbound. */
static int msg_abandon(struct gk_front *front)
{
	gk_link_kill(&front->msg.link);
	return gk_vdev_restore(&front->msg.vdev);
}

const struct gk_transport gk_msg = {
	.offer = msg_offer,
	.open = msg_open,
	.answer = msg_answer,
	.create = msg_create,
	.revive = msg_revive,
	.lose = msg_lose,
	.abandon = msg_abandon,
	.destroy = msg_destroy,
	.close = msg_close,
	.freeze = msg_freeze,
	.thaw = msg_thaw,
	.freezable = msg_freezable,
};

/* ---- events ----------------------------------------------------------------------------------------------------- */

static void link_heard(struct gk_link *link)
{
	gk_vdev_heard(&container_of(link, struct gk_msg, link)->vdev);
}

static bool link_used(struct gk_link *link, unsigned int channel)
{
	return gk_vqs_used(&container_of(link, struct gk_msg, link)->vdev.vqs, channel);
}

static const struct gk_link_ops link_ops = {
	.heard = link_heard,
	.used = link_used,
	.given_up = link_given_up,
};

void gk_msg_init(struct gk_front *front)
{
	gk_link_init(&front->msg.link, &link_ops);
	gk_vdev_init(&front->msg.vdev, &front->msg.link);
}
