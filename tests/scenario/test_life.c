/* SPDX-License-Identifier: MIT */
/* Ends and restarts: of guests, of directories, of grantiod. Nothing may be left of what has ended. */
#include "tests/host/host.h"

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
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);

	rig_daemon_start(rig, NULL);
	for (unsigned i = 0; i < 10; i++) {
		struct gp_disk *disk;

		rig_domain_create(rig, 1);
		rig_disk_attach(rig, 1, 0, image);
		disk = rig_guest_open(rig, 1, 0);
		rig_guest_check(disk, image, 4096 * i, 65536, i);
		rig_domain_destroy(rig, 1);
		gp_disk_close(disk, NULL); /* the guest's memory goes with its process */
		rig_log_wait(rig, "<6>d1/xvda: stopped", i + 1);
		rig_quiet(rig, guests);
	}
	assert_int_equal(rig_log_count(rig, "<3>"), 0);
	rig_daemon_end(rig, guests);
}

/*
 * Removed and written anew, with another image, while grantiod does not look: it finds a new device behind the same
 * directory. (A new domain of the same number cannot be there: the old one's number is taken while we hold its pages.)
 */
static void replaced_unseen(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB), *other = rig_image(rig, "b.raw", 4 * RIG_MIB);
	struct gp_disk *disk;

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	rig_daemon_pause(rig);
	rig_disk_remove(rig, 1, 0);
	rig_disk_write(rig, 1, 0, other, NULL);
	kill(rig->daemon, SIGCONT);
	rig_disk_wait(rig, 1, 0, 2);
	rig_log_wait(rig, "<6>d1/xvda: stopping: its directory is a new one", 1);
	disk = rig_guest_open(rig, 1, 0);
	rig_guest_check(disk, other, 0, 4096, 1);
	rig_guest_close(disk);
	rig_daemon_end(rig, guests);
}

/* The toolstack removes the directory without a word; the guest's other disk goes on. */
static void directory_removed(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB), *other = rig_image(rig, "b.raw", 4 * RIG_MIB);
	struct gp_disk *disk;

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	rig_disk_attach(rig, 1, 1, other);
	disk = rig_guest_open(rig, 1, 1);
	rig_disk_remove(rig, 1, 0);
	rig_log_wait(rig, "<6>d1/xvda: stopping: its directory has gone", 1);
	rig_log_wait(rig, "<6>d1/xvda: stopped", 1);
	assert_null(rig_disk_read(rig, 1, 0, "state")); /* it does not come back by a state that is written */
	rig_guest_check(disk, other, 0, 65536, 1);
	rig_guest_close(disk);
	rig_disk_detach(rig, 1, 1);
	rig_log_wait(rig, "<6>d1/xvdb: stopped", 1);
	rig_quiet(rig, guests);
	rig_daemon_end(rig, guests);
}

/* Defect of the predecessor: abort when the guest rewrites its own `state` node. */
static void guest_rewrites_its_state(void **state)
{
	static const char *const values[] = {"0", "1", "4", "5", "6", "-1", "4294967296", "x", ""};
	static const char node[] = "device/virtio_disk/51712/state";
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);
	struct xs_handle *guest;
	struct gp_disk *disk;

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	disk = rig_guest_open(rig, 1, 0);
	rig_disk_wait(rig, 1, 0, 4);
	guest = rig_store_open(rig, 1);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_true(xs_write(guest, XBT_NULL, node, values[i], (unsigned)strlen(values[i])));
		rig_guest_check(disk, image, 0, 4096, i);
	}
	assert_true(xs_rm(guest, XBT_NULL, "device/virtio_disk/51712"));
	rig_guest_check(disk, image, 0, 4096, 99);
	xs_close(guest);
	rig_guest_close(disk);
	assert_int_equal(rig_log_count(rig, "stopping"), 0);
	rig_domain_destroy(rig, 1);
	rig_log_wait(rig, "<6>d1/xvda: stopped", 1);
	rig_daemon_end(rig, guests);
}

static void grantiod_restarts(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);

	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, image, NULL);
	for (unsigned i = 0; i < 3; i++) {
		struct gp_disk *disk;

		rig_daemon_start(rig, NULL);
		rig_log_wait(rig, "<6>d1/xvda: serving", i + 1);
		disk = rig_guest_open(rig, 1, 0);
		rig_guest_check(disk, image, 0, 65536, i);
		rig_disk_wait(rig, 1, 0, 4);
		rig_guest_close(disk);
		rig_daemon_end(rig, guests);
		assert_null(rig_disk_read(rig, 1, 0, "grantio-ioreq-server")); /* might be somebody else's by then */
	}
}

struct request {
	struct gp_disk *disk;
	char data[4096];
	int ret;
};

static void *request_run(void *opaque)
{
	struct request *request = opaque;

	request->ret = gp_disk_read(request->disk, request->data, 0, sizeof(request->data));
	return NULL;
}

