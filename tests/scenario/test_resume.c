/* SPDX-License-Identifier: MIT */
/*
 * grantiod is killed while a guest's driver has requests in flight, and a successor goes on by the ledgers: no request
 * fails, none is lost, and every byte is right.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/access.h"

#define WRITERS 8u
#define BLOCKS	32u /* of each writer */
#define BLOCK	4096u
#define ROUNDS	25u
#define AHEAD	40u	    /* requests between two kills */
#define BASE	0x2000000u  /* of the first disk's registers; the others' follow */
#define MAGIC	0x74726976u /* "virt" */

static const uint16_t guests[] = {1, 0};

struct world {
	struct th_host *host;
	const char *dir; /* the ledgers' */
	const char *image;
	struct gp_disk *disk;
	const char *arguments[8]; /* NULL ends them */
	bool stop;		  /* atomic, as the next: */
	unsigned done;		  /* requests */
};

/* The disk is offered, and its guest has no driver yet. */
static void world_begin(struct world *world, struct th_host *host)
{
	*world = (struct world){.host = host, .dir = th_state_dir(host)};
	world->arguments[0] = "--state-dir";
	world->arguments[1] = world->dir;
	world->image = th_image(host, "a.raw", WRITERS * BLOCKS * BLOCK);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, world->image, NULL);
	th_grantiod_start(host, world->arguments);
	th_disk_wait(host, 1, 0, 2);
}

static void world_open(struct world *world, struct th_host *host)
{
	world_begin(world, host);
	world->disk = th_guest_open(host, 1, 0);
	th_disk_wait(host, 1, 0, 4);
}

static const char *ledger_path(const struct world *world)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/virtio_disk-1-51712", world->dir);
	return path;
}

/* Nothing is left of the device, its ledger included. */
static void world_close(struct world *world)
{
	th_guest_close(world->disk);
	th_disk_detach(world->host, 1, 0);
	th_grantiod_end(world->host, guests);
	assert_int_not_equal(access(ledger_path(world), F_OK), 0);
	assert_int_equal(rmdir(world->dir), 0);
}

/* Without a word, or in order: it makes no difference to the guest. */
static void daemon_replace(struct world *world, unsigned round)
{
	int status = th_grantiod_stop(world->host, round % 3 ? SIGKILL : SIGTERM);

	if (round % 3)
		assert_true(WIFSIGNALED(status));
	else
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	th_log_wait(world->host, "<5>d1/xvda: left to the next grantiod", round / 3);
	th_grantiod_start(world->host, world->arguments);
	th_log_wait(world->host, "<5>d1/xvda: state 4: going on where a former grantiod ended", round);
}

/* ---- in the middle of requests -------------------------------------------------------------------------------- */

struct writer {
	struct world *world;
	pthread_t thread;
	unsigned number;
	uint32_t seed[BLOCKS]; /* what each of its blocks has; 0: nothing yet */
	int err;	       /* written and read atomically while the thread runs */
};

static void block_fill(uint32_t *block, const struct writer *writer, unsigned index)
{
	for (unsigned i = 0; i < BLOCK / sizeof(*block); i++)
		block[i] = writer->seed[index] ? writer->seed[index] * 2654435761u + i + (writer->number << 24) : 0;
}

static uint64_t block_offset(const struct writer *writer, unsigned index)
{
	return (uint64_t)(writer->number * BLOCKS + index) * BLOCK;
}

/* 0, -errno, or -EILSEQ: another block was read than was written. */
static int block_check(const struct writer *writer, unsigned index)
{
	uint32_t want[BLOCK / sizeof(uint32_t)], have[BLOCK / sizeof(uint32_t)];
	int err = gp_disk_read(writer->world->disk, have, block_offset(writer, index), BLOCK);

	block_fill(want, writer, index);
	return err || !memcmp(want, have, BLOCK) ? err : -EILSEQ;
}

