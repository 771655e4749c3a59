/* SPDX-License-Identifier: MIT */
/*
 * The frontend's side of version 2 of docs/xenbus.md, against grantiod: a disk that is driven by messages. The test
 * writes each key and each state, and the guest library has the driver.
 */
#include "tests/host/frontend.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <abi/grant_table.h>
#include <abi/xenbus.h>
#include <grantio/os.h>
#include <grantio/virtio_blk.h>
#include <grantio/virtio_msg.h>

#include "guest/os/model.h"
#include "guest/virtio/msg_connection.h"

#define PAGE	    4096u
#define PATIENCE_MS 5000u

static const uint16_t guests[] = {1, 0};

/* The guest, and its connection. */
struct driver {
	struct th_front front;
	struct gm_guest *guest;
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_msg_connection *connection;
	struct gio_blk *blk;
	uint8_t *page;
	uint16_t backend; /* the domain that serves the disk */
	unsigned answers;
	unsigned patience; /* milliseconds for which an answer is waited for, where a test lets none come; 0: usual */
};

static void guest_open(struct driver *d, struct th_host *host)
{
	*d = (struct driver){0};
	th_front_open(&d->front, host);
	assert_int_equal(gm_guest_open(&d->guest, host->dir, 1), 0);
	assert_int_equal(gio_os_model_open(&d->os, d->guest), 0);
	gio_os_model_patience(d->os, TH_SECONDS * 1000);
	assert_int_equal(gio_grants_open(&d->grants, d->os, GIO_GRANT_RESERVED), 0);
	d->page = gio_os_pages_alloc(d->os, 1);
	assert_non_null(d->page);
}

static void guest_close(struct driver *d)
{
	gio_os_pages_free(d->os, d->page, 1);
	assert_int_equal(gio_grants_close(d->grants), 0); /* nothing that the backend still maps */
	gio_os_model_close(d->os);
	gm_guest_close(d->guest);
	th_front_close(&d->front);
}

static void key_number(struct driver *d, const char *key, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	th_front_key(&d->front, key, text);
}

/* All keys of an answer, but the state. */
static void answer_write(struct driver *d)
{
	const struct gio_msg_answer *answer = gio_msg_connection_answer(d->connection);
	char name[32], connection[17];

	snprintf(connection, sizeof(connection), "%016x", 0xabc0u + ++d->answers);
	th_front_key(&d->front, "grantio-version", "2");
	th_front_key(&d->front, "transport", GIO_XENBUS_TRANSPORT_MSG);
	th_front_key(&d->front, GIO_XENBUS_KEY_DRAFT, GIO_MSG_DRAFT);
	th_front_key(&d->front, "connection", connection);
	th_front_key(&d->front, "dma", "grant");
	key_number(d, "driver-page-ref", answer->driver_page);
	key_number(d, "device-page-ref", answer->device_page);
	key_number(d, "event-channel", answer->port);
	key_number(d, "queue-channels", answer->ports);
	for (unsigned i = 0; i < answer->ports; i++) {
		snprintf(name, sizeof(name), GIO_XENBUS_KEY_QUEUE_PORT, i);
		key_number(d, name, answer->queue_port[i]);
	}
}

static void connection_make(struct driver *d)
{
	assert_int_equal(gio_msg_connection_open(&d->connection, d->os, d->grants, 0, 1), 0);
	if (d->patience)
		gio_msg_connection_patience(d->connection, d->patience);
	answer_write(d);
}

/* From the backend's offer to state 4 on both sides. */
static void connect(struct driver *d)
{
	th_disk_wait(d->front.host, 1, 0, 2);
	connection_make(d);
	th_front_key(&d->front, "state", "3");
	th_disk_wait(d->front.host, 1, 0, 4);
	th_front_key(&d->front, "state", "4");
}

static void blk_open(struct driver *d)
{
	struct gio_blk_config config = {
		.os = d->os, .grants = d->grants, .backend = d->backend, .connection = d->connection};

	assert_int_equal(gio_blk_open(&d->blk, &config), 0);
}

static void request_done(struct gio_blk_req *req)
{
	*(bool *)req->opaque = true;
}

