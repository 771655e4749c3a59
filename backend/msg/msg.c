/* SPDX-License-Identifier: MIT */
/* A connection at work: what the device and its driver tell each other, and what the ledger knows of it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/msg/msg_priv.h"
#include "backend/virtio/vdev.h"

#define STACK_BYTES (256u * 1024)

/*
 * The transport's part of the ledger: a successor must know all that the driver has seen. Other versions read it: never
 * change a field, and add new ones at the end.
 */
struct msg_state {
	char draft[24]; /* GIO_MSG_DRAFT: what the messages look like */
	uint64_t connection;
	uint32_t only, driver_page, device_page, port, channels, runs;
	uint32_t ports[GIO_MSG_CHANNELS_MAX];
	struct {
		uint32_t first, count, write;
	} run[GIO_POOL_RUNS_MAX];
	struct gd_handle_state handle;
	uint32_t malformed;
	uint32_t event;	   /* 1: an EVENT_CONFIG was written that the driver may not have taken, */
	uint32_t event_at; /* with this number */
	uint32_t reserved;
	struct gd_msgbus_state bus;
};

_Static_assert(sizeof(struct msg_state) <= GD_LEDGER_TRANSPORT, "it has room in the ledger");
_Static_assert(sizeof(GIO_MSG_DRAFT) <= sizeof(((struct msg_state *)NULL)->draft), "the string has room");

static struct gd_msg *msg_of(struct gd_transport *transport)
{
	return (struct gd_msg *)transport; /* its first field */
}

/* ---- what the device tells its driver --------------------------------------------------------------------------- */

static void wake(const struct gd_msg *msg)
{
	uint64_t one = 1;

	/* Cannot fail: the counter would have to be near its limit of 2^64. */
	if (write(msg->wake, &one, sizeof(one)) != sizeof(one))
		return;
}

static void msg_used(struct gd_transport *transport, unsigned queue)
{
	struct gd_msg *msg = msg_of(transport);
	unsigned channels = __atomic_load_n(&msg->channels, __ATOMIC_ACQUIRE);

	/* An error means that the guest's end has gone: nobody is there to be told. */
	if (channels)
		gd_port_send(&msg->bell[queue % channels].port);
}

static void msg_changed(struct gd_transport *transport)
{
	struct gd_msg *msg = msg_of(transport);

	__atomic_store_n(&msg->changed, true, __ATOMIC_RELEASE);
	wake(msg);
}

/* Of used buffers the driver is told when all ports are sent to: gd_msg_go_on(). */
static void msg_pend(struct gd_transport *transport, uint32_t what)
{
	if (what & GD_TELL_CHANGED)
		__atomic_store_n(&msg_of(transport)->changed, true, __ATOMIC_RELEASE);
}

/* Pages, ports, pool and generation stay as they are. */
static void msg_reset(struct gd_transport *transport)
{
	(void)transport;
}

/* ---- the ledger ------------------------------------------------------------------------------------------------- */

static void identity_save(const struct gd_msg_answer *answer, struct msg_state *s)
{
	memcpy(s->draft, GIO_MSG_DRAFT, sizeof(GIO_MSG_DRAFT));
	s->connection = answer->connection;
	s->only = answer->only;
	s->driver_page = answer->driver_page;
	s->device_page = answer->device_page;
	s->port = answer->port;
	s->channels = answer->channels;
	memcpy(s->ports, answer->ports, sizeof(s->ports));
	s->runs = answer->runs;
	for (unsigned i = 0; i < answer->runs; i++) {
		s->run[i].first = answer->run[i].first;
		s->run[i].count = answer->run[i].count;
		s->run[i].write = answer->run[i].write;
	}
}

static void msg_save(const struct gd_transport *transport, void *state)
{
	const struct gd_msg *msg = (const struct gd_msg *)transport;
	struct msg_state s = {
		.malformed = msg->malformed, .event = msg->event, .event_at = msg->event_at, .bus = msg->bus.state};

	identity_save(&msg->answer, &s);
	/* Before the connection has begun, or gone on, there is nothing that its driver could have seen. */
	if (msg->handle.vdev)
		gd_handle_save(&msg->handle, &s.handle);
	memcpy(state, &s, sizeof(s));
}

static bool straight(const struct gd_msg *msg)
{
	return msg->pool && gd_pool_straight(msg->pool);
}

/* The ledger must be of this very connection: what comes before `handle` names it. */
static int msg_load(struct gd_transport *transport, const void *state)
{
	struct gd_msg *msg = msg_of(transport);
	struct msg_state s, expected = {0};

	memcpy(&s, state, sizeof(s));
	identity_save(&msg->answer, &expected);
	if (memcmp(&s, &expected, offsetof(struct msg_state, handle)))
		return -EINVAL;
	gd_msgbus_resume(&msg->bus, msg->driver_page.data, msg->device_page.data, &s.bus);
	gd_handle_resume(&msg->handle, transport->vdev, straight(msg), &s.handle);
	msg->malformed = s.malformed;
	msg->event = s.event;
	msg->event_at = s.event_at;
	return 0;
}

const struct gd_transport_ops gd_msg_ops = {.id = GD_TRANSPORT_MSG,
					    .state_bytes = sizeof(struct msg_state),
					    .used = msg_used,
					    .changed = msg_changed,
					    .pend = msg_pend,
					    .reset = msg_reset,
					    .save = msg_save,
					    .load = msg_load};

/* ---- the connection's thread ------------------------------------------------------------------------------------ */

