/* SPDX-License-Identifier: MIT */
#include "store.h"

#include "xen.h"

#include <stdbool.h>
#include <string.h>
#include <xen/io/xs_wire.h>

/*
 * A client of xenstore with one request at a time. Watch events come between the answers, in the same stream: those
 * that come while an answer is awaited are kept until they are asked for.
 */
#define ANSWER_MS 60000u /* xenstored serves everybody, and the machine may be slow */
#define EVENTS	  8u	 /* that came while an answer was waited for; more are dropped */

struct event {
	char path[STORE_PATH_MAX], token[32];
	bool cut; /* one of both was longer */
};

static struct event events[EVENTS];
static unsigned event_first, event_count;
static uint32_t request_id;
static bool torn; /* xenstored took a part of a request: it would read the next one as the rest of that */

/* The message that is being received. A part of one stays here when its time is over, since the rest will follow. */
static struct {
	struct xsd_sockmsg header;
	char payload[XENSTORE_PAYLOAD_MAX];
} incoming;
static uint32_t incoming_bytes; /* of it that are here */

_Static_assert(sizeof(incoming) == sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX, "as it comes by the ring");

/* xenstored's names for what may go wrong (xen/io/xs_wire.h), and their numbers. */
static const struct {
	const char *name;
	int number;
} errors[] = {{"EPERM", 1},   {"ENOENT", 2},  {"EIO", 5},	 {"E2BIG", 7},	  {"EAGAIN", 11}, {"ENOMEM", 12},
	      {"EACCES", 13}, {"EBUSY", 16},  {"EEXIST", 17},	 {"EISDIR", 21},  {"EINVAL", 22}, {"ENOSPC", 28},
	      {"EROFS", 30},  {"ENOSYS", 38}, {"ENOTEMPTY", 39}, {"EISCONN", 106}};

static int error_number(const char *name)
{
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (!strcmp(name, errors[i].name))
			return -errors[i].number;
	return -GIO_EPROTO;
}

/*
 * The next message as a whole, in `incoming` until the next call. -GIO_EAGAIN: it is not complete at `end`. After a
 * length that no message has, nobody can say where the next one begins: -GIO_EPROTO for ever.
 */
static int message_receive(uint64_t end)
{
	for (;;) {
		uint32_t want = sizeof(incoming.header);
		uint64_t now = gio_xen_now_ms();
		int got;

		if (incoming_bytes >= want) {
			if (incoming.header.len > XENSTORE_PAYLOAD_MAX)
				return -GIO_EPROTO;
			want += incoming.header.len;
			if (incoming_bytes == want)
				break;
		}
		got = gio_xen_store_receive((char *)&incoming + incoming_bytes, want - incoming_bytes,
					    now < end ? (unsigned)(end - now) : 0);
		if (got < 0)
			return got;
		incoming_bytes += (uint32_t)got;
	}
	incoming_bytes = 0;
	return 0;
}

/* Take a text with its NUL out of `bytes` at `from`; how many it took. What has no NUL, or no room, is marked. */
static size_t text_take(const char *from, size_t bytes, char *to, size_t size, bool *cut)
{
	size_t n = 0;

	while (n < bytes && from[n])
		n++;
	*cut |= n == bytes || n >= size;
	memcpy(to, from, n < size ? n : size - 1);
	return n < bytes ? n + 1 : n;
}

/* Keep the event that has been received. One that finds no room is dropped. */
static void event_keep(void)
{
	struct event *event = &events[(event_first + event_count) % EVENTS];
	size_t bytes = incoming.header.len, path;

	if (event_count == EVENTS)
		return;
	event_count++;
	memset(event, 0, sizeof(*event));
	path = text_take(incoming.payload, bytes, event->path, sizeof(event->path), &event->cut);
	text_take(incoming.payload + path, bytes - path, event->token, sizeof(event->token), &event->cut);
}

/*
 * Until the answer to the last request; events that come before it are kept. The answer to a request whose time was
 * over belongs to nobody. However much comes, the time has an end.
 */
