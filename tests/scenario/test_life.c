/* SPDX-License-Identifier: MIT */
/* Guests, directories in xenstore and grantiod end and start again. Nothing of an ended one may be left. */
#include "tests/host/access.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "model/guest.h"

#define BASE  0x2000000u
#define MAGIC 0x74726976u /* virtio 1.2, 4.2.2: the first register */

static const uint16_t guests[] = {1, 2, 3, 0};

/* Ten times: a guest with its driver up is destroyed and comes back under the same number. */
static void reboots(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);

	th_grantiod_start(host, NULL);
	for (unsigned i = 0; i < 10; i++) {
		struct gp_disk *disk;

		th_domain_create(host, 1);
		th_disk_attach(host, 1, 0, image);
		disk = th_guest_open(host, 1, 0);
		th_guest_check(disk, image, 4096 * i, 65536, i);
		th_domain_destroy(host, 1);
		gp_disk_close(disk, NULL); /* the guest's memory goes with its process */
		th_log_wait(host, "<6>d1/xvda: stopped", i + 1);
		th_quiet(host, guests);
	}
	assert_int_equal(th_log_count(host, "<3>"), 0);
	th_grantiod_end(host, guests);
}

/*
 * Removed and written anew, with another image, while grantiod does not look: it finds a new device behind the same
 * directory. (A new domain of the same number cannot be there: the old one's number is taken while we hold its pages.)
 */
static void replaced_unseen(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB), *other = th_image(host, "b.raw", 4 * TH_MIB);
	struct gp_disk *disk;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	th_grantiod_pause(host);
	th_disk_remove(host, 1, 0);
	th_disk_write(host, 1, 0, other, NULL);
	kill(host->grantiod, SIGCONT);
	th_disk_wait(host, 1, 0, 2);
	th_log_wait(host, "<6>d1/xvda: stopping: its directory is a new one", 1);
	disk = th_guest_open(host, 1, 0);
	th_guest_check(disk, other, 0, 4096, 1);
	th_guest_close(disk);
	th_grantiod_end(host, guests);
}

/* The toolstack removes the directory without a word; the guest's other disk goes on. */
static void directory_removed(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB), *other = th_image(host, "b.raw", 4 * TH_MIB);
	struct gp_disk *disk;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	th_disk_attach(host, 1, 1, other);
	disk = th_guest_open(host, 1, 1);
	th_disk_remove(host, 1, 0);
	th_log_wait(host, "<6>d1/xvda: stopping: its directory has gone", 1);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	assert_null(th_disk_read(host, 1, 0, "state")); /* it does not come back by a state that is written */
	th_guest_check(disk, other, 0, 65536, 1);
	th_guest_close(disk);
	th_disk_detach(host, 1, 1);
	th_log_wait(host, "<6>d1/xvdb: stopped", 1);
	th_quiet(host, guests);
	th_grantiod_end(host, guests);
}

/* Defect of the predecessor: abort when the guest rewrites its own `state` node. */
static void guest_rewrites_its_state(void **state)
{
	static const char *const values[] = {"0", "1", "4", "5", "6", "-1", "4294967296", "x", ""};
	static const char node[] = "device/virtio_disk/51712/state";
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	struct xs_handle *guest;
	struct gp_disk *disk;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	disk = th_guest_open(host, 1, 0);
	th_disk_wait(host, 1, 0, 4);
	guest = th_store_connect(host, 1);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_true(xs_write(guest, XBT_NULL, node, values[i], (unsigned)strlen(values[i])));
		th_guest_check(disk, image, 0, 4096, i);
	}
	assert_true(xs_rm(guest, XBT_NULL, "device/virtio_disk/51712"));
	th_guest_check(disk, image, 0, 4096, 99);
	xs_close(guest);
	th_guest_close(disk);
	assert_int_equal(th_log_count(host, "stopping"), 0);
	th_domain_destroy(host, 1);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	th_grantiod_end(host, guests);
}

static void grantiod_restarts(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);

	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	for (unsigned i = 0; i < 3; i++) {
		struct gp_disk *disk;

		th_grantiod_start(host, NULL);
		th_log_wait(host, "<6>d1/xvda: serving", i + 1);
		disk = th_guest_open(host, 1, 0);
		th_guest_check(disk, image, 0, 65536, i);
		th_disk_wait(host, 1, 0, 4);
		th_guest_close(disk);
		th_grantiod_end(host, guests);
		assert_null(th_disk_read(host, 1, 0, "grantio-ioreq-server")); /* might be somebody else's by then */
	}
}

