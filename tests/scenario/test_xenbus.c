/* SPDX-License-Identifier: MIT */
/*
 * The frontend's side of docs/xenbus.md, against grantiod: a disk without an address of the toolstack's, whose
 * interrupt is an event channel of the guest's; then the same with each key wrong, missing, or changing all the time.
 */
#include "tests/host/host.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <grantio/os.h>
#include <grantio/virtio_blk.h>

#include "model/event.h"
#include "model/guest.h"

#define FRONT	   "device/virtio_disk/51712"
#define FIRST_GREF 8
#define PAGE	   4096u

static const uint16_t guests[] = {1, 0};

/* ---- a frontend ------------------------------------------------------------------------------------------------- */

struct front {
	struct th_host *host;
	struct xs_handle *xs; /* as the guest */
	uint32_t handle;      /* of its event channels */
	int fd;
	unsigned port;
	uint64_t base;
};

/* A disk as xl writes it on x86. */
static void disk_write(struct th_host *host, const char *image)
{
	const struct th_key keys[] = {{"base", "0"}, {"irq", "0"}, {"grant_usage", NULL}, {NULL, NULL}};

	th_disk_write(host, 1, 0, image, keys);
}

static void key_write(struct front *front, const char *key, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), FRONT "/%s", key);
	if (value)
		assert_true(xs_write(front->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	else
		xs_rm(front->xs, XBT_NULL, path); /* it may be missing already */
}

static void port_write(struct front *front, unsigned port)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", port);
	key_write(front, "event-channel", text);
}

static unsigned port_open(struct front *front, uint16_t remote)
{
	int port = gm_event_alloc_unbound(front->host->machine, 1, remote, front->handle);

	assert_true(port > 0);
	return (unsigned)port;
}

static void front_open(struct front *front, struct th_host *host)
{
	*front = (struct front){.host = host, .xs = th_store_connect(host, 1)};
	assert_int_equal(gm_handle_open(host->machine, true, &front->handle, &front->fd), 0);
	front->port = port_open(front, 0);
}

/* The guest's ports are not this process's, whose handles end those of domain 0 only. */
static void front_close(struct front *front)
{
	gm_handle_close(front->host->machine, front->handle);
	close(front->fd);
	xs_close(front->xs);
}

/* Wait for an event at `port`; the next one is then let in. */
static void event_wait(struct front *front, unsigned port)
{
	struct pollfd fd = {.fd = front->fd, .events = POLLIN};
	uint32_t got = 0;

	while (got != port) {
		assert_int_equal(poll(&fd, 1, TH_SECONDS * 1000), 1);
		assert_int_equal(read(front->fd, &got, sizeof(got)), sizeof(got));
		gm_event_unmask(front->host->machine, 1, got);
	}
}

/* What the backend publishes with its state 2. */
static void offer_take(struct front *front)
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

static void answer(struct front *front)
{
	key_write(front, "grantio-version", "1");
	key_write(front, "dma", "grant");
	port_write(front, front->port);
	key_write(front, "state", "3");
}

/* From the backend's offer to state 4 on both sides. */
static void connect(struct front *front)
{
	offer_take(front);
	answer(front);
	th_disk_wait(front->host, 1, 0, 4);
	event_wait(front, front->port); /* it is bound: told once */
	key_write(front, "state", "4");
}

/* ---- a driver, whose interrupt is the port --------------------------------------------------------------------- */

struct driver {
	struct gm_guest *guest;
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_blk *blk;
	uint8_t *page;
};

static void driver_open(struct driver *driver, struct front *front)
{
	struct gio_blk_config config;

	assert_int_equal(gm_guest_open(&driver->guest, front->host->dir, 1), 0);
	assert_int_equal(gio_os_model_open(&driver->os, driver->guest), 0);
	gio_os_model_patience(driver->os, TH_SECONDS * 1000);
	assert_int_equal(gio_grants_init(&driver->grants, driver->os, FIRST_GREF), 0);
	config = (struct gio_blk_config){.os = driver->os, .grants = driver->grants, .base = front->base};
	assert_int_equal(gio_blk_open(&driver->blk, &config), 0);
	driver->page = gio_os_pages_alloc(driver->os, 1);
	assert_non_null(driver->page);
}

static void driver_close(struct driver *driver)
{
	gio_blk_close(driver->blk);
	gio_os_pages_free(driver->os, driver->page, 1);
	assert_int_equal(gio_grants_exit(driver->grants), 0);
	gio_os_model_close(driver->os);
	gm_guest_close(driver->guest);
}

static void request_done(struct gio_blk_req *req)
{
	*(bool *)req->opaque = true;
}

/* One request, for whose end the interrupt is waited. */
static void request(struct driver *driver, struct front *front, enum gio_blk_op op, uint64_t sector)
{
	bool done = false;
	struct gio_sg sg = {.va = driver->page, .len = PAGE};
	struct gio_blk_req req = {
		.op = op, .sector = sector, .sg = &sg, .segments = 1, .done = request_done, .opaque = &done};

	assert_int_equal(gio_blk_submit(driver->blk, 0, &req), 0);
	gio_blk_kick(driver->blk, 0);
	while (!done) {
		event_wait(front, front->port);
		gio_blk_interrupt(driver->blk);
	}
	assert_int_equal(req.result, 0);
}