static void request(struct driver *d, enum gio_blk_op op, uint64_t sector)
{
	int64_t end = th_now_ms() + TH_SECONDS * 1000;
	bool done = false;
	struct gio_sg sg = {.va = d->page, .len = PAGE};
	struct gio_blk_req req = {
		.op = op, .sector = sector, .sg = &sg, .segments = 1, .done = request_done, .opaque = &done};

	assert_int_equal(gio_blk_submit(d->blk, 0, &req), 0);
	gio_blk_kick(d->blk, 0);
	while (!done) {
		assert_true(th_now_ms() < end);
		gio_blk_reap(d->blk, 0);
		sched_yield();
	}
	assert_int_equal(req.result, 0);
}

static void use(struct driver *d, unsigned seed)
{
	memset(d->page, (int)seed, PAGE);
	request(d, GIO_BLK_WRITE, 8);
	memset(d->page, 0, PAGE);
	request(d, GIO_BLK_READ, 8);
	for (unsigned i = 0; i < PAGE; i++)
		assert_int_equal(d->page[i], seed);
}

/* The guest lets go, by a state: when the backend says 2, nothing of its is mapped. */
static void disconnect(struct driver *d, const char *state, unsigned answer)
{
	th_front_key(&d->front, "state", state);
	th_disk_wait(d->front.host, 1, 0, answer);
	gio_msg_connection_close(d->connection);
	d->connection = NULL;
}

static void removal(struct driver *d)
{
	struct th_host *host = d->front.host;

	th_disk_key(host, 1, 0, "online", "0");
	th_disk_key(host, 1, 0, "state", "5");
	th_front_key(&d->front, "state", "6");
	th_disk_wait(host, 1, 0, 6);
	if (d->connection)
		gio_msg_connection_close(d->connection);
	th_disk_remove(host, 1, 0);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
}

static void begin(struct driver *d, struct th_host *host, const char *const *arguments)
{
	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	th_front_disk(host, th_image(host, "a.raw", TH_MIB));
	guest_open(d, host);
}

static void end(struct driver *d, struct th_host *host)
{
	removal(d);
	guest_close(d);
	th_grantiod_end(host, guests);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void offers(struct th_host *host)
{
	static const char *const keys[][2] = {{"grantio-version", "1"},	       {"virtio-msg/draft", GIO_MSG_DRAFT},
					      {"virtio-msg/revision", "1"},    {"virtio-msg/max-size", "264"},
					      {"virtio-msg/features", "0"},    {"virtio-msg/max-queue-channels", "1"},
					      {"virtio-msg/pool-max", "16384"}};

	th_disk_wait(host, 1, 0, 2);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char *value = th_disk_read(host, 1, 0, keys[i][0]);

		assert_non_null(value);
		assert_string_equal(value, keys[i][1]);
		free(value);
	}
}

static void handshake(void **state)
{
	const char *const arguments[] = {"--queues", "1", NULL};
	struct th_host *host = *state;
	struct driver d;

	begin(&d, host, arguments);
	offers(host);
	connect(&d);
	for (unsigned i = 1; i < 4; i++) { /* drivers come and go on one connection */
		blk_open(&d);
		use(&d, i);
		gio_blk_close(d.blk);
	}
	assert_int_equal(th_log_count(host, "<4>"), 0);
	assert_int_equal(th_log_count(host, "driven by messages"), 1);
	end(&d, host);
}

/* The module goes and comes by state 1, or by 5 and 6; and uses the registers in between. */
static void comes_and_goes(void **state)
{
	struct th_host *host = *state;
	struct driver d;

	begin(&d, host, NULL);
	for (unsigned i = 0; i < 3; i++) {
		connect(&d);
		blk_open(&d);
		use(&d, i);
		gio_blk_close(d.blk);
		if (i == 1) {
			th_front_key(&d.front, "state", "5");
			th_disk_wait(host, 1, 0, 5);
			disconnect(&d, "6", 6);
			th_front_key(&d.front, "state", "1");
			th_disk_wait(host, 1, 0, 2);
		} else {
			disconnect(&d, "1", 2);
		}
	}
	guest_close(&d);
	th_front_open(&d.front, host);
	th_front_connect(&d.front); /* version 1 */
	th_front_use(&d.front, 7);
	th_front_key(&d.front, "state", "1");
	th_disk_wait(host, 1, 0, 2);
	th_front_close(&d.front);
	guest_open(&d, host);
	connect(&d);
	blk_open(&d);
	use(&d, 9);
	gio_blk_close(d.blk);
	end(&d, host);
}

