/* SPDX-License-Identifier: MIT */
/* xenstored ends while grantiod runs, and comes back with its content or without it: disks are still served. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/host.h"

static const uint16_t guests[] = {1, 2, 0};

struct world {
	struct th_host *host;
	const char *dir; /* the ledgers' */
	const char *arguments[3];
	const char *image;
	struct gp_disk *disk;
};

static void world_open(struct world *world, struct th_host *host)
{
	*world = (struct world){.host = host, .dir = th_state_dir(host)};
	world->arguments[0] = "--state-dir";
	world->arguments[1] = world->dir;
	world->image = th_image(host, "a.raw", TH_MIB);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, world->image, NULL);
	th_grantiod_start(host, world->arguments);
	world->disk = th_guest_open(host, 1, 0);
	th_disk_wait(host, 1, 0, 4);
}

static bool has_ledger(const struct world *world)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/virtio_disk-1-51712", world->dir);
	return access(path, F_OK) == 0;
}

static void store_end(struct world *world, unsigned count)
{
	th_store_end(world->host);
	th_log_wait(world->host, "<3>xenstore: connection lost", count);
	th_guest_check(world->disk, world->image, 0, 65536, count);
	assert_true(has_ledger(world));
}

/* The directory of the disk as it was, as a toolstack may write it that remembers more than xenstored does. */
static void directory_restore(struct world *world)
{
	static const struct th_key keys[] = {{"state", "4"}, {NULL, NULL}};

	th_domain_introduce(world->host, 1);
	th_disk_write(world->host, 1, 0, world->image, keys);
}

/* Twice; and the directory that comes back is followed again, and so are new ones. */
static void comes_back(void **state)
{
	struct world world;
	const char *other;

	world_open(&world, *state);
	other = th_image(world.host, "b.raw", TH_MIB);
	for (unsigned i = 1; i <= 2; i++) {
		store_end(&world, i);
		th_store_begin(world.host);
		th_log_wait(world.host, "<5>xenstore: connected again", i);
		th_log_wait(world.host, "<4>d1/xvda: xenstored has lost its directory", i);
		th_guest_check(world.disk, world.image, 0, 65536, 10 + i);
		directory_restore(&world);
		th_domain_create(world.host, 2);
		th_disk_attach(world.host, 2, 0, other);
		th_guest_check(world.disk, world.image, 0, 65536, 20 + i);
		th_disk_detach(world.host, 2, 0);
		th_domain_destroy(world.host, 2);
	}
	assert_int_equal(th_log_count(world.host, "d1/xvda: stopping"), 0);
	th_guest_close(world.disk);
	th_disk_detach(world.host, 1, 0);
	th_grantiod_end(world.host, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* While it is away the disk is left to a successor, which finds it when xenstored knows of it. */
static void stopped_meanwhile(void **state)
{
	struct world world;
	int status;

	world_open(&world, *state);
	store_end(&world, 1);
	status = th_grantiod_stop(world.host, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	th_log_wait(world.host, "<5>d1/xvda: left to the next grantiod", 1);
	assert_int_equal(th_log_count(world.host, "stopping: grantiod stops"), 0);
	assert_true(has_ledger(&world));
	th_store_begin(world.host);
	th_domain_introduce(world.host, 1);
	th_domain_destroy(world.host,
			  1); /* before its disk, which nobody serves, is closed: else that waits for an answer */
	gp_disk_close(world.disk, NULL);
	th_grantiod_start(world.host, world.arguments); /* nobody knows of the guest any more */
	assert_false(has_ledger(&world));
	th_grantiod_end(world.host, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* The guest ends while xenstored is away: when it is back, nothing is left of its disk. */
static void guest_ends_meanwhile(void **state)
{
	struct world world;

	world_open(&world, *state);
	store_end(&world, 1);
	assert_int_equal(gm_domain_destroy(world.host->machine, 1), 0);
	gp_disk_close(world.disk, NULL);
	th_store_begin(world.host);
	th_log_wait(world.host, "<6>d1/xvda: stopping: its domain has gone", 1);
	th_log_wait(world.host, "<6>d1/xvda: stopped", 1);
	th_grantiod_end(world.host, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* Without a ledger nobody can go on with it; but it is served on until grantiod is told to end. */
static void without_ledgers(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	struct gp_disk *disk;
	int status;

	th_grantiod_start(host, NULL);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	disk = th_guest_open(host, 1, 0);
	th_store_end(host);
	th_log_wait(host, "<3>xenstore: connection lost", 1);
	th_guest_check(disk, image, 0, 65536, 1);
	th_guest_close(disk);
	status = th_grantiod_stop(host, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	th_quiet(host, guests);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_back, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(stopped_meanwhile, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(guest_ends_meanwhile, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(without_ledgers, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