static void use(struct front *front, unsigned seed)
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

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* The toolstack removes it: 5, the frontend's 6, and the backend's. */
static void removal(struct front *front)
{
	struct th_host *host = front->host;

	th_disk_key(host, 1, 0, "online", "0");
	th_disk_key(host, 1, 0, "state", "5");
	key_write(front, "state", "6");
	th_disk_wait(host, 1, 0, 6);
	th_disk_remove(host, 1, 0);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
}

static void handshake(void **state)
{
	struct th_host *host = *state;
	struct front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	disk_write(host, th_image(host, "a.raw", TH_MIB));
	front_open(&front, host);
	connect(&front);
	use(&front, 1);
	use(&front, 2);
	removal(&front);
	assert_int_equal(th_log_count(host, "<4>"), 0);
	front_close(&front);
	th_grantiod_end(host, guests);
}

/* The module goes and comes: 1, with its old keys; then with another port. */
static void module_comes_and_goes(void **state)
{
	struct th_host *host = *state;
	struct front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	disk_write(host, th_image(host, "a.raw", TH_MIB));
	front_open(&front, host);
	for (unsigned i = 0; i < 5; i++) {
		connect(&front);
		use(&front, i);
		key_write(&front, "state", i % 2 ? "6" : "1");
		if (!(i % 2))
			th_disk_wait(host, 1, 0, 2);
		key_write(&front, "state", "1");
		front.port = port_open(&front, 0);
	}
	connect(&front);
	/* Another port in state 4: it is ready again at once. */
	front.port = port_open(&front, 0);
	port_write(&front, front.port);
	key_write(&front, "state", "4");
	event_wait(&front, front.port);
	use(&front, 9);
	removal(&front);
	front_close(&front);
	th_grantiod_end(host, guests);
}

/* Each key wrong: one line, the backend stays as it is, and takes the right one after. */
static void wrong_answers(void **state)
{
	static const struct {
		const char *key, *value, *line;
	} cases[] = {
		{"grantio-version", "2", "the guest's grantio-version '2': must be 1"},
		{"grantio-version", NULL, "the guest's grantio-version '': must be 1"},
		{"grantio-version", "", "the guest's grantio-version '': must be 1"},
		{"dma", "foreign", "the guest's dma 'foreign': must be grant"},
		{"dma", NULL, "the guest's dma '': must be grant"},
		{"event-channel", NULL, "the guest's event-channel '': must be a port"},
		{"event-channel", "0", "the guest's event-channel '0': must be a port"},
		{"event-channel", "-1", "the guest's event-channel '-1': must be a port"},
		{"event-channel", "131072", "the guest's event-channel '131072': must be a port"},
		{"event-channel", "4294967297", "the guest's event-channel '4294967297': must be a port"},
		{"event-channel", "131071", "the guest's event-channel '131071': cannot bind it"}, /* none of its */
		{"event-channel", "1\n<3>d0/xvda: forged", "the guest's event-channel '1?<3>d0/xvda: forged'"},
		{"state", "9", "the guest's state '9': must be 1 to 8"},
		{"state", "three", "the guest's state 'three': must be 1 to 8"},
		{"state", "", "the guest's state '': must be 1 to 8"},
	};
	struct th_host *host = *state;
	struct front front;
	char *now;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		th_grantiod_start(host, NULL); /* anew: what a guest can make it say is limited */
		th_domain_create(host, 1);
		disk_write(host, th_image(host, "a.raw", TH_MIB));
		front_open(&front, host);
		offer_take(&front);
		key_write(&front, "grantio-version", "1");
		key_write(&front, "dma", "grant");
		port_write(&front, front.port);
		key_write(&front, cases[i].key, cases[i].value);
		if (strcmp(cases[i].key, "state"))
			key_write(&front, "state", "3");
		th_log_wait(host, cases[i].line, 1);
		now = th_disk_read(host, 1, 0, "state");
		assert_string_equal(now, "2");
		free(now);
		key_write(&front, "state", "1");
		connect(&front);
		use(&front, i);
		front_close(&front);
		th_domain_destroy(host, 1);
		th_log_wait(host, "<6>d1/xvda: stopped", i + 1);
		th_grantiod_end(host, guests);
	}
}

/* A port that is another's: left for domain 2, the ioreq server's, one that is bound already. */
static void ports_of_others(void **state)
{
	struct th_host *host = *state;
	struct front front;
	unsigned ports[3];

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	disk_write(host, th_image(host, "a.raw", TH_MIB));
	th_disk_wait(host, 1, 0, 2); /* the ioreq server has its ports */
	front_open(&front, host);
	offer_take(&front);
	ports[0] = port_open(&front, 2);
	ports[1] = 1; /* a vCPU's, made before ours */
	ports[2] = 1022;
	key_write(&front, "grantio-version", "1");
	key_write(&front, "dma", "grant");
	for (unsigned i = 0; i < 3; i++) {
		port_write(&front, ports[i]);
		key_write(&front, "state", "3");
		th_log_wait(host, "cannot bind it", i + 1);
		key_write(&front, "state", "1");
	}
	connect(&front);
	use(&front, 7);
	front_close(&front);
	th_domain_destroy(host, 1);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	th_grantiod_end(host, guests);
}

