/* SPDX-License-Identifier: MIT */
#include "store.h"

#include "xen.h"

#include <string.h>
#include <xen/io/xs_wire.h>

/*
 * A client of xenstore with one request at a time. Watch events come between the answers, in the same stream: those
 * that come while an answer is awaited are kept until they are asked for.
 */
#define ANSWER_MS 60000u /* xenstored serves everybody, and the machine may be slow */
#define EVENTS	  8u	 /* that came while an answer was waited for; more are dropped */
#define EVENT_MAX 256u

struct event {
	char text[EVENT_MAX]; /* path, NUL, token, NUL */
};

static struct event events[EVENTS];
static unsigned event_first, event_count;
static uint32_t request_id;

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

/* Take `bytes` of payload, of which `size` fit. */
static int payload_receive(char *out, size_t size, size_t bytes)
{
	char dropped[32];
	size_t take = bytes < size ? bytes : size;
	int err = gio_xen_store_receive(out, take, ANSWER_MS);

	for (bytes -= take; bytes && !err; bytes -= take) {
		take = bytes < sizeof(dropped) ? bytes : sizeof(dropped);
		err = gio_xen_store_receive(dropped, take, ANSWER_MS);
	}
	return err;
}

/* An event that finds no room is read all the same, since the stream goes on behind it. */
static int event_receive(size_t bytes)
{
	struct event spare, *event = event_count < EVENTS ? &events[(event_first + event_count) % EVENTS] : &spare;

	memset(event, 0, sizeof(*event));
	event_count += event != &spare;
	return payload_receive(event->text, EVENT_MAX - 2, bytes); /* two NULs at the end, whatever came */
}

/* Until the answer to the last request; events that come before it are kept. */
static int answer_receive(struct xsd_sockmsg *header, char *answer, size_t size)
{
	for (;;) {
		int err = gio_xen_store_receive(header, sizeof(*header), ANSWER_MS);

		if (err)
			return err;
		if (header->len > XENSTORE_PAYLOAD_MAX)
			return -GIO_EPROTO;
		if (header->type != XS_WATCH_EVENT && header->req_id == request_id)
			return payload_receive(answer, size, header->len);
		/* The answer to a request whose time was over is taken off the ring, and belongs to nobody. */
		if (header->type != XS_WATCH_EVENT)
			err = payload_receive(answer, 0, header->len);
		else
			err = event_receive(header->len);
		if (err)
			return err;
	}
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
	int err = gio_xen_store_send(&header, sizeof(header), ANSWER_MS);

	if (!err)
		err = gio_xen_store_send(payload, bytes, ANSWER_MS);
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

int gio_xen_store_unwatch(const char *path, const char *token)
{
	return watch(XS_UNWATCH, path, token);
}

int gio_xen_store_event(char *path, size_t path_size, char *token, size_t token_size, unsigned ms)
{
	struct xsd_sockmsg header;
	const char *text;
	int err;

	if (!event_count) {
		err = gio_xen_store_receive(&header, sizeof(header), ms);
		if (err)
			return err;
		if (header.type != XS_WATCH_EVENT || header.len > XENSTORE_PAYLOAD_MAX)
			return -GIO_EPROTO;
		err = event_receive(header.len);
		if (err)
			return err;
	}
	text = events[event_first].text;
	event_first = (event_first + 1) % EVENTS;
	event_count--;
	if (append(path, path_size, 0, text) == SIZE_MAX ||
	    append(token, token_size, 0, text + strlen(text) + 1) == SIZE_MAX)
		return -GIO_ERANGE;
	return 0;
}