static int answer_receive(struct xsd_sockmsg *header, char *answer, size_t size)
{
	uint64_t end = gio_xen_now_ms() + ANSWER_MS;

	do {
		int err = message_receive(end);

		if (err)
			return err;
		*header = incoming.header;
		if (header->type == XS_WATCH_EVENT)
			event_keep();
		else if (header->req_id == request_id) {
			memcpy(answer, incoming.payload, header->len < size ? header->len : size);
			return 0;
		}
	} while (gio_xen_now_ms() < end);
	return -GIO_EAGAIN;
}

/*
 * xenstored names an error by a text, which may be longer than the answer that the caller has room for: then the text
 * is read into `error`.
 */
int gio_xen_store_request(uint32_t type, uint32_t transaction, const void *payload, size_t bytes, char *answer,
			  size_t size)
{
	struct xsd_sockmsg header = {type, ++request_id, transaction, (uint32_t)bytes};
	char error[16] = "";
	int err = torn ? -GIO_EIO : gio_xen_store_send(&header, sizeof(header), ANSWER_MS);

	if (!err)
		err = gio_xen_store_send(payload, bytes, ANSWER_MS);
	torn |= !!err;
	if (!err)
		err = answer_receive(&header, size >= sizeof(error) ? answer : error,
				     size >= sizeof(error) ? size : sizeof(error));
	if (err)
		return err;
	if (header.type == XS_ERROR) {
		const char *name = size >= sizeof(error) ? answer : error;

		if (!header.len || header.len > sizeof(error) || name[header.len - 1])
			return -GIO_EPROTO;
		return error_number(name);
	}
	if (header.type != type)
		return -GIO_EPROTO;
	if (size && size < sizeof(error))
		memcpy(answer, error, size);
	return (int)header.len;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* Append `text` without its NUL; `at` SIZE_MAX: it did not fit. */
static size_t append(char *out, size_t size, size_t at, const char *text)
{
	size_t n = strlen(text);

	if (at > size || n >= size - at)
		return SIZE_MAX;
	memcpy(out + at, text, n);
	out[at + n] = '\0';
	return at + n;
}

/* `dir`/`key`, or `dir` alone. */
static size_t path_make(char *out, size_t size, const char *dir, const char *key)
{
	size_t at = append(out, size, 0, dir);

	if (!key || at == SIZE_MAX)
		return at;
	at = append(out, size, at, "/");
	return at == SIZE_MAX ? at : append(out, size, at, key);
}

int gio_xen_store_read(const char *dir, const char *key, char *value, size_t size)
{
	char path[STORE_PATH_MAX], answer[STORE_PATH_MAX];
	size_t n = path_make(path, sizeof(path), dir, key);
	int length;

	if (n == SIZE_MAX)
		return -GIO_EINVAL;
	length = gio_xen_store_request(XS_READ, STORE_NO_TRANSACTION, path, n + 1, answer, sizeof(answer));
	if (length < 0)
		return length;
	if ((size_t)length >= size || (size_t)length >= sizeof(answer))
		return -GIO_ERANGE;
	memcpy(value, answer, (size_t)length);
	value[length] = '\0';
	return length;
}

int gio_xen_store_read_number(const char *dir, const char *key, uint64_t *value)
{
	char text[24];
	int length = gio_xen_store_read(dir, key, text, sizeof(text));

	if (length < 0)
		return length;
	*value = 0;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9' || *value > (UINT64_MAX - 9) / 10)
			return -GIO_EPROTO;
		*value = *value * 10 + (uint64_t)(*c - '0');
	}
	return length ? 0 : -GIO_EPROTO;
}

int gio_xen_store_write(uint32_t transaction, const char *dir, const char *key, const char *value)
{
	char payload[2 * STORE_PATH_MAX];
	size_t path = path_make(payload, STORE_PATH_MAX, dir, key), end;
	int length;

	if (path == SIZE_MAX)
		return -GIO_EINVAL;
	end = append(payload, sizeof(payload), path + 1, value); /* the value has no NUL of its own on the wire */
	if (end == SIZE_MAX)
		return -GIO_EINVAL;
	length = gio_xen_store_request(XS_WRITE, transaction, payload, end, NULL, 0);
	return length < 0 ? length : 0;
}