/* One key wrong: one line, the backend stays in 2, and takes the next answer that is right. */
static void wrong_answers(void **state)
{
	static const char *const cases[][3] = {
		{"transport", "mmio", "the guest's transport 'mmio': must be virtio-msg"},
		{"virtio-msg/draft", "vmsg-0", "the guest's virtio-msg/draft 'vmsg-0': must be " GIO_MSG_DRAFT},
		{"driver-page-ref", "4000000", "the guest's driver-page-ref '4000000': cannot map it for reading"},
		{"device-page-ref", "4000000", "the guest's device-page-ref '4000000': cannot map it for writing"},
		{"event-channel", "131071", "the guest's event-channel '131071': cannot bind it"},
		{"queue-0/event-channel", "131071", "the guest's queue-0/event-channel '131071': cannot bind it"},
		{"connection", "7", "the guest's connection '7': must be 16 hexadecimal digits"},
	};
	struct th_host *host = *state;
	struct driver d;
	char *now;

	begin(&d, host, NULL);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		th_disk_wait(host, 1, 0, 2);
		connection_make(&d);
		th_front_key(&d.front, cases[i][0], cases[i][1]);
		th_front_key(&d.front, "state", "3");
		th_log_wait(host, cases[i][2], 1);
		now = th_disk_read(host, 1, 0, "state");
		assert_string_equal(now, "2");
		free(now);
		disconnect(&d, "1", 2);
	}
	connect(&d);
	blk_open(&d);
	use(&d, 1);
	gio_blk_close(d.blk);
	end(&d, host);
}

/* A driver that breaks the rules of the pages: 2, with nothing mapped any more; the next connection works. */
static void violation(void **state)
{
	struct th_host *host = *state;
	struct driver d;

	begin(&d, host, NULL);
	d.patience = PATIENCE_MS;
	for (unsigned i = 0; i < 2; i++) {
		connect(&d);
		blk_open(&d);
		use(&d, i);
		__atomic_store_n(&((struct gio_msg_page *)d.connection->pages)->prod, 0x1000, __ATOMIC_RELEASE);
		gio_os_port_send(d.os, d.connection->answer.port);
		th_log_wait(host, "breaks the rules of the message pages", i + 1);
		th_disk_wait(host, 1, 0, 2);
		gio_blk_close(d.blk);
		disconnect(&d, "1", 2);
	}
	connect(&d); /* after a pause of a second */
	blk_open(&d);
	use(&d, 9);
	gio_blk_close(d.blk);
	end(&d, host);
}

/* grantiod is killed under a driver: the next one goes on, and the driver notices nothing. */
static void killed(void **state)
{
	const char *dir = th_state_dir(*state);
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	struct driver d;

	begin(&d, host, arguments);
	connect(&d);
	blk_open(&d);
	for (unsigned i = 1; i < 4; i++) {
		use(&d, i);
		assert_true(WIFSIGNALED(th_grantiod_stop(host, i == 2 ? SIGTERM : SIGKILL)) || i == 2);
		th_grantiod_start(host, arguments);
		use(&d, 10 + i);
		th_log_wait(host, "state 4: going on where a former grantiod ended", i);
	}
	gio_blk_close(d.blk);
	blk_open(&d);
	use(&d, 99);
	gio_blk_close(d.blk);
	end(&d, host);
	assert_int_equal(rmdir(dir), 0);
}

