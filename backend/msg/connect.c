/* SPDX-License-Identifier: MIT */
/* Connections: what of a guest's answer is mapped and bound, and let go again; and the bells of all queues. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <abi/dma_addr.h>
#include <abi/xenbus.h>

#include "backend/base/error.h"
#include "backend/msg/msg_priv.h"
#include "backend/virtio/vdev.h"

/* ---- bells ------------------------------------------------------------------------------------------------------ */

static struct gd_msg_bell *bell_of(struct gd_bell *bell)
{
	return (struct gd_msg_bell *)bell; /* its first field */
}

/* The channel's event may mean any of its queues: those without a bell of their own are woken from here. */
static void bell_pass_on(const struct gd_msg_bell *bell)
{
	unsigned channels = __atomic_load_n(&bell->msg->channels, __ATOMIC_ACQUIRE);

	for (unsigned queue = bell->queue + channels; channels && queue < bell->msg->config.queues; queue += channels)
		gd_vdev_wake(bell->msg->transport.vdev, queue);
}

static void bell_take(struct gd_bell *bell)
{
	gd_port_take(&bell_of(bell)->port);
	bell_pass_on(bell_of(bell));
}

static void bell_taken(struct gd_bell *bell, uint32_t number)
{
	gd_port_taken(&bell_of(bell)->port, number);
	bell_pass_on(bell_of(bell));
}

static void bell_arm(struct gd_bell *bell)
{
	gd_port_unmask(&bell_of(bell)->port);
}

static int bell_open(struct gd_msg *msg, unsigned queue)
{
	struct gd_msg_bell *bell = &msg->bell[queue];
	int err = gd_port_open(&bell->port, msg->config.domid);

	if (err)
		return err;
	bell->bell = (struct gd_bell){.fd = gd_port_fd(&bell->port),
				      .written = gd_port_written(&bell->port),
				      .take = bell_take,
				      .taken = bell_taken,
				      .arm = bell_arm};
	bell->msg = msg;
	bell->queue = queue;
	msg->bells[queue] = &bell->bell;
	return 0;
}

/* ---- connections ------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 4, 5))) static int refuse(int err, char *error, size_t size, const char *what, ...)
{
	int length;
	va_list args;

	va_start(args, what);
	length = vsnprintf(error, size, what, args);
	va_end(args);
	if (length >= 0 && (size_t)length < size)
		snprintf(error + length, size - (size_t)length, ": %s", strerror(-err));
	return err;
}

static int page_map(struct gd_msg *msg, const char *key, uint32_t ref, enum gd_access access, struct gd_guestmap *map,
		    char *error, size_t size)
{
	int err = gd_guestmem_map(msg->mem, gio_dma_addr(ref, 0), GIO_MSG_PAGE_BYTES, access, map);

	return err ? refuse(err, error, size, "the guest's %s '%u': cannot map it for %s", key, ref,
			    access == GD_ACCESS_WRITE ? "writing" : "reading")
		   : 0;
}

static int pages_map(struct gd_msg *msg, char *error, size_t size)
{
	const struct gd_msg_answer *answer = &msg->answer;
	int err = page_map(msg, GIO_XENBUS_KEY_DRIVER_PAGE, answer->driver_page, GD_ACCESS_READ, &msg->driver_page,
			   error, size);

	if (!err)
		err = page_map(msg, GIO_XENBUS_KEY_DEVICE_PAGE, answer->device_page, GD_ACCESS_WRITE, &msg->device_page,
			       error, size);
	return err;
}

static int pool_map(struct gd_msg *msg, char *error, size_t size)
{
	const struct gd_pool_config config = {.domid = msg->config.domid,
					      .runs = msg->answer.run,
					      .count = msg->answer.runs,
					      .pages_most = msg->config.pool_most,
					      .only = msg->answer.only,
					      .log = msg->config.log};
	int err = config.count || config.only ? gd_pool_map(&msg->pool, &config) : 0;

	return err ? refuse(err, error, size, "the guest's %s '%u': the pool cannot be used", GIO_XENBUS_KEY_POOL_RUNS,
			    msg->answer.runs)
		   : 0;
}

/* What the guest writes by its pool must not be what it reads as messages, nor the other way round. */
static int pages_apart(struct gd_msg *msg, char *error, size_t size)
{
	const struct gd_msg_answer *answer = &msg->answer;

	if (!msg->pool ||
	    (!gd_pool_names(msg->pool, answer->driver_page) && !gd_pool_names(msg->pool, answer->device_page)))
		return 0;
	return refuse(-EINVAL, error, size, "the guest's pages '%u' and '%u': its pool has one of them",
		      answer->driver_page, answer->device_page);
}