struct request {
	struct gp_disk *disk;
	char data[4096];
	int err;
};

static void *request_run(void *opaque)
{
	struct request *request = opaque;

	request->err = gp_disk_read(request->disk, request->data, 0, sizeof(request->data));
	return NULL;
}

/*
 * grantiod dies under a guest's driver, and a request with it: the next one cannot know which requests were done, so it
 * says that the device needs a reset. The driver fails what it waits for, and can have the disk again.
 */
static void driver_is_told(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	struct request request;
	pthread_t reader;

	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	th_grantiod_start(host, NULL);
	for (unsigned i = 0; i < 3; i++) {
		request.disk = th_guest_open(host, 1, 0);
		th_guest_check(request.disk, image, 0, 65536, i);
		th_disk_wait(host, 1, 0, 4);
		th_grantiod_pause(host);
		assert_int_equal(pthread_create(&reader, NULL, request_run, &request), 0);
		assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
		th_grantiod_start(host, NULL);
		th_log_wait(host, "<5>d1/xvda: state 4: served before: a driver that uses it must reset it", i + 1);
		pthread_join(reader, NULL);
		assert_int_not_equal(request.err, 0);
		assert_int_not_equal(gp_disk_read(request.disk, request.data, 0, sizeof(request.data)), 0);
		th_guest_close(request.disk);
	}
	th_grantiod_end(host, guests);
}

/* After a crash a vCPU waits for an answer: the next grantiod gives it, by the server that the former one had. */
static void grantiod_crashes(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);
	struct gm_stats stats;
	struct gp_disk *disk;
	char wanted[64];

	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, image, NULL);
	th_grantiod_start(host, NULL);
	th_log_wait(host, "<6>d1/xvda: serving", 1);
	for (unsigned i = 0; i < 10; i++) { /* more often than a guest has servers */
		struct th_access access;
		struct gm_guest *guest;

		assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
		assert_int_equal(gm_guest_open(&guest, host->dir, 1), 0);
		th_access_begin(&access, guest, BASE);
		th_grantiod_start(host, NULL);
		assert_int_equal(th_access_end(&access), MAGIC);
		gm_guest_close(guest);
		th_log_wait(host, "<6>d1/xvda: serving", i + 2);
	}
	snprintf(wanted, sizeof(wanted), "taking over ioreq server 0");
	assert_int_equal(th_log_count(host, wanted), 10);
	assert_int_equal(gm_domain_stats(host->machine, 1, &stats), 0);
	assert_int_equal(stats.ioreq_servers, 1);
	disk = th_guest_open(host, 1, 0);
	th_guest_check(disk, image, 0, 65536, 5);
	th_guest_close(disk);
	th_grantiod_end(host, guests);
}

/* Asked to remove it while grantiod was down. */
static void removal_while_down(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	th_grantiod_end(host, guests);
	th_disk_key(host, 1, 0, "online", "0");
	th_disk_key(host, 1, 0, "state", "5");
	th_grantiod_start(host, NULL);
	th_disk_wait(host, 1, 0, 6);
	th_disk_remove(host, 1, 0);
	th_grantiod_end(host, guests);
}

/* Guests destroyed all at once, with their disks open. */
static void many_destroyed_at_once(void **state)
{
	struct th_host *host = *state;
	struct gp_disk *disks[3];
	char name[32];

	th_grantiod_start(host, NULL);
	for (uint16_t i = 0; i < 3; i++) {
		uint16_t domid = (uint16_t)(i + 1);

		th_domain_create(host, domid);
		for (unsigned k = 0; k < 2; k++) {
			snprintf(name, sizeof(name), "%u-%u.raw", i, k);
			th_disk_write(host, domid, k, th_image(host, name, TH_MIB), NULL);
		}
		th_disk_wait(host, domid, 0, 2);
		th_disk_wait(host, domid, 1, 2);
		disks[i] = th_guest_open(host, domid, 1);
	}
	for (uint16_t i = 0; i < 3; i++)
		th_domain_destroy(host, (uint16_t)(i + 1));
	th_log_wait(host, ": stopped", 6);
	for (uint16_t i = 0; i < 3; i++)
		gp_disk_close(disks[i], NULL);
	th_quiet(host, guests);
	th_grantiod_end(host, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reboots, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(replaced_unseen, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(directory_removed, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(guest_rewrites_its_state, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(grantiod_restarts, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(driver_is_told, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(grantiod_crashes, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(removal_while_down, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(many_destroyed_at_once, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