/* Without a ledger, or with another answer than the ledger has, the frontend begins anew. */
static void begins_anew_after_a_kill(void **state)
{
	const char *dir = th_state_dir(*state);
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	struct driver d;

	begin(&d, host, arguments);
	d.patience = PATIENCE_MS;
	for (unsigned i = 0; i < 2; i++) {
		connect(&d);
		blk_open(&d);
		use(&d, i);
		assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
		if (i)
			th_front_key(&d.front, "connection", "0123456789abcdef");
		th_grantiod_start(host, i ? arguments : NULL);
		th_disk_wait(host, 1, 0, 2);
		if (!i) {
			assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
			th_grantiod_start(host, arguments);
			th_disk_wait(host, 1, 0, 2);
		}
		gio_blk_close(d.blk);
		disconnect(&d, "1", 2);
	}
	th_log_wait(host, "its driver has to begin anew: its ledger does not fit", 1);
	connect(&d);
	blk_open(&d);
	use(&d, 9);
	gio_blk_close(d.blk);
	end(&d, host);
	assert_int_equal(rmdir(dir), 0);
}

/*
 * A disk of the device tree, whose former process was killed between letting go of its guest and writing state 2: the
 * guest waits in 1 for that, and must not be left with a state 4 that nobody means.
 */
static void let_go_and_killed(void **state)
{
	const char *dir = th_state_dir(*state);
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	struct driver d;

	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, th_image(host, "a.raw", TH_MIB), NULL);
	guest_open(&d, host);
	connect(&d);
	blk_open(&d);
	use(&d, 1);
	gio_blk_close(d.blk);
	disconnect(&d, "1", 2);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	th_disk_key(host, 1, 0, "state", "4");
	th_grantiod_start(host, arguments);
	connect(&d);
	blk_open(&d);
	use(&d, 2);
	gio_blk_close(d.blk);
	end(&d, host);
	assert_int_equal(rmdir(dir), 0);
}

/*
 * A guest that writes its state and new answers all the time: another guest's disk goes on, and nothing is left.
 */
static void restless(void **state)
{
	static const char *const states[] = {"3", "4", "1", "3", "6", "5", "3", "9", "3"};
	struct th_host *host = *state;
	const char *good = th_image(host, "b.raw", 4 * TH_MIB);
	struct gp_disk *disk;
	struct driver d;

	begin(&d, host, NULL);
	th_domain_create(host, 2);
	th_disk_attach(host, 2, 0, good);
	disk = th_guest_open(host, 2, 0);
	th_disk_wait(host, 1, 0, 2);
	connection_make(&d);
	for (unsigned i = 0; i < 450; i++) {
		if (i % 3 == 0)
			answer_write(&d); /* another connection */
		th_front_key(&d.front, "state", states[i % (sizeof(states) / sizeof(states[0]))]);
		if (i % 50 == 0)
			th_guest_check(disk, good, 0, 65536, i);
	}
	disconnect(&d, "1", 2);
	connect(&d); /* after a pause of up to 30 seconds */
	blk_open(&d);
	use(&d, 3);
	th_guest_check(disk, good, 0, 65536, 1000);
	th_guest_close(disk);
	gio_blk_close(d.blk);
	th_disk_detach(host, 2, 0);
	end(&d, host);
}

/* ---- a driver domain without any right over the guest ------------------------------------------------------------ */

#define DRIVER_DIR "/local/domain/3/backend/virtio_disk/1/51712"
#define GUEST_DIR  "/local/domain/1/device/virtio_disk/51712"

