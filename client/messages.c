/* SPDX-License-Identifier: MIT */
#include "client/messages.h"

#include <abi/virtio_msg.h>
#include <abi/virtio_msg_bus.h>
#include <abi/xenbus.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <xenstore.h>

#define POOL_PAGES 512u /* of each area: 2 MiB that the device reads, and as many that it writes */

#define CLOSE_MS 60000u /* for the backend to let go: what it holds then is set aside */
#define TRIES	 10u	/* of a transaction that another one has disturbed */

/* xen/io/xenbus.h */
enum { UNKNOWN, INITIALISING, INIT_WAIT, INITIALISED, CONNECTED, CLOSING, CLOSED };

#define STATE(state) (1u << (state))

struct gp_messages {
	struct xs_handle *store;
	const char *front; /* of the disk's place */
	char *backend;	   /* its directory */
	struct gio_msg_connection *connection;
	struct gio_pool *pool;
	bool pooled; /* the backend is told of the pool, and maps it */
};

/* ---- xenstore ---------------------------------------------------------------------------------------------------- */

static char *key_read(struct gp_messages *m, const char *dir, const char *key)
{
	char *path, *value;

	if (asprintf(&path, "%s/%s", dir, key) < 0)
		return NULL;
	value = xs_read(m->store, XBT_NULL, path, NULL);
	free(path);
	return value;
}

/* A decimal number in these bounds, of the backend's directory; -EPROTO. */
static int number_read(struct gp_messages *m, const char *key, uint64_t min, uint64_t max, uint64_t *value)
{
	char *text = key_read(m, m->backend, key);
	bool digits = text && *text && !text[strspn(text, "0123456789")];

	errno = 0;
	*value = digits ? strtoull(text, NULL, 10) : 0;
	free(text);
	return digits && !errno && *value >= min && *value <= max ? 0 : -EPROTO;
}