/* Each block is overwritten again and again, and read between two writes: an old write that came late would be seen. */
static void *writer_run(void *opaque)
{
	struct writer *writer = opaque;
	uint32_t block[BLOCK / sizeof(uint32_t)];
	int err = 0;

	for (unsigned n = 0; !err && !__atomic_load_n(&writer->world->stop, __ATOMIC_RELAXED); n++) {
		unsigned index = n % BLOCKS;

		writer->seed[index]++;
		block_fill(block, writer, index);
		err = gp_disk_write(writer->world->disk, block, block_offset(writer, index), BLOCK);
		if (!err)
			err = block_check(writer, index);
		if (!err)
			err = block_check(writer, (n * 7) % BLOCKS);
		__atomic_fetch_add(&writer->world->done, 1, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&writer->err, err, __ATOMIC_RELAXED);
	return NULL;
}

/* Some more turns of the writers, or one of them has failed. */
static void writers_wait(struct world *world, const struct writer *writers)
{
	unsigned until = __atomic_load_n(&world->done, __ATOMIC_RELAXED) + AHEAD;
	int64_t end = th_now_ms() + TH_SECONDS * 1000;

	while ((int)(__atomic_load_n(&world->done, __ATOMIC_RELAXED) - until) < 0) {
		for (unsigned i = 0; i < WRITERS; i++)
			assert_int_equal(__atomic_load_n(&writers[i].err, __ATOMIC_RELAXED), 0);
		assert_true(th_now_ms() < end);
		poll(NULL, 0, 1);
	}
}

static void image_check(const struct writer *writer, const char *image)
{
	uint32_t want[BLOCK / sizeof(uint32_t)], have[BLOCK / sizeof(uint32_t)];
	int fd = open(image, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		block_fill(want, writer, i);
		assert_int_equal(pread(fd, have, BLOCK, (off_t)block_offset(writer, i)), BLOCK);
		assert_memory_equal(want, have, BLOCK);
	}
	close(fd);
}

static void killed_in_the_middle(void **state)
{
	struct writer writers[WRITERS];
	struct world world;

	world_open(&world, *state);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.world = &world, .number = i};
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
	}
	for (unsigned round = 1; round <= ROUNDS; round++) {
		writers_wait(&world, writers);
		daemon_replace(&world, round);
	}
	writers_wait(&world, writers);
	__atomic_store_n(&world.stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		assert_int_equal(writers[i].err, 0);
		for (unsigned k = 0; k < BLOCKS; k++)
			assert_int_equal(block_check(&writers[i], k), 0);
	}
	assert_int_equal(th_log_count(world.host, "needs a reset"), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		image_check(&writers[i], world.image);
	world_close(&world);
}

/* ---- several disks ---------------------------------------------------------------------------------------------- */

#define DISKS 4u

/* An access that waits for the next grantiod is answered by the device that it is meant for, whichever comes first. */
static void waiting_for_one_of_many(void **state)
{
	struct th_access access;
	struct world world;
	char name[16];

	world_open(&world, *state);
	for (unsigned i = 1; i < DISKS; i++) {
		snprintf(name, sizeof(name), "%u.raw", i);
		th_disk_attach(world.host, 1, i, th_image(world.host, name, TH_MIB));
	}
	for (unsigned round = 1; round <= 2 * DISKS; round++) {
		assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
		th_access_begin(&access, gp_disk_guest(world.disk), BASE + round % DISKS * 0x200);
		th_grantiod_start(world.host, world.arguments);
		assert_int_equal(th_access_end(&access), MAGIC);
		th_log_wait(world.host, "going on where a former grantiod ended", round * DISKS);
	}
	for (unsigned i = 1; i < DISKS; i++)
		th_disk_detach(world.host, 1, i);
	th_guest_check(world.disk, world.image, 0, 65536, 9);
	world_close(&world);
}

/* ---- ledgers that are no use ---------------------------------------------------------------------------------- */

static void ledger_cut(const char *path)
{
	assert_int_equal(truncate(path, 100), 0);
}

static void ledger_removed(const char *path)
{
	assert_int_equal(unlink(path), 0);
}

static void ledger_foreign(const char *path)
{
	struct stat st;
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	char *zeroes;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	zeroes = calloc(1, (size_t)st.st_size);
	assert_non_null(zeroes);
	assert_int_equal(write(fd, zeroes, (size_t)st.st_size), st.st_size);
	free(zeroes);
	close(fd);
}

static void ledger_link(const char *path)
{
	char to[80];

	snprintf(to, sizeof(to), "%s.else", path);
	assert_int_equal(rename(path, to), 0);
	assert_int_equal(symlink(to, path), 0);
}

/* Without a ledger of its own a device cannot go on: as ever, the driver is told that it needs a reset. */
static void no_ledger(void **state)
{
	static void (*const spoil[])(const char *path) = {ledger_cut, ledger_removed, ledger_foreign, ledger_link};
	char byte[BLOCK], other[80];
	struct world world;

	world_open(&world, *state);
	for (unsigned i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
		assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
		spoil[i](ledger_path(&world));
		th_grantiod_start(world.host, world.arguments);
		th_log_wait(world.host, "<5>d1/xvda: ledger ", i + 1);
		th_log_wait(world.host, "<5>d1/xvda: state 4: served before: a driver that uses it must reset it",
			    i + 1);
		assert_int_not_equal(gp_disk_read(world.disk, byte, 0, sizeof(byte)), 0);
		th_guest_close(world.disk);
		world.disk = th_guest_open(world.host, 1, 0);
		th_guest_check(world.disk, world.image, 0, 65536, i);
		th_disk_wait(world.host, 1, 0, 4);
	}
	snprintf(other, sizeof(other), "%s.else", ledger_path(&world));
	assert_int_equal(unlink(other), 0);
	world_close(&world);
}