/* What the guest may answer wrongly, as it is its own: a port that Xen refuses. */
static int port_bind(struct gd_port *port, uint32_t remote, const char *of, char *error, size_t size)
{
	int err = gd_port_bind(port, remote);

	return err ? refuse(-EINVAL, error, size, "the guest's %sevent-channel '%u': cannot bind it (%s)", of, remote,
			    strerror(-err))
		   : 0;
}

static int ports_bind(struct gd_msg *msg, char *error, size_t size)
{
	int err = port_bind(&msg->port, msg->answer.port, "", error, size);
	char of[24];

	for (unsigned i = 0; !err && i < msg->answer.channels && i < msg->config.queues; i++) {
		snprintf(of, sizeof(of), "queue-%u/", i);
		err = port_bind(&msg->bell[i].port, msg->answer.ports[i], of, error, size);
	}
	return err;
}

static void parts_release(struct gd_msg *msg)
{
	__atomic_store_n(&msg->channels, 0, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < msg->config.queues; i++)
		gd_port_unbind(&msg->bell[i].port);
	gd_port_unbind(&msg->port);
	gd_pool_unmap(msg->pool);
	msg->pool = NULL;
	gd_guestmem_unmap(msg->mem, &msg->device_page);
	gd_guestmem_unmap(msg->mem, &msg->driver_page);
}

int gd_msg_connect(struct gd_msg *msg, const struct gd_msg_answer *answer, bool fresh, char *error, size_t size)
{
	int err;

	msg->answer = *answer;
	msg->malformed = 0;
	msg->handle = (struct gd_handle){0};
	msg->event = false;
	__atomic_store_n(&msg->changed, false, __ATOMIC_RELAXED);
	err = pages_map(msg, error, size);
	if (!err && fresh && gd_msgbus_begin(&msg->bus, msg->driver_page.data, msg->device_page.data))
		err = refuse(-EPROTO, error, size, "the guest's pages '%u' and '%u' are in use", answer->driver_page,
			     answer->device_page);
	if (!err)
		err = pool_map(msg, error, size);
	if (!err)
		err = pages_apart(msg, error, size);
	if (!err)
		err = ports_bind(msg, error, size);
	if (err) {
		parts_release(msg);
		return err;
	}
	msg->connected = true;
	return 0;
}

struct gd_pool *gd_msg_pool(const struct gd_msg *msg)
{
	return msg->pool;
}

void gd_msg_disconnect(struct gd_msg *msg)
{
	if (!msg->connected)
		return;
	parts_release(msg);
	msg->connected = false;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static int parts_open(struct gd_msg *msg)
{
	int err;

	msg->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (msg->wake < 0)
		return gd_errno_or(EIO);
	err = gd_guestmem_open(&msg->mem, msg->config.domid, &gd_way_grants);
	if (!err)
		err = gd_port_open(&msg->port, msg->config.domid);
	for (unsigned i = 0; !err && i < msg->config.queues; i++)
		err = bell_open(msg, i);
	return err;
}

int gd_msg_open(struct gd_msg **out, const struct gd_msg_config *config)
{
	struct gd_msg *msg = calloc(1, sizeof(*msg));
	int err;

	if (!msg)
		return -ENOMEM;
	msg->transport.ops = &gd_msg_ops;
	msg->config = *config;
	err = parts_open(msg);
	if (err)
		gd_msg_close(msg);
	else
		*out = msg;
	return err;
}

void gd_msg_close(struct gd_msg *msg)
{
	if (!msg)
		return;
	for (unsigned i = 0; i < msg->config.queues; i++)
		gd_port_close(&msg->bell[i].port);
	gd_port_close(&msg->port);
	gd_guestmem_close(msg->mem);
	if (msg->wake >= 0)
		close(msg->wake);
	free(msg);
}

struct gd_transport *gd_msg_transport(struct gd_msg *msg)
{
	return &msg->transport;
}

struct gd_bell *const *gd_msg_bells(const struct gd_msg *msg)
{
	return msg->bells;
}