int gio_xen_store_write_number(uint32_t transaction, const char *dir, const char *key, unsigned value)
{
	char text[12];
	unsigned at = sizeof(text) - 1;

	text[at] = '\0';
	do {
		text[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return gio_xen_store_write(transaction, dir, key, text + at);
}

static int request_text(uint32_t type, uint32_t transaction, const char *text, char *answer, size_t size)
{
	return gio_xen_store_request(type, transaction, text, strlen(text) + 1, answer, size);
}

int gio_xen_store_remove(const char *path)
{
	int length = request_text(XS_RM, STORE_NO_TRANSACTION, path, NULL, 0);

	return length < 0 ? length : 0;
}

int gio_xen_store_begin(uint32_t *transaction)
{
	char id[16] = "";
	int length = request_text(XS_TRANSACTION_START, STORE_NO_TRANSACTION, "", id, sizeof(id));

	if (length < 0)
		return length;
	*transaction = 0;
	for (unsigned i = 0; i < sizeof(id) && id[i] >= '0' && id[i] <= '9'; i++)
		*transaction = *transaction * 10 + (uint32_t)(id[i] - '0');
	return *transaction ? 0 : -GIO_EPROTO;
}

int gio_xen_store_end(uint32_t transaction, int commit)
{
	int length = request_text(XS_TRANSACTION_END, transaction, commit ? "T" : "F", NULL, 0);

	return length < 0 ? length : 0;
}

/* ---- watches ---------------------------------------------------------------------------------------------------- */

/* A path and a token, each with its NUL: so the wire protocol wants it for both requests. */
static int watch(uint32_t type, const char *path, const char *token)
{
	char payload[2 * STORE_PATH_MAX];
	size_t at = append(payload, STORE_PATH_MAX, 0, path);
	int length;

	if (at != SIZE_MAX)
		at = append(payload, sizeof(payload), at + 1, token);
	if (at == SIZE_MAX)
		return -GIO_EINVAL;
	length = gio_xen_store_request(type, STORE_NO_TRANSACTION, payload, at + 1, NULL, 0);
	return length < 0 ? length : 0;
}

int gio_xen_store_watch(const char *path, const char *token)
{
	return watch(XS_WATCH, path, token);
}

/* The watch's path, or one below it. A path that was cut may be either. */
static bool event_is(const struct event *event, const char *path, const char *token)
{
	size_t n = strlen(path);

	if (strcmp(event->token, token) || n >= sizeof(event->path))
		return false;
	return event->cut || (!memcmp(event->path, path, n) && (!event->path[n] || event->path[n] == '/'));
}

/* Nothing of a watch comes behind the answer that it has ended: what came before is kept here, and is forgotten. */
int gio_xen_store_unwatch(const char *path, const char *token)
{
	int err = watch(XS_UNWATCH, path, token);
	unsigned kept = 0;

	for (unsigned i = 0; i < event_count; i++) {
		struct event *event = &events[(event_first + i) % EVENTS];
		struct event *to = &events[(event_first + kept) % EVENTS];

		if (event_is(event, path, token))
			continue;
		if (to != event)
			*to = *event;
		kept++;
	}
	event_count = kept;
	return err;
}

int gio_xen_store_event(char *path, size_t path_size, char *token, size_t token_size, unsigned ms)
{
	uint64_t end = gio_xen_now_ms() + ms;
	const struct event *event = &events[event_first];

	while (!event_count) {
		int err = message_receive(end);

		if (err)
			return err;
		if (incoming.header.type == XS_WATCH_EVENT)
			event_keep(); /* anything else is an answer that came too late */
	}
	event_first = (event_first + 1) % EVENTS;
	event_count--;
	if (event->cut || append(path, path_size, 0, event->path) == SIZE_MAX ||
	    append(token, token_size, 0, event->token) == SIZE_MAX)
		return -GIO_ERANGE;
	return 0;
}
