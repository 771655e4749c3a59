/* SPDX-License-Identifier: MIT */
#include "tests/unit/guest/fake_xen.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <xen/io/xs_wire.h>

#include "guest/os/xen/xen.h"
#include "tests/unit/guest/fake_os.h"

#define KEYS   64u
#define STREAM (1u << 20)

struct fake_xen fake_xen;

static struct {
	char path[128], value[128];
} keys[KEYS];
static uint8_t stream[STREAM], request[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX];
static size_t stream_from, stream_to, request_bytes;

void fake_xen_reset(void)
{
	memset(&fake_xen, 0, sizeof(fake_xen));
	memset(keys, 0, sizeof(keys));
	stream_from = stream_to = request_bytes = 0;
	fake_xen.deliver = STREAM;
}

static void text_set(char *to, size_t size, const char *text)
{
	size_t n = strlen(text);

	assert(n < size);
	memcpy(to, text, n + 1);
}

void fake_xen_key(const char *path, const char *value)
{
	unsigned i = 0;

	while (keys[i].path[0] && strcmp(keys[i].path, path))
		i++;
	assert(i < KEYS);
	text_set(keys[i].path, sizeof(keys[i].path), path);
	text_set(keys[i].value, sizeof(keys[i].value), value);
}

const char *fake_xen_value(const char *path)
{
	for (unsigned i = 0; i < KEYS && keys[i].path[0]; i++)
		if (!strcmp(keys[i].path, path))
			return keys[i].value;
	return NULL;
}

void fake_xen_message(uint32_t type, uint32_t id, const void *payload, uint32_t bytes)
{
	struct xsd_sockmsg header = {.type = type, .req_id = id, .len = bytes};

	assert(stream_to + sizeof(header) + bytes <= STREAM);
	memcpy(stream + stream_to, &header, sizeof(header));
	stream_to += sizeof(header);
	if (bytes <= XENSTORE_PAYLOAD_MAX) {
		memcpy(stream + stream_to, payload, bytes);
		stream_to += bytes;
	}
}

void fake_xen_event(const char *path, const char *token)
{
	char payload[XENSTORE_PAYLOAD_MAX];
	int n = snprintf(payload, sizeof(payload), "%s%c%s", path, 0, token);

	fake_xen_message(XS_WATCH_EVENT, 0, payload, (uint32_t)n + 1);
}

/* ---- xenstored -------------------------------------------------------------------------------------------------- */

static void answer(const struct xsd_sockmsg *header, const char *payload)
{
	const char *value;

	switch (header->type) {
	case XS_READ:
		value = fake_xen_value(payload);
		if (value)
			fake_xen_message(XS_READ, header->req_id, value, (uint32_t)strlen(value));
		else
			fake_xen_message(XS_ERROR, header->req_id, "ENOENT", 7);
		break;
	case XS_WRITE:
		fake_xen_key(payload, payload + strlen(payload) + 1);
		fake_xen_message(XS_WRITE, header->req_id, "OK", 3);
		break;
	case XS_TRANSACTION_START:
		fake_xen_message(XS_TRANSACTION_START, header->req_id, "1", 2);
		break;
	default:
		fake_xen_message(header->type, header->req_id, "OK", 3);
	}
}

static void step(void)
{
	if (fake_xen.step)
		fake_xen.step();
}

int gio_xen_store_send(const void *data, size_t bytes, unsigned ms)
{
	struct xsd_sockmsg header;

	if (fake_xen.deaf) {
		fake_xen.now += ms;
		return -GIO_EAGAIN;
	}
	assert(request_bytes + bytes < sizeof(request));
	memcpy(request + request_bytes, data, bytes);
	request_bytes += bytes;
	memcpy(&header, request, sizeof(header));
	if (request_bytes < sizeof(header) || request_bytes < sizeof(header) + header.len)
		return 0;
	request[request_bytes] = 0; /* the value of XS_WRITE has no end of its own */
	request_bytes = 0;
	if (fake_xen.silent_type != (uint64_t)header.type + 1)
		answer(&header, (const char *)request + sizeof(header));
	step();
	return 0;
}