/* Settings that offer less are for what comes: the driver goes on with what it chose, and its other queues. */
static void other_settings(void **state)
{
	static const char *const less[] = {"--queue-size", "16", "--queues", "1", "--no-discard"};
	struct world world;

	world_open(&world, *state);
	memcpy(&world.arguments[2], less, sizeof(less));
	for (unsigned round = 1; round <= 2; round++) {
		assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
		th_grantiod_start(world.host, world.arguments);
		th_log_wait(world.host, "going on where a former grantiod ended", round);
		th_guest_check(world.disk, world.image, 0, 65536, round);
		assert_int_equal(gp_disk_zero(world.disk, 65536, 65536, true), 0);
	}
	assert_int_equal(th_log_count(world.host, "does not fit"), 0);
	th_guest_close(world.disk);
	world.disk = th_guest_open(world.host, 1, 0);
	th_guest_check(world.disk, world.image, 0, 65536, 3);
	world_close(&world);
}

/* The disk has become another one, whose abilities the driver did not choose among. */
static void other_abilities(void **state)
{
	struct world world;

	world_open(&world, *state);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_key(world.host, 1, 0, "mode", "r");
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "<5>d1/xvda: its ledger does not fit: ", 1);
	th_log_wait(world.host, "<5>d1/xvda: state 4: served before: a driver that uses it must reset it", 1);
	/* And it stays so until the driver has done that, whoever serves. */
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_key(world.host, 1, 0, "mode", "w");
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "going on where a former grantiod ended", 1);
	th_guest_close(world.disk);
	world.disk = th_guest_open(world.host, 1, 0);
	th_guest_check(world.disk, world.image, 0, 65536, 1);
	world_close(&world);
}

static void file_make(const struct world *world, const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/%s", world->dir, name);
	assert_int_equal(close(open(path, O_CREAT | O_CLOEXEC, 0600)), 0);
}

static bool file_take(const struct world *world, const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/%s", world->dir, name);
	return unlink(path) == 0;
}

/* The guest goes while nobody is there: what it leaves is removed, and nothing else. */
static void guest_gone_meanwhile(void **state)
{
	static const char *const others[] = {"notes", "virtio_disk-1-x", "virtio_disk-1-51712.old",
					     "virtio_disk-01-51712"};
	struct world world;

	world_open(&world, *state);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_domain_destroy(world.host, 1);
	gp_disk_close(world.disk, NULL);
	file_make(&world, "virtio-7-3");
	file_make(&world, "virtio_disk-1-51712.new"); /* killed while it replaced a file of the version before */
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		file_make(&world, others[i]);
	th_grantiod_start(world.host, world.arguments);
	assert_false(file_take(&world, "virtio-7-3"));
	assert_false(file_take(&world, "virtio_disk-1-51712.new"));
	assert_int_not_equal(access(ledger_path(&world), F_OK), 0);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_true(file_take(&world, others[i]));
	th_grantiod_end(world.host, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* The disk is removed while nobody is there, and attached again with an image that cannot be had: the ledger goes. */
static void disk_replaced_meanwhile(void **state)
{
	struct world world;

	world_begin(&world, *state);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_remove(world.host, 1, 0);
	th_disk_write(world.host, 1, 0, "/none/such", NULL);
	th_grantiod_start(world.host, world.arguments);
	assert_false(th_disk_verdict(world.host, 1, 0));
	assert_int_not_equal(access(ledger_path(&world), F_OK), 0);
	th_domain_destroy(world.host, 1);
	th_grantiod_end(world.host, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

static void ledger_gone_wait(const struct world *world)
{
	int64_t end = th_now_ms() + TH_SECONDS * 1000;

	while (access(ledger_path(world), F_OK) == 0) {
		assert_true(th_now_ms() < end);
		poll(NULL, 0, 1);
	}
}

/* The disk is refused to the successor, which keeps its ledger: its directory may be mended. It goes with that. */
static void refused_and_removed(void **state)
{
	struct world world;

	world_begin(&world, *state);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_disk_key(world.host, 1, 0, "mode", "x");
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "mode 'x': must be r or w", 1);
	assert_int_equal(access(ledger_path(&world), F_OK), 0);
	th_disk_remove(world.host, 1, 0);
	ledger_gone_wait(&world);
	th_domain_destroy(world.host, 1);
	th_grantiod_end(world.host, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

/* No place for ledgers: the disks are served all the same. */
static void no_place(void **state)
{
	struct world world;

	world_open(&world, *state);
	th_guest_close(world.disk);
	th_disk_detach(world.host, 1, 0);
	th_grantiod_end(world.host, guests);
	world.arguments[1] = "/proc"; /* where nobody makes files */
	th_disk_write(world.host, 1, 0, world.image, NULL);
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "<4>d1/xvda: ledger /proc/virtio_disk-1-51712: cannot make it: ", 1);
	world.disk = th_guest_open(world.host, 1, 0);
	th_guest_check(world.disk, world.image, 0, 65536, 1);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(killed_in_the_middle, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(waiting_for_one_of_many, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(no_ledger, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(other_settings, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(other_abilities, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(guest_gone_meanwhile, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(disk_replaced_meanwhile, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(refused_and_removed, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(no_place, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