/* Into our directory. `transaction` may be XBT_NULL. */
__attribute__((format(printf, 4, 5))) static bool key_write(struct gp_messages *m, xs_transaction_t transaction,
							    const char *key, const char *format, ...)
{
	char *path = NULL, value[64];
	bool written = false;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	if (length >= 0 && length < (int)sizeof(value) && asprintf(&path, "%s/%s", m->front, key) >= 0) {
		written = xs_write(m->store, transaction, path, value, (unsigned)length);
		free(path);
	}
	return written;
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

static int state_write(struct gp_messages *m, unsigned state)
{
	return key_write(m, XBT_NULL, "state", "%u", state) ? 0 : -EIO;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until the backend is in one of the states `wanted`; -EPROTO: it came into one of `wrong`. */
static int state_wait(struct gp_messages *m, unsigned wanted, unsigned wrong, unsigned wait_ms)
{
	int64_t end = now_ms() + wait_ms;

	for (;;) {
		uint64_t state;
		int64_t left;
		int err;

		if (number_read(m, "state", UNKNOWN, CLOSED, &state))
			state = UNKNOWN;
		if (wanted & STATE(state))
			return 0;
		if (wrong & STATE(state))
			return -EPROTO;
		left = end - now_ms();
		if (left <= 0)
			return -ETIMEDOUT; /* a state that keeps changing does not prolong the wait */
		err = gm_guest_store_wait(m->store, (int)left);
		if (err)
			return err;
	}
}

/* ---- the offer --------------------------------------------------------------------------------------------------- */

/* Whether our draft is one of those that spaces part in the offer. */
static bool draft_offered(struct gp_messages *m)
{
	char *drafts = key_read(m, m->backend, GIO_XENBUS_KEY_DRAFT), *rest = NULL;
	bool found = false;

	for (char *draft = drafts ? strtok_r(drafts, " ", &rest) : NULL; draft; draft = strtok_r(NULL, " ", &rest))
		found |= !strcmp(draft, GIO_MSG_DRAFT);
	free(drafts);
	return found;
}

/* How many ports for queues there may be, and how many pages of a pool. */
static int offer_read(struct gp_messages *m, uint64_t *ports, uint64_t *pool_max)
{
	uint64_t unused;
	int err;

	if (!draft_offered(m))
		return -EOPNOTSUPP;
	err = number_read(m, GIO_XENBUS_KEY_VERSION, GIO_XENBUS_VERSION, GIO_XENBUS_VERSION_MSG, &unused);
	if (!err)
		err = number_read(m, GIO_XENBUS_KEY_REVISION, 1, 1, &unused);
	if (!err)
		err = number_read(m, GIO_XENBUS_KEY_MAX_SIZE, GIO_MSG_MAX, GIO_MSG_MAX, &unused);
	if (!err)
		err = number_read(m, GIO_XENBUS_KEY_BUS_FEATURES, 0, 0, &unused);
	if (!err)
		err = number_read(m, GIO_XENBUS_KEY_MAX_CHANNELS, 1, GIO_MSG_CHANNELS_MAX, ports);
	return err ? err : number_read(m, GIO_XENBUS_KEY_POOL_MAX, 0, UINT32_MAX, pool_max);
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* Make what the answer names. */
static int lend(struct gp_messages *m, const struct gp_messages_config *config, unsigned ports)
{
	const struct gio_pool_config pool = {.os = config->os,
					     .grants = config->grants,
					     .backend = config->place->backend,
					     .read_pages = POOL_PAGES,
					     .write_pages = POOL_PAGES,
					     .shares = config->queues};
	int err = gio_pool_open(&m->pool, &pool);

	if (!err)
		err = gio_msg_connection_open(&m->connection, config->os, config->grants, config->place->backend,
					      ports);
	if (!err && config->timeout_ms)
		gio_msg_connection_patience(m->connection, config->timeout_ms);
	return err;
}

static void take_back(struct gp_messages *m)
{
	gio_msg_connection_close(m->connection);
	gio_pool_close(m->pool);
}

static bool pool_write(struct gp_messages *m, xs_transaction_t transaction)
{
	struct gio_pool_run runs[GIO_POOL_RUNS];
	unsigned count = m->pooled ? gio_pool_runs(m->pool, runs) : 0;
	bool written = key_write(m, transaction, GIO_XENBUS_KEY_DMA, "%s",
				 count ? GIO_XENBUS_DMA_POOL : GIO_XENBUS_DMA_GRANT) &&
		       key_write(m, transaction, GIO_XENBUS_KEY_POOL_RUNS, "%u", count);

	for (unsigned i = 0; i < count && written; i++) {
		char key[24];

		snprintf(key, sizeof(key), GIO_XENBUS_KEY_POOL_RUN, i);
		written = key_write(m, transaction, key, "%u:%u:%c", runs[i].first, runs[i].count,
				    runs[i].readonly ? 'r' : 'w');
	}
	return written;
}

static bool pages_write(struct gp_messages *m, xs_transaction_t transaction)
{
	const struct gio_msg_answer *answer = gio_msg_connection_answer(m->connection);
	bool written = key_write(m, transaction, GIO_XENBUS_KEY_DRIVER_PAGE, "%u", answer->driver_page) &&
		       key_write(m, transaction, GIO_XENBUS_KEY_DEVICE_PAGE, "%u", answer->device_page) &&
		       key_write(m, transaction, GIO_XENBUS_KEY_PORT, "%u", answer->port) &&
		       key_write(m, transaction, GIO_XENBUS_KEY_CHANNELS, "%u", answer->ports);

	for (unsigned i = 0; i < answer->ports && written; i++) {
		char key[32];

		snprintf(key, sizeof(key), GIO_XENBUS_KEY_QUEUE_PORT, i);
		written = key_write(m, transaction, key, "%u", answer->queue_port[i]);
	}
	return written;
}

static bool answer_keys_write(struct gp_messages *m, xs_transaction_t transaction)
{
	uint64_t connection;

	return getrandom(&connection, sizeof(connection), 0) == (ssize_t)sizeof(connection) &&
	       key_write(m, transaction, GIO_XENBUS_KEY_VERSION, "%u", GIO_XENBUS_VERSION_MSG) &&
	       key_write(m, transaction, GIO_XENBUS_KEY_TRANSPORT, "%s", GIO_XENBUS_TRANSPORT_MSG) &&
	       key_write(m, transaction, GIO_XENBUS_KEY_DRAFT, "%s", GIO_MSG_DRAFT) &&
	       key_write(m, transaction, GIO_XENBUS_KEY_CONNECTION, "%016" PRIx64, connection) &&
	       pages_write(m, transaction) && pool_write(m, transaction);
}

/* All at once; the state follows it. */
static int answer_write(struct gp_messages *m)
{
	for (unsigned i = 0; i < TRIES; i++) {
		xs_transaction_t transaction = xs_transaction_start(m->store);
		bool written = transaction != XBT_NULL && answer_keys_write(m, transaction);

		if (transaction != XBT_NULL && xs_transaction_end(m->store, transaction, !written) && written)
			return 0;
		if (!written || errno != EAGAIN)
			return -EIO;
	}
	return -EAGAIN;
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

/*
 * Whoever was this guest before may have left the backend connected, or it may be ending: our state 1 brings it to 2,
 * with nothing mapped that is not granted any more.
 */
static int connect(struct gp_messages *m, const struct gp_messages_config *config)
{
	uint64_t ports = 0, pool_max = 0;
	unsigned wanted = config->queues ? config->queues : 1;
	int err = state_write(m, INITIALISING);

	if (!err)
		err = state_wait(m, STATE(INIT_WAIT), 0, config->wait_ms);
	if (!err)
		err = offer_read(m, &ports, &pool_max);
	if (!err)
		err = lend(m, config, ports < wanted ? (unsigned)ports : wanted);
	if (err)
		return err;
	m->pooled = pool_max >= 2 * POOL_PAGES; /* else the backend copies from it, as from any grants */
	err = answer_write(m);
	if (!err)
		err = state_write(m, INITIALISED);
	if (!err)
		err = state_wait(m, STATE(CONNECTED), STATE(CLOSING) | STATE(CLOSED), config->wait_ms);
	return err ? err : state_write(m, CONNECTED);
}

/* The watch is set before the first look at the state, so that no change is missed. */
static int store_begin(struct gp_messages *m, struct gm_guest *guest)
{
	char *path;
	bool watched;

	m->store = gm_guest_store(guest);
	if (!m->store)
		return -EPIPE;
	m->backend = key_read(m, m->front, "backend");
	if (!m->backend)
		return -EPROTO;
	if (asprintf(&path, "%s/state", m->backend) < 0)
		return -ENOMEM;
	watched = xs_watch(m->store, path, "state");
	free(path);
	return watched ? 0 : -EPIPE;
}

int gp_messages_open(struct gp_messages **messages, const struct gp_messages_config *config)
{
	struct gp_messages *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->front = config->place->front;
	err = store_begin(m, config->guest);
	if (!err)
		err = connect(m, config);
	if (err)
		gp_messages_close(m);
	else
		*messages = m;
	return err;
}

void gp_messages_close(struct gp_messages *messages)
{
	if (!messages)
		return;
	if (messages->connection && !state_write(messages, INITIALISING))
		(void)state_wait(messages, STATE(INIT_WAIT) | STATE(CLOSED) | STATE(UNKNOWN), 0, CLOSE_MS);
	take_back(messages);
	if (messages->store)
		xs_close(messages->store);
	free(messages->backend);
	free(messages);
}

struct gio_msg_connection *gp_messages_connection(const struct gp_messages *messages)
{
	return messages->connection;
}

struct gio_pool *gp_messages_pool(const struct gp_messages *messages)
{
	return messages->pool;
}

uint32_t gp_messages_port(const struct gp_messages *messages)
{
	return gio_msg_connection_answer(messages->connection)->port;
}
