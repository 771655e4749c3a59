/* SPDX-License-Identifier: MIT */
#include "tests/host/frontend.h"

#include <abi/grant_table.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grantio/os.h>
#include <grantio/virtio_blk.h>

#include "guest/os/model.h"

#define FRONT "device/virtio_disk/51712"
#define PAGE  4096u

/* ---- a frontend ------------------------------------------------------------------------------------------------- */

/* A disk as xl writes it on x86. */
void th_front_disk(struct th_host *host, const char *image)
{
	const struct th_key keys[] = {{"base", "0"}, {"irq", "0"}, {"grant_usage", NULL}, {NULL, NULL}};

	th_disk_write(host, 1, 0, image, keys);
}

void th_front_key(struct th_front *front, const char *key, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), FRONT "/%s", key);
	if (value)
		assert_true(xs_write(front->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	else
		xs_rm(front->xs, XBT_NULL, path); /* it may be missing already */
}

void th_front_port_write(struct th_front *front, unsigned port)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", port);
	th_front_key(front, "event-channel", text);
}

unsigned th_front_port(struct th_front *front, uint16_t remote)
{
	int port = gm_guest_port_open(front->events, remote);

	assert_true(port > 0);
	return (unsigned)port;
}

void th_front_open(struct th_front *front, struct th_host *host)
{
	*front = (struct th_front){.host = host, .xs = th_store_connect(host, 1)};
	assert_int_equal(gm_guest_events_open(&front->events, host->dir, 1), 0);
	front->port = th_front_port(front, 0);
}

void th_front_close(struct th_front *front)
{
	gm_guest_events_close(front->events);
	xs_close(front->xs);
}

/* Wait for an event at `port`; the next one is then let in. */
void th_front_event(struct th_front *front, unsigned port)
{
	struct pollfd fd = {.fd = gm_guest_events_fd(front->events), .events = POLLIN};
	uint32_t got = 0;

	while (got != port) {
		assert_int_equal(poll(&fd, 1, TH_SECONDS * 1000), 1);
		assert_int_equal(read(fd.fd, &got, sizeof(got)), sizeof(got));
		gm_guest_port_unmask(front->events, got);
	}
}

/* What the backend publishes with its state 2. */
void th_front_offer(struct th_front *front)
{
	char *version, *transport, *base;

	th_disk_wait(front->host, 1, 0, 2);
	version = th_disk_read(front->host, 1, 0, "grantio-version");
	transport = th_disk_read(front->host, 1, 0, "transport");
	base = th_disk_read(front->host, 1, 0, "mmio-base");
	assert_string_equal(version, "1");
	assert_string_equal(transport, "mmio");
	assert_non_null(base);
	front->base = strtoull(base, NULL, 10);
	assert_in_range(front->base, 0xfea00000, 0xfebff000);
	assert_int_equal(front->base % 0x1000, 0);
	free(version);
	free(transport);
	free(base);
}

static void answer(struct th_front *front)
{
	th_front_key(front, "grantio-version", "1");
	th_front_key(front, "dma", "grant");
	th_front_port_write(front, front->port);
	th_front_key(front, "state", "3");
}

/* From the backend's offer to state 4 on both sides. */
void th_front_connect(struct th_front *front)
{
	th_front_offer(front);
	answer(front);
	th_disk_wait(front->host, 1, 0, 4);
	th_front_event(front, front->port); /* it is bound: told once */
	th_front_key(front, "state", "4");
}

/* ---- a driver, whose interrupt is the port --------------------------------------------------------------------- */

struct driver {
	struct gm_guest *guest;
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_blk *blk;
	uint8_t *page;
};

static void driver_open(struct driver *driver, struct th_front *front)
{
	struct gio_blk_config config;

	assert_int_equal(gm_guest_open(&driver->guest, front->host->dir, 1), 0);
	assert_int_equal(gio_os_model_open(&driver->os, driver->guest), 0);
	gio_os_model_patience(driver->os, TH_SECONDS * 1000);
	assert_int_equal(gio_grants_open(&driver->grants, driver->os, GIO_GRANT_RESERVED), 0);
	config = (struct gio_blk_config){.os = driver->os, .grants = driver->grants, .base = front->base};
	assert_int_equal(gio_blk_open(&driver->blk, &config), 0);
	driver->page = gio_os_pages_alloc(driver->os, 1);
	assert_non_null(driver->page);
}

static void driver_close(struct driver *driver)
{
	gio_blk_close(driver->blk);
	gio_os_pages_free(driver->os, driver->page, 1);
	assert_int_equal(gio_grants_close(driver->grants), 0);
	gio_os_model_close(driver->os);
	gm_guest_close(driver->guest);
}

static void request_done(struct gio_blk_req *req)
{
	*(bool *)req->opaque = true;
}

/* One request, for whose end the interrupt is waited. */
static void request(struct driver *driver, struct th_front *front, enum gio_blk_op op, uint64_t sector)
{
	bool done = false;
	struct gio_sg sg = {.va = driver->page, .len = PAGE};
	struct gio_blk_req req = {
		.op = op, .sector = sector, .sg = &sg, .segments = 1, .done = request_done, .opaque = &done};

	assert_int_equal(gio_blk_submit(driver->blk, 0, &req), 0);
	gio_blk_kick(driver->blk, 0);
	while (!done) {
		th_front_event(front, front->port);
		gio_blk_interrupt(driver->blk);
	}
	assert_int_equal(req.result, 0);
}

void th_front_use(struct th_front *front, unsigned seed)
{
	struct driver driver;

	driver_open(&driver, front);
	memset(driver.page, (int)seed, PAGE);
	request(&driver, front, GIO_BLK_WRITE, 8);
	memset(driver.page, 0, PAGE);
	request(&driver, front, GIO_BLK_READ, 8);
	for (unsigned i = 0; i < PAGE; i++)
		assert_int_equal(driver.page[i], seed);
	driver_close(&driver);
}
