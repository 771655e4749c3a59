/* SPDX-License-Identifier: MIT */
#include "messages.h"

#include "store.h"
#include "xen.h"

#include <abi/virtio_msg.h>
#include <abi/virtio_msg_bus.h>
#include <abi/xenbus.h>

#include <string.h>

/* ---- the offer --------------------------------------------------------------------------------------------------- */

/* Whether `word` is one of those that spaces part in `list`. */
static bool among(const char *list, const char *word)
{
	size_t n = strlen(word), i;

	while (*list) {
		for (i = 0; list[i] && list[i] != ' ';)
			i++;
		if (i == n && !memcmp(list, word, n))
			return true;
		list += i + (list[i] == ' ');
	}
	return false;
}

static int number_offered(const char *backend, const char *key, uint64_t min, uint64_t max, uint64_t *value)
{
	int err = gio_xen_store_read_number(backend, key, value);

	if (err == -GIO_EAGAIN)
		return err;
	return err || *value < min || *value > max ? -GIO_EPROTO : 0;
}

/* A list of drafts that is longer than a path, or not there, has none of ours. */
int gio_xen_messages_offered(struct messages *messages, const char *backend)
{
	char drafts[STORE_PATH_MAX];
	uint64_t unused, pool_max = 0;
	int err = gio_xen_store_read(backend, GIO_XENBUS_KEY_DRAFT, drafts, sizeof(drafts));

	if (err == -GIO_EAGAIN)
		return err;
	if (err < 0 || !among(drafts, GIO_MSG_DRAFT))
		return -GIO_EOPNOTSUPP;
	err = number_offered(backend, GIO_XENBUS_KEY_VERSION, GIO_XENBUS_VERSION, GIO_XENBUS_VERSION_MSG, &unused);
	if (!err)
		err = number_offered(backend, GIO_XENBUS_KEY_REVISION, 1, 1, &unused);
	if (!err)
		err = number_offered(backend, GIO_XENBUS_KEY_MAX_SIZE, GIO_MSG_MAX, GIO_MSG_MAX, &unused);
	if (!err)
		err = number_offered(backend, GIO_XENBUS_KEY_BUS_FEATURES, 0, 0, &unused);
	if (!err)
		err = number_offered(backend, GIO_XENBUS_KEY_MAX_CHANNELS, 1, GIO_MSG_CHANNELS_MAX, &unused);
	if (!err)
		err = number_offered(backend, GIO_XENBUS_KEY_POOL_MAX, 0, UINT32_MAX, &pool_max);
	messages->pool_max = (uint32_t)pool_max;
	return err;
}

/* ---- what is lent ------------------------------------------------------------------------------------------------ */

int gio_xen_messages_open(struct messages *messages, struct gio_grants *grants, gio_domid_t domid)
{
	const struct gio_pool_config config = {.os = gio_xen_os(),
					       .grants = grants,
					       .backend = domid,
					       .read_pages = MESSAGES_POOL_PAGES,
					       .write_pages = MESSAGES_POOL_PAGES};
	int err = gio_pool_open(&messages->pool, &config);

	if (err) {
		messages->pool = NULL;
		return err;
	}
	err = gio_msg_connection_open(&messages->connection, gio_xen_os(), grants, domid, 1);
	if (err) {
		messages->connection = NULL;
		gio_xen_messages_close(messages);
	}
	return err;
}

void gio_xen_messages_close(struct messages *messages)
{
	gio_msg_connection_close(messages->connection);
	gio_pool_close(messages->pool);
	messages->connection = NULL;
	messages->pool = NULL;
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static char *text_put(char *at, const char *text)
{
	size_t n = strlen(text);

	memcpy(at, text, n + 1);
	return at + n;
}

static char *number_put(char *at, uint32_t value)
{
	char digits[11] = "";
	unsigned n = sizeof(digits) - 1;

	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return text_put(at, digits + n);
}

/*
 * Other digits than in any answer before. This guest has no random numbers; a clock that never goes back and a count
 * are as good, since nothing is kept secret by them.
 */
static int connection_answer(uint32_t transaction, const char *dir)
{
	static uint32_t answers;
	uint64_t number = gio_xen_now_ms() << 16 | (++answers & 0xffff);
	char text[17];

	for (unsigned i = 0; i < 16; i++)
		text[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
	text[16] = '\0';
	return gio_xen_store_write(transaction, dir, GIO_XENBUS_KEY_CONNECTION, text);
}

static int pages_answer(const struct messages *messages, uint32_t transaction, const char *dir)
{
	const struct gio_msg_answer *answer = gio_msg_connection_answer(messages->connection);
	int err;

	err = gio_xen_store_write_number(transaction, dir, GIO_XENBUS_KEY_DRIVER_PAGE, answer->driver_page);
	if (!err)
		err = gio_xen_store_write_number(transaction, dir, GIO_XENBUS_KEY_DEVICE_PAGE, answer->device_page);
	if (!err)
		err = gio_xen_store_write_number(transaction, dir, GIO_XENBUS_KEY_PORT, answer->port);
	if (!err)
		err = gio_xen_store_write_number(transaction, dir, GIO_XENBUS_KEY_CHANNELS, answer->ports);
	if (!err)
		err = gio_xen_store_write_number(transaction, dir, "queue-0/event-channel", answer->queue_port[0]);
	return err;
}

/* One run: FIRST:COUNT:r, or w. */
static int run_answer(uint32_t transaction, const char *dir, unsigned index, const struct gio_pool_run *run)
{
	char key[24], value[32];

	number_put(text_put(key, "pool-"), index);
	text_put(number_put(text_put(number_put(value, run->first), ":"), run->count), run->readonly ? ":r" : ":w");
	return gio_xen_store_write(transaction, dir, key, value);
}

/* A backend that is not willing to map all of it is not told of it: it copies, as from any grants. */
static int pool_answer(const struct messages *messages, uint32_t transaction, const char *dir)
{
	struct gio_pool_run runs[GIO_POOL_RUNS];
	unsigned n = gio_pool_runs(messages->pool, runs);
	int err;

	if (messages->pool_max < 2 * MESSAGES_POOL_PAGES)
		n = 0;
	err = gio_xen_store_write(transaction, dir, GIO_XENBUS_KEY_DMA, n ? GIO_XENBUS_DMA_POOL : GIO_XENBUS_DMA_GRANT);
	if (!err)
		err = gio_xen_store_write_number(transaction, dir, GIO_XENBUS_KEY_POOL_RUNS, n);
	for (unsigned i = 0; i < n && !err; i++)
		err = run_answer(transaction, dir, i, &runs[i]);
	return err;
}

int gio_xen_messages_answer(const struct messages *messages, uint32_t transaction, const char *dir)
{
	int err = gio_xen_store_write_number(transaction, dir, GIO_XENBUS_KEY_VERSION, GIO_XENBUS_VERSION_MSG);

	if (!err)
		err = gio_xen_store_write(transaction, dir, GIO_XENBUS_KEY_TRANSPORT, GIO_XENBUS_TRANSPORT_MSG);
	if (!err)
		err = gio_xen_store_write(transaction, dir, GIO_XENBUS_KEY_DRAFT, GIO_MSG_DRAFT);
	if (!err)
		err = connection_answer(transaction, dir);
	if (!err)
		err = pages_answer(messages, transaction, dir);
	return err ? err : pool_answer(messages, transaction, dir);
}