/*
 * grantiod dies under a guest's driver, and a request with it: the next one cannot know which requests were done, so it
 * says that the device needs a reset. The driver fails what it waits for, and can have the disk again.
 */
static void driver_is_told(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);
	struct request request;
	pthread_t reader;

	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, image, NULL);
	rig_daemon_start(rig, NULL);
	for (unsigned i = 0; i < 3; i++) {
		request.disk = rig_guest_open(rig, 1, 0);
		rig_guest_check(request.disk, image, 0, 65536, i);
		rig_disk_wait(rig, 1, 0, 4);
		rig_daemon_pause(rig);
		assert_int_equal(pthread_create(&reader, NULL, request_run, &request), 0);
		assert_true(WIFSIGNALED(rig_daemon_stop(rig, SIGKILL)));
		rig_daemon_start(rig, NULL);
		rig_log_wait(rig, "<5>d1/xvda: state 4: served before: a driver that uses it must reset it", i + 1);
		pthread_join(reader, NULL);
		assert_int_not_equal(request.ret, 0);
		assert_int_not_equal(gp_disk_read(request.disk, request.data, 0, sizeof(request.data)), 0);
		rig_guest_close(request.disk);
	}
	rig_daemon_end(rig, guests);
}

struct access {
	struct gm_guest *guest;
	uint64_t value;
	int ret;
};

static void *access_run(void *opaque)
{
	struct access *access = opaque;

	access->ret = gm_guest_mmio(access->guest, BASE, 4, false, &access->value, RIG_SECONDS * 1000);
	return NULL;
}

/* After a crash a vCPU waits for an answer: the next grantiod gives it, by the server that the former one had. */
static void grantiod_crashes(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", 4 * RIG_MIB);
	struct gm_stats stats;
	struct gp_disk *disk;
	char wanted[64];

	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, image, NULL);
	rig_daemon_start(rig, NULL);
	rig_log_wait(rig, "<6>d1/xvda: serving", 1);
	for (unsigned i = 0; i < 10; i++) { /* more often than a guest has servers */
		struct access access = {0};
		pthread_t vcpu;

		assert_true(WIFSIGNALED(rig_daemon_stop(rig, SIGKILL)));
		assert_int_equal(gm_guest_open(&access.guest, rig->dir, 1), 0);
		assert_int_equal(pthread_create(&vcpu, NULL, access_run, &access), 0);
		rig_daemon_start(rig, NULL);
		pthread_join(vcpu, NULL);
		gm_guest_close(access.guest);
		assert_int_equal(access.ret, 0);
		assert_int_equal(access.value, MAGIC);
		rig_log_wait(rig, "<6>d1/xvda: serving", i + 2);
	}
	snprintf(wanted, sizeof(wanted), "taking over ioreq server 0");
	assert_int_equal(rig_log_count(rig, wanted), 10);
	assert_int_equal(gm_domain_stats(rig->machine, 1, &stats), 0);
	assert_int_equal(stats.ioreq_servers, 1);
	disk = rig_guest_open(rig, 1, 0);
	rig_guest_check(disk, image, 0, 65536, 5);
	rig_guest_close(disk);
	rig_daemon_end(rig, guests);
}

/* Asked to remove it while grantiod was down. */
static void removal_while_down(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", RIG_MIB);

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	rig_daemon_end(rig, guests);
	rig_disk_key(rig, 1, 0, "online", "0");
	rig_disk_key(rig, 1, 0, "state", "5");
	rig_daemon_start(rig, NULL);
	rig_disk_wait(rig, 1, 0, 6);
	rig_disk_remove(rig, 1, 0);
	rig_daemon_end(rig, guests);
}

/* Guests destroyed all at once, with their disks open. */
static void many_destroyed_at_once(void **state)
{
	struct rig *rig = *state;
	struct gp_disk *disks[3];
	char name[32];

	rig_daemon_start(rig, NULL);
	for (uint16_t i = 0; i < 3; i++) {
		uint16_t domid = (uint16_t)(i + 1);

		rig_domain_create(rig, domid);
		for (unsigned k = 0; k < 2; k++) {
			snprintf(name, sizeof(name), "%u-%u.raw", i, k);
			rig_disk_write(rig, domid, k, rig_image(rig, name, RIG_MIB), NULL);
		}
		rig_disk_wait(rig, domid, 0, 2);
		rig_disk_wait(rig, domid, 1, 2);
		disks[i] = rig_guest_open(rig, domid, 1);
	}
	for (uint16_t i = 0; i < 3; i++)
		rig_domain_destroy(rig, (uint16_t)(i + 1));
	rig_log_wait(rig, ": stopped", 6);
	for (uint16_t i = 0; i < 3; i++)
		gp_disk_close(disks[i], NULL);
	rig_quiet(rig, guests);
	rig_daemon_end(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reboots, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(replaced_unseen, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(directory_removed, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(guest_rewrites_its_state, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(grantiod_restarts, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(driver_is_told, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(grantiod_crashes, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(removal_while_down, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(many_destroyed_at_once, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