/* A guest that writes its state all the time, and ports that come and go: another guest's disk goes on, nothing is
 * left. */
static void restless(void **state)
{
	static const char *const states[] = {"3", "4", "1", "6", "5", "9", "3"};
	struct th_host *host = *state;
	const char *good = th_image(host, "b.raw", 4 * TH_MIB);
	struct gp_disk *disk;
	struct front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_domain_create(host, 2);
	th_disk_attach(host, 2, 0, good);
	disk = th_guest_open(host, 2, 0);
	disk_write(host, th_image(host, "a.raw", TH_MIB));
	front_open(&front, host);
	offer_take(&front);
	key_write(&front, "grantio-version", "1");
	key_write(&front, "dma", "grant");
	for (unsigned i = 0; i < 700; i++) {
		port_write(&front, i % 3 ? front.port : i);
		key_write(&front, "state", states[i % (sizeof(states) / sizeof(states[0]))]);
		if (i % 100 == 0)
			th_guest_check(disk, good, 0, 65536, i);
	}
	key_write(&front, "state", "1");
	th_disk_wait(host, 1, 0, 2);
	front.port = port_open(&front, 0);
	connect(&front);
	use(&front, 3);
	th_guest_check(disk, good, 0, 65536, 1000);
	th_guest_close(disk);
	front_close(&front);
	th_domain_destroy(host, 1);
	th_disk_detach(host, 2, 0);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	th_grantiod_end(host, guests);
}

/* grantiod dies under a connected frontend: the next one publishes the same address, and the frontend begins at 1. */
static void grantiod_anew(void **state)
{
	struct th_host *host = *state;
	struct front front;
	uint64_t base;

	th_domain_create(host, 1);
	disk_write(host, th_image(host, "a.raw", TH_MIB));
	front_open(&front, host);
	for (unsigned i = 0; i < 4; i++) {
		th_grantiod_start(host, NULL);
		base = front.base;
		if (i)
			th_log_wait(host, "served before: a driver that uses it must reset it", i);
		key_write(&front, "state", "1");
		connect(&front);
		assert_true(!i || front.base == base);
		use(&front, i);
		if (i % 2)
			th_grantiod_end(host, guests);
		else
			assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
		front.port = port_open(&front, 0);
	}
	front_close(&front);
}

/* As Linux does when it begins anew, after a crash, and finds the device in use: 5, 6 and 1, each to be answered. */
static void kernel_begins_anew(void **state)
{
	struct th_host *host = *state;
	struct front front;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	disk_write(host, th_image(host, "a.raw", TH_MIB));
	front_open(&front, host);
	for (unsigned i = 0; i < 3; i++) {
		connect(&front);
		use(&front, i);
		key_write(&front, "state", "5");
		th_disk_wait(host, 1, 0, 5);
		key_write(&front, "state", "6");
		th_disk_wait(host, 1, 0, 6);
		key_write(&front, "state", "1");
		th_disk_wait(host, 1, 0, 2);
		front.port = port_open(&front, 0);
	}
	key_write(&front, "state", "6"); /* at once, as a frontend that refuses what it is offered */
	th_disk_wait(host, 1, 0, 6);
	key_write(&front, "state", "1");
	connect(&front);
	use(&front, 9);
	removal(&front);
	assert_int_equal(th_log_count(host, "d1/xvda: stopping"), 1);
	front_close(&front);
	th_grantiod_end(host, guests);
}

/* And grantiod begins anew in the middle of that. */
static void both_begin_anew(void **state)
{
	static const char *const steps[] = {"5", "6"};
	char dir[] = "/tmp/gd-xenbus-XXXXXX";
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	struct front front;

	assert_non_null(mkdtemp(dir));
	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	disk_write(host, th_image(host, "a.raw", TH_MIB));
	front_open(&front, host);
	for (unsigned i = 0; i < 2; i++) {
		connect(&front);
		for (unsigned k = 0; k < 2; k++) {
			key_write(&front, "state", steps[k]);
			th_disk_wait(host, 1, 0, 5 + k);
			if (k != i)
				continue;
			assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
			th_grantiod_start(host, arguments);
		}
		key_write(&front, "state", "1");
		th_disk_wait(host, 1, 0, 2);
		front.port = port_open(&front, 0);
	}
	connect(&front);
	use(&front, 9);
	removal(&front);
	front_close(&front);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(handshake, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(module_comes_and_goes, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(wrong_answers, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(ports_of_others, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(restless, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(grantiod_anew, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(kernel_begins_anew, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(both_begin_anew, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