static void node(struct th_host *host, const char *dir, const char *key, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	assert_true(xs_write(host->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

static void directory(struct th_host *host, const char *dir, unsigned owner, unsigned reader)
{
	struct xs_permissions perms[] = {{owner, XS_PERM_NONE}, {reader, XS_PERM_READ}};

	assert_true(xs_mkdir(host->xs, XBT_NULL, dir));
	assert_true(xs_set_permissions(host->xs, XBT_NULL, dir, perms, 2));
}

/* The disk as xl writes it on x86, with domain 3 as its backend. */
static void driver_domain_disk(struct th_host *host, const char *image)
{
	static const char *const keys[][2] = {
		{"frontend", GUEST_DIR}, {"frontend-id", "1"},	{"online", "1"},
		{"dev", "xvda"},	 {"mode", "w"},		{"device-type", "disk"},
		{"base", "0"},		 {"irq", "0"},		{"specification", "virtio"},
		{"transport", "mmio"},	 {"type", "standalone"}};

	directory(host, GUEST_DIR, 1, 3);
	node(host, GUEST_DIR, "backend", DRIVER_DIR);
	node(host, GUEST_DIR, "backend-id", "3");
	node(host, GUEST_DIR, "state", "1");
	directory(host, DRIVER_DIR, 3, 1);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		node(host, DRIVER_DIR, keys[i][0], keys[i][1]);
	node(host, DRIVER_DIR, "params", image);
	node(host, DRIVER_DIR, "state", "1");
}

/* Start grantiod as a program of domain 3. */
static void driver_domain_start(struct th_host *host, const char *const *arguments)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/store.3", host->dir);
	setenv("XENSTORED_PATH", path, 1);
	setenv("GRANTIO_DOMID", "3", 1);
	th_grantiod_start(host, arguments);
	unsetenv("GRANTIO_DOMID");
	snprintf(path, sizeof(path), "%s/store", host->dir);
	setenv("XENSTORED_PATH", path, 1);
}

/* Xen refuses it ioreqs of the guest: there are messages only, and a successor goes on as elsewhere. */
static void no_rights(void **state)
{
	struct xs_permissions readable[] = {{0, XS_PERM_NONE}, {3, XS_PERM_READ}};
	const char *dir = th_state_dir(*state);
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	struct driver d;

	th_domain_create(host, 1);
	th_domain_create(host, 3);
	node(host, "/local/domain/3", "domid", "3"); /* as libxl does */
	assert_true(xs_set_permissions(host->xs, XBT_NULL, "/local/domain/3/domid", readable, 2));
	driver_domain_disk(host, th_image(host, "a.raw", TH_MIB));
	driver_domain_start(host, arguments);
	guest_open(&d, host);
	th_store_wait(host, DRIVER_DIR "/state", "2");
	th_store_wait(host, DRIVER_DIR "/grantio-version", "2");
	assert_null(th_store_read(host, DRIVER_DIR "/mmio-base"));
	assert_null(th_store_read(host, DRIVER_DIR "/grantio-ioreq-server"));
	d.backend = 3;
	assert_int_equal(gio_msg_connection_open(&d.connection, d.os, d.grants, d.backend, 1), 0);
	answer_write(&d);
	th_front_key(&d.front, "state", "3");
	th_store_wait(host, DRIVER_DIR "/state", "4");
	th_front_key(&d.front, "state", "4");
	blk_open(&d);
	use(&d, 1);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	driver_domain_start(host, arguments);
	use(&d, 2);
	/* Its queues go on before the main thread says so; a removal before that would not be one of a disk served. */
	th_log_wait(host, "going on where a former grantiod ended", 1);
	gio_blk_close(d.blk);
	/* As xl does it: the directory goes by grantiod's hand. */
	node(host, DRIVER_DIR, "online", "0");
	node(host, DRIVER_DIR, "state", "5");
	th_front_key(&d.front, "state", "6");
	th_store_wait(host, DRIVER_DIR "/state", "6");
	gio_msg_connection_close(d.connection);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	guest_close(&d);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(dir), 0);
}

/* The guest's directory has gone, as libxl removes it: xenstored then denies its keys to a driver domain. */
static void guest_gone(void **state)
{
	const char *dir = th_state_dir(*state);
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	struct xs_permissions readable[] = {{0, XS_PERM_NONE}, {3, XS_PERM_READ}};

	th_domain_create(host, 1);
	th_domain_create(host, 3);
	node(host, "/local/domain/3", "domid", "3");
	assert_true(xs_set_permissions(host->xs, XBT_NULL, "/local/domain/3/domid", readable, 2));
	driver_domain_disk(host, th_image(host, "a.raw", TH_MIB));
	driver_domain_start(host, arguments);
	th_store_wait(host, DRIVER_DIR "/state", "2");
	assert_true(xs_rm(host->xs, XBT_NULL, GUEST_DIR));
	node(host, DRIVER_DIR, "online", "0");
	node(host, DRIVER_DIR, "state", "5");
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(handshake, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(comes_and_goes, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(wrong_answers, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(violation, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(killed, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(begins_anew_after_a_kill, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(let_go_and_killed, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(restless, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(no_rights, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(guest_gone, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
