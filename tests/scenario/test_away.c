/* SPDX-License-Identifier: MIT */
/*
 * A guest's disks change while no grantiod serves them: a disk is attached, an image is still used by the former
 * grantiod's last I/O, or an image is removed.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/guest.h"
#include "model/ioreq.h"
#include "tests/host/access.h"

#define BASE  0x2000000u  /* of the first disk's registers; the others' follow */
#define MAGIC 0x74726976u /* "virt" */

static const uint16_t guests[] = {1, 0};
static const struct th_key x86[] = {{"base", "0"}, {"irq", "0"}, {"grant_usage", NULL}, {NULL, NULL}};

struct world {
	struct th_host *host;
	const char *dir; /* the ledgers' */
	const char *arguments[3];
	const char *image, *other;
	struct gm_guest *guest;
};

static void world_open(struct world *world, struct th_host *host)
{
	*world = (struct world){.host = host, .dir = th_state_dir(host)};
	world->arguments[0] = "--state-dir";
	world->arguments[1] = world->dir;
	world->image = th_image(host, "a.raw", TH_MIB);
	world->other = th_image(host, "b.raw", TH_MIB);
	th_domain_create(host, 1);
	th_grantiod_start(host, world->arguments);
	assert_int_equal(gm_guest_open(&world->guest, host->dir, 1), 0);
}

static void world_close(struct world *world)
{
	gm_guest_close(world->guest);
	th_domain_destroy(world->host, 1);
	th_grantiod_end(world->host, guests);
}

/* As the last I/O of a killed process does: the image's lock stays for as long as its file is in use by the kernel. */
static int image_hold(const char *image)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(image, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLKW, &lock), 0);
	return fd;
}

/* ---- the tests ----------------------------------------------------------------------------------------------------
 */

/*
 * A disk is attached that is there before the guest's other one, which still waits for its image: the access that waits
 * since the crash is answered by the device that it is meant for.
 */
static void attached_while_away(void **state)
{
	struct th_access access, other;
	struct world world;
	int held;

	world_open(&world, *state);
	th_disk_attach(world.host, 1, 0, world.image);
	th_grantiod_pause(world.host);
	th_access_begin(&access, world.guest, BASE);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	held = image_hold(world.image);
	th_disk_write(world.host, 1, 1, world.other, NULL);
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "<5>d1/ioreq: taking over ioreq server", 1);
	th_disk_wait(world.host, 1, 1, 2);
	th_log_wait(world.host, "waiting for its former user's last I/O", 1);
	th_access_begin(&other, world.guest, BASE + 0x200); /* the guest's other disk does not wait for it */
	assert_int_equal(th_access_end(&other), MAGIC);
	assert_false(th_access_done(&access));
	close(held);
	assert_int_equal(th_access_end(&access), MAGIC);
	th_log_wait(world.host, "a.raw is in use no more", 1);
	th_log_wait(world.host, "going on where a former grantiod ended", 1);
	assert_int_equal(th_log_count(world.host, "waiting for its former user's last I/O"), 1);
	world_close(&world);
}

/* The disk that is refused names the ioreq server as well. */
static void server_of_a_refused_disk(void **state)
{
	struct th_access access;
	struct world world;

	world_open(&world, *state);
	th_disk_attach(world.host, 1, 0, world.image);
	th_grantiod_pause(world.host);
	th_access_begin(&access, world.guest, BASE);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_key(world.host, 1, 0, "mode", "x");
	th_disk_write(world.host, 1, 1, world.other, NULL);
	th_grantiod_start(world.host, world.arguments);
	th_disk_wait(world.host, 1, 1, 2);
	th_log_wait(world.host, "mode 'x': must be r or w", 1);
	assert_int_equal(th_access_end(&access), UINT32_MAX); /* no device there */
	th_access_begin(&access, world.guest, BASE + 0x200);
	assert_int_equal(th_access_end(&access), MAGIC);
	world_close(&world);
}

/* Two servers are named: the one that the guest has is taken over. */
static void one_of_two_servers(void **state)
{
	struct th_access access;
	struct world world;

	world_open(&world, *state);
	th_disk_attach(world.host, 1, 0, world.image);
	th_disk_attach(world.host, 1, 1, world.other);
	th_grantiod_pause(world.host);
	th_access_begin(&access, world.guest, BASE);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_key(world.host, 1, 0, "grantio-ioreq-server", "7");
	th_grantiod_start(world.host, world.arguments);
	assert_int_equal(th_access_end(&access), MAGIC);
	th_log_wait(world.host, "<5>d1/ioreq: taking over ioreq server 0", 1);
	th_log_wait(world.host, "going on where a former grantiod ended", 2);
	world_close(&world);
}

/* The kernel is not done with the killed process yet, and has its event channels: they are asked for again. */
static void server_not_free_yet(void **state)
{
	struct th_access access;
	struct world world;

	world_open(&world, *state);
	th_disk_attach(world.host, 1, 0, world.image);
	th_grantiod_pause(world.host);
	th_access_begin(&access, world.guest, BASE);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	assert_int_equal(gm_fault_set(world.host->machine, 0, GM_FAULT_BIND, 1), 0);
	th_grantiod_start(world.host, world.arguments);
	assert_int_equal(th_access_end(&access), MAGIC);
	assert_true(gm_fault_struck(world.host->machine, 0, GM_FAULT_BIND));
	th_log_wait(world.host, "cannot take over what a former grantiod left", 1);
	th_log_wait(world.host, "<5>d1/xvda: state 2: going on where a former grantiod ended", 1);
	world_close(&world);
}