/* Commit, and only then show: the driver sees nothing that a successor would not know of. */
static void show(struct gd_msg *msg)
{
	gd_vdev_commit(msg->transport.vdev);
	if (gd_msgbus_show(&msg->bus))
		gd_port_send(&msg->port);
}

static int request_handle(struct gd_msg *msg, const struct gio_msg *request)
{
	struct gio_msg response;
	int err = 0;

	if (gd_handle_request(&msg->handle, request, &response))
		err = gd_msgbus_put(&msg->bus, &response);
	else
		msg->malformed++;
	if (!err)
		show(msg);
	return err;
}

static int requests_handle(struct gd_msg *msg)
{
	struct gio_msg request;
	int taken = 1;

	for (unsigned i = 0; i < GIO_MSG_TAKE_MAX && taken == 1; i++) {
		taken = gd_msgbus_take(&msg->bus, &request);
		if (taken == 1 && request_handle(msg, &request))
			return -EPROTO;
		if (msg->malformed >= GIO_MSG_MALFORMED_MAX)
			return -EBADMSG;
	}
	return taken < 0 ? taken : 0;
}

/*
 * Tell the driver of a change, unless it has not taken the last EVENT_CONFIG yet: then it sends an event when it has.
 * Before DRIVER_OK a driver is told of nothing, and whether something has changed until then shows by the generation.
 */
static int event_step(struct gd_msg *msg)
{
	struct gio_msg event;
	int taken = msg->event ? gd_msgbus_taken(&msg->bus, msg->event_at) : 1, err;

	if (taken <= 0)
		return taken;
	msg->event = false;
	if (!gd_vdev_driving(msg->transport.vdev))
		return 0;
	if (!__atomic_exchange_n(&msg->changed, false, __ATOMIC_ACQ_REL) && !gd_handle_changed(&msg->handle))
		return 0;
	gd_handle_event(&msg->handle, &event);
	msg->event_at = msg->bus.state.prod;
	err = gd_msgbus_put(&msg->bus, &event);
	msg->event = !err;
	if (!err)
		show(msg);
	return err;
}

/* Do all that there is to do. False: the driver has broken the rules. */
static bool work(struct gd_msg *msg)
{
	int err = requests_handle(msg);

	if (!err)
		err = event_step(msg);
	if (!err)
		return true;
	gd_log_guest(msg->config.log, GD_WARN,
		     err == -EBADMSG
			     ? "its driver has sent %u malformed messages: the connection ends"
			     : "its driver breaks the rules of the message pages (%u malformed messages before): "
			       "the connection ends",
		     msg->malformed);
	return false;
}

/* Wait for an event, or for a change of the device. */
static void sleep_until_news(struct gd_msg *msg)
{
	struct pollfd fds[] = {{.fd = gd_port_fd(&msg->port), .events = POLLIN}, {.fd = msg->wake, .events = POLLIN}};
	uint64_t count;

	gd_port_unmask(&msg->port);
	if (poll(fds, 2, -1) <= 0)
		return;
	if (fds[0].revents)
		gd_port_take(&msg->port);
	if (fds[1].revents && read(msg->wake, &count, sizeof(count)) != sizeof(count))
		return;
}

static void *thread_main(void *opaque)
{
	struct gd_msg *msg = opaque;
	bool sound = true;

	while (sound && !__atomic_load_n(&msg->quit, __ATOMIC_ACQUIRE)) {
		sound = work(msg);
		if (sound)
			sleep_until_news(msg);
	}
	if (!sound)
		msg->config.broken(msg->config.opaque);
	return NULL;
}

static int thread_start(struct gd_msg *msg)
{
	pthread_attr_t attr;
	sigset_t all, before;
	char name[16];
	int err;

	__atomic_store_n(&msg->quit, false, __ATOMIC_RELAXED);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&msg->thread, &attr, thread_main, msg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	msg->running = !err;
	if (err)
		return -err;
	snprintf(name, sizeof(name), "%.11s.msg", msg->config.log->name);
	pthread_setname_np(msg->thread, name);
	return 0;
}

/* ---- at work ---------------------------------------------------------------------------------------------------- */

static void ports_send(const struct gd_msg *msg)
{
	gd_port_send(&msg->port);
	for (unsigned i = 0; i < msg->config.queues; i++)
		gd_port_send(&msg->bell[i].port); /* nothing where it is not bound */
}

/*
 * From here on queues send events, and wake those that share their bell. Whatever came before that is made up for: all
 * ports are sent to, and all queues look at their rings.
 */
static int at_work(struct gd_msg *msg)
{
	__atomic_store_n(&msg->channels, msg->answer.channels, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < msg->config.queues; i++)
		gd_vdev_wake(msg->transport.vdev, i);
	ports_send(msg);
	return thread_start(msg); /* which looks at the driver page at once */
}

int gd_msg_begin(struct gd_msg *msg)
{
	gd_handle_init(&msg->handle, msg->transport.vdev, straight(msg));
	gd_vdev_commit(msg->transport.vdev);
	return at_work(msg);
}

int gd_msg_go_on(struct gd_msg *msg)
{
	gd_vdev_commit(msg->transport.vdev);
	gd_msgbus_show_again(&msg->bus);
	return at_work(msg);
}

void gd_msg_stop(struct gd_msg *msg)
{
	if (!msg->running)
		return;
	__atomic_store_n(&msg->quit, true, __ATOMIC_RELEASE);
	wake(msg);
	pthread_join(msg->thread, NULL);
	msg->running = false;
}