static size_t there(void)
{
	size_t n = stream_to - stream_from;

	return n < fake_xen.deliver ? n : fake_xen.deliver;
}

int gio_xen_store_receive(void *data, size_t bytes, unsigned ms)
{
	size_t n;

	if (!there())
		step();
	n = there();
	if (!n) {
		fake_xen.now += ms;
		fake_xen.deliver = STREAM;
		return -GIO_EAGAIN;
	}
	n = n < bytes ? n : bytes;
	memcpy(data, stream + stream_from, n);
	stream_from += n;
	fake_xen.deliver -= n;
	if (stream_from == stream_to)
		stream_from = stream_to = 0;
	return (int)n;
}

/* ---- the rest of the system ------------------------------------------------------------------------------------- */

void gio_xen_console_write(const char *text, size_t bytes)
{
	(void)text;
	(void)bytes;
}

uint64_t gio_xen_now_ms(void)
{
	return fake_xen.now;
}

struct gio_os *gio_xen_os(void)
{
	return fake_xen.os;
}

int gio_xen_port_open(gio_domid_t remote)
{
	(void)remote;
	return (int)(5 + fake_xen.ports++);
}

int gio_xen_port_close(uint32_t port)
{
	(void)port;
	fake_xen.ports--;
	return 0;
}

/* Of the guest library's system a port can be looked at by taking its event only. */
static bool note(uint32_t port)
{
	if (fake_xen.os && fake_os_port_remote(fake_xen.os, port) != UINT16_MAX)
		fake_xen.noted[port] |= gio_os_port_wait(fake_xen.os, port, 0);
	return fake_xen.noted[port];
}

bool gio_xen_port_take(uint32_t port)
{
	bool was = note(port);

	fake_xen.noted[port] = false;
	return was;
}

int gio_xen_ports_wait(const uint32_t *ports, unsigned count, unsigned ms)
{
	for (unsigned look = 0; look < 2; look++) {
		for (unsigned i = 0; i < count; i++)
			if (note(ports[i]))
				return 0;
		if (!look)
			step();
	}
	fake_xen.now += ms;
	return -GIO_EAGAIN;
}

int gio_xen_irq_open(unsigned irq)
{
	(void)irq;
	return 0;
}

void gio_xen_irq_close(unsigned irq)
{
	(void)irq;
}

bool gio_xen_irq_take(unsigned irq)
{
	(void)irq;
	return false;
}

int gio_xen_irq_wait(unsigned irq, unsigned ms)
{
	(void)irq;
	fake_xen.now += ms;
	return -GIO_EAGAIN;
}

/* ---- a disk ------------------------------------------------------------------------------------------------------ */

static unsigned steps; /* of a backend that is to go on */

void fake_xen_disk(const char *state)
{
	fake_xen_reset();
	fake_xen_key(FAKE_XEN_FRONT "/backend", FAKE_XEN_BACKEND);
	fake_xen_key(FAKE_XEN_FRONT "/backend-id", "0");
	fake_xen_key(FAKE_XEN_BACKEND "/state", state);
	fake_xen_key(FAKE_XEN_BACKEND "/grantio-version", "1");
	fake_xen_key(FAKE_XEN_BACKEND "/transport", "mmio");
	fake_xen_key(FAKE_XEN_BACKEND "/mmio-base", "4271898624"); /* 0xfea00000 */
	steps = 0;
}

void fake_xen_follow(void)
{
	const char *front = fake_xen_value(FAKE_XEN_FRONT "/state"), *back = fake_xen_value(FAKE_XEN_BACKEND "/state");
	const char *next = front && *front == '1' ? "2" : front && *front == '3' && *back == '2' ? "4" : back;

	if (!strcmp(next, back) || ++steps % 3)
		return;
	fake_xen_key(FAKE_XEN_BACKEND "/state", next);
	fake_xen_event(FAKE_XEN_BACKEND "/state", "backend");
}
