/* SPDX-License-Identifier: MIT */
/* xenstored ends under grantiod, and comes back, with what it knew or without: disks are served on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/host.h"

static const uint16_t guests[] = {1, 2, 0};

struct world {
	struct rig *rig;
	char dir[40]; /* the ledgers' */
	const char *arguments[3];
	const char *image;
	struct gp_disk *disk;
};

static void world_open(struct world *world, struct rig *rig)
{
	*world = (struct world){.rig = rig, .dir = "/tmp/gd-xenstored-XXXXXX"};
	assert_non_null(mkdtemp(world->dir));
	world->arguments[0] = "--state-dir";
	world->arguments[1] = world->dir;
	world->image = rig_image(rig, "a.raw", RIG_MIB);
	rig_domain_create(rig, 1);
	rig_disk_write(rig, 1, 0, world->image, NULL);
	rig_daemon_start(rig, world->arguments);
	world->disk = rig_guest_open(rig, 1, 0);
	rig_disk_wait(rig, 1, 0, 4);
}

static bool has_ledger(const struct world *world)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/virtio_disk-1-51712", world->dir);
	return access(path, F_OK) == 0;
}

static void store_end(struct world *world, unsigned count)
{
	rig_store_end(world->rig);
	rig_log_wait(world->rig, "<3>xenstore: connection lost", count);
	rig_guest_check(world->disk, world->image, 0, 65536, count);
	assert_true(has_ledger(world));
}

/* The directory of the disk as it was, as a toolstack may write it that remembers more than xenstored does. */
static void directory_restore(struct world *world)
{
	static const struct rig_key keys[] = {{"state", "4"}, {NULL, NULL}};

	rig_domain_introduce(world->rig, 1);
	rig_disk_write(world->rig, 1, 0, world->image, keys);
}

/* Twice; and the directory that comes back is followed again, and so are new ones. */
static void comes_back(void **state)
{
	struct world world;
	const char *other;

	world_open(&world, *state);
	other = rig_image(world.rig, "b.raw", RIG_MIB);
	for (unsigned i = 1; i <= 2; i++) {
		store_end(&world, i);
		rig_store_begin(world.rig);
		rig_log_wait(world.rig, "<5>xenstore: connected again", i);
		rig_log_wait(world.rig, "<4>d1/xvda: xenstored has lost its directory", i);
		rig_guest_check(world.disk, world.image, 0, 65536, 10 + i);
		directory_restore(&world);
		rig_domain_create(world.rig, 2);
		rig_disk_attach(world.rig, 2, 0, other);
		rig_guest_check(world.disk, world.image, 0, 65536, 20 + i);
		rig_disk_detach(world.rig, 2, 0);
		rig_domain_destroy(world.rig, 2);
	}
	assert_int_equal(rig_log_count(world.rig, "d1/xvda: stopping"), 0);
	rig_guest_close(world.disk);
	rig_disk_detach(world.rig, 1, 0);
	rig_daemon_end(world.rig, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* While it is away the disk is left to a successor, which finds it when xenstored knows of it. */
static void stopped_meanwhile(void **state)
{
	struct world world;
	int status;

	world_open(&world, *state);
	store_end(&world, 1);
	status = rig_daemon_stop(world.rig, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rig_log_wait(world.rig, "<5>d1/xvda: left to the next grantiod", 1);
	assert_int_equal(rig_log_count(world.rig, "stopping: grantiod stops"), 0);
	assert_true(has_ledger(&world));
	rig_store_begin(world.rig);
	rig_domain_introduce(world.rig, 1);
	gp_disk_close(world.disk, NULL);
	rig_domain_destroy(world.rig, 1);
	rig_daemon_start(world.rig, world.arguments); /* nobody knows of the guest any more */
	assert_false(has_ledger(&world));
	rig_daemon_end(world.rig, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* The guest ends while xenstored is away: when it is back, nothing is left of its disk. */
static void guest_ends_meanwhile(void **state)
{
	struct world world;

	world_open(&world, *state);
	store_end(&world, 1);
	assert_int_equal(gm_domain_destroy(world.rig->machine, 1), 0);
	gp_disk_close(world.disk, NULL);
	rig_store_begin(world.rig);
	rig_log_wait(world.rig, "<6>d1/xvda: stopping: its domain has gone", 1);
	rig_log_wait(world.rig, "<6>d1/xvda: stopped", 1);
	rig_daemon_end(world.rig, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* Without a ledger nobody can go on with it; but it is served on until grantiod is told to end. */
static void without_ledgers(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", RIG_MIB);
	struct gp_disk *disk;
	int status;

	rig_daemon_start(rig, NULL);
	rig_domain_create(rig, 1);
	rig_disk_attach(rig, 1, 0, image);
	disk = rig_guest_open(rig, 1, 0);
	rig_store_end(rig);
	rig_log_wait(rig, "<3>xenstore: connection lost", 1);
	rig_guest_check(disk, image, 0, 65536, 1);
	rig_guest_close(disk);
	status = rig_daemon_stop(rig, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rig_log_wait(rig, "<6>d1/xvda: stopped", 1);
	rig_quiet(rig, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(stopped_meanwhile, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(guest_ends_meanwhile, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(without_ledgers, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