static void path_watch(struct xs_handle *xs, const char *path)
{
	char **first;
	unsigned count;

	assert_true(xs_watch(xs, path, path));
	first = xs_read_watch(xs, &count); /* for its being set */
	assert_non_null(first);
	free(first);
}

static void changes_wait(struct xs_handle *xs, unsigned changes)
{
	struct pollfd fd = {.fd = xs_fileno(xs), .events = POLLIN};
	char **change;

	while (changes > 0) {
		assert_int_equal(poll(&fd, 1, TH_SECONDS * 1000), 1);
		change = xs_check_watch(xs);
		changes -= change != NULL;
		free(change);
	}
}

/* Before a server is made, and before it is destroyed, the others are noted, and afterwards no more. */
static void other_servers(void **state)
{
	struct xs_handle *xs = xs_open(0);
	struct world world;

	assert_non_null(xs);
	world_open(&world, *state);
	path_watch(xs, "/local/domain/0/backend/virtio_disk/1/51712/grantio-ioreq-others");
	th_disk_write(world.host, 1, 0, world.image, NULL);
	th_disk_wait(world.host, 1, 0, 2);
	changes_wait(xs, 2); /* written and removed */
	assert_null(th_disk_read(world.host, 1, 0, "grantio-ioreq-others"));
	th_disk_detach(world.host, 1, 0);
	changes_wait(xs, 2);
	xs_close(xs);
	world_close(&world);
}

/*
 * grantiod ended after it had made the guest's ioreq server, and before it said so: the directory is as that left it.
 * As often as a guest cannot have servers (Xen: 8), beside one that is another backend's.
 */
static void server_noted_nowhere(void **state)
{
	struct gm_stats stats;
	struct world world;
	uint16_t other;

	world_open(&world, *state);
	assert_int_equal(gm_server_create(world.host->machine, 1, 0 /* HVM_IOREQSRV_BUFIOREQ_OFF */, &other), 0);
	th_disk_attach(world.host, 1, 0, world.image);
	for (unsigned i = 1; i <= 8; i++) {
		assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
		th_disk_key(world.host, 1, 0, "grantio-ioreq-others", "1");
		th_disk_key(world.host, 1, 0, "grantio-ioreq-server", NULL);
		th_disk_key(world.host, 1, 0, "state", "1");
		th_grantiod_start(world.host, world.arguments);
		th_disk_wait(world.host, 1, 0, 2);
		th_log_wait(world.host, "<5>d1/ioreq: taking over ioreq server 1 of a former grantiod", i);
		assert_int_equal(gm_domain_stats(world.host->machine, 1, &stats), 0);
		assert_int_equal(stats.ioreq_servers, 2);
	}
	assert_int_equal(other, 0);
	assert_int_equal(gm_server_destroy(world.host->machine, 1, other), 0);
	world_close(&world);
}

/* ---- addresses that we give (x86) ---------------------------------------------------------------------------------
 */

static uint64_t base_read(struct world *world, unsigned index)
{
	char *text = th_disk_read(world->host, 1, index, "mmio-base");
	uint64_t base;

	assert_non_null(text);
	base = strtoull(text, NULL, 10);
	free(text);
	return base;
}

static void x86_attach(struct world *world, unsigned index, const char *image)
{
	th_disk_write(world->host, 1, index, image, x86);
	th_disk_wait(world->host, 1, index, 2);
}

/* A new disk does not get the registers of one that is yet to come back, though it would have them otherwise. */
static void address_of_another(void **state)
{
	struct world world;
	uint64_t base;
	char text[24];
	int held;

	world_open(&world, *state);
	x86_attach(&world, 0, world.image);
	base = base_read(&world, 0) + 0x1000; /* the second disk's, where it is free */
	snprintf(text, sizeof(text), "%llu", (unsigned long long)base);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_key(world.host, 1, 0, "mmio-base", text);
	held = image_hold(world.image);
	th_disk_write(world.host, 1, 1, world.other, x86);
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "<6>d1/xvdb: serving", 1);
	assert_int_not_equal(base_read(&world, 1), base);
	close(held);
	th_log_wait(world.host, "state 2: going on where a former grantiod ended", 1);
	assert_int_equal(base_read(&world, 0), base);
	world_close(&world);
}

/* A disk is not served elsewhere than where its driver looks for it. */
static void address_that_cannot_be(void **state)
{
	/* The end of the window, between two places, RAM. */
	static const char *const wrong[] = {"4273995776", "4271923201", "4096"};
	struct world world;

	world_open(&world, *state);
	x86_attach(&world, 0, world.image);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
		th_disk_key(world.host, 1, 0, "mmio-base", wrong[i]);
		th_grantiod_start(world.host, world.arguments);
		th_log_wait(world.host, "no place for registers; it was served there", i + 1);
	}
	assert_int_equal(th_log_count(world.host, "going on"), 0);
	world_close(&world);
}

/* Two that name the same place: the second is refused. */
static void address_of_two(void **state)
{
	struct world world;
	char text[24];

	world_open(&world, *state);
	x86_attach(&world, 0, world.image);
	x86_attach(&world, 1, world.other);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)base_read(&world, 0));
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_key(world.host, 1, 1, "mmio-base", text);
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, " of the guest has it", 1);
	th_log_wait(world.host, "going on where a former grantiod ended", 1);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(attached_while_away, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(server_of_a_refused_disk, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(one_of_two_servers, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(server_not_free_yet, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(other_servers, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(server_noted_nowhere, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(address_of_another, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(address_that_cannot_be, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(address_of_two, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
