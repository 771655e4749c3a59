/* SPDX-License-Identifier: MIT */
/*
 * grantiod is told to end with 32 requests in flight, and a successor takes its place: no request is lost, none is done
 * twice, and those that it could not wait for are counted.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/host/host.h"

#define WRITERS 32u
#define BLOCKS	4u /* of each writer */
#define BLOCK	4096u
#define ROUNDS	8u
#define AHEAD	200u /* writes between two ends */

static const uint16_t guests[] = {1, 0};

static pid_t server; /* 0: the image is a file */

struct writer {
	struct world *world;
	pthread_t thread;
	unsigned number;
	uint32_t seed[BLOCKS]; /* what each of its blocks has; 0: nothing yet */
	int err;	       /* written and read atomically while the thread runs */
};

struct world {
	struct th_host *host;
	const char *dir;     /* the ledgers', and the server's files */
	const char *threads; /* of the server; NULL: the disk is a file */
	char target[96], log[48], socket[48];
	const char *arguments[5];
	struct gp_disk *disk;
	struct writer writers[WRITERS];
	bool stop;	/* atomic, as the next: */
	unsigned wrote; /* writes that were answered */
};

static void server_exec(const struct world *world)
{
	char log[64];

	snprintf(log, sizeof(log), "logfile=%s", world->log);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unsetenv("LD_PRELOAD");
	execlp("nbdkit", "nbdkit", "-f", "-t", world->threads, "-U", world->socket, "--filter=log", "memory", "1M", log,
	       (char *)NULL);
	_exit(127);
}

static void server_start(struct world *world)
{
	int64_t end = th_now_ms() + TH_SECONDS * 1000;

	snprintf(world->log, sizeof(world->log), "%s/requests", world->dir);
	snprintf(world->socket, sizeof(world->socket), "%s/socket", world->dir);
	snprintf(world->target, sizeof(world->target), "nbd+unix:///?socket=%s", world->socket);
	server = fork();
	assert_true(server >= 0);
	if (!server)
		server_exec(world);
	while (access(world->socket, F_OK)) {
		assert_true(th_now_ms() < end);
		poll(NULL, 0, 5);
	}
}

static void server_end(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = 0;
}

/* How many writes the server has begun. */
static unsigned server_writes(const struct world *world)
{
	FILE *file = fopen(world->log, "r");
	char line[512];
	unsigned count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		count += strstr(line, " Write id=") != NULL;
	fclose(file);
	return count;
}

/* With so many buffers that no writer waits for another. */
static void disk_open(struct world *world)
{
	const struct gp_disk_config config = {.machine = world->host->dir,
					      .domid = 1,
					      .name = "xvda",
					      .buffers = WRITERS,
					      .wait_ms = TH_SECONDS * 1000,
					      .timeout_ms = TH_SECONDS * 1000};
	char error[256];

	if (gp_disk_open(&world->disk, &config, error, sizeof(error)))
		fail_msg("%s", error);
}

static void world_open(struct world *world, struct th_host *host, const char *threads)
{
	*world = (struct world){.host = host, .dir = th_state_dir(host), .threads = threads};
	world->arguments[0] = "--state-dir";
	world->arguments[1] = world->dir;
	world->arguments[2] = "--queues";
	world->arguments[3] = threads ? "1" : "4";
	if (threads)
		server_start(world);
	th_domain_create(host, 1);
	th_disk_write(host, 1, 0, threads ? world->target : th_image(host, "a.raw", TH_MIB), NULL);
	th_grantiod_start(host, world->arguments);
	disk_open(world);
	th_disk_wait(host, 1, 0, 4);
}

static void world_close(struct world *world)
{
	th_guest_close(world->disk);
	th_disk_detach(world->host, 1, 0);
	th_grantiod_end(world->host, guests);
	if (server) {
		server_end();
		unlink(world->log);
		unlink(world->socket);
	}
	assert_int_equal(rmdir(world->dir), 0);
}

/* ---- writers --------------------------------------------------------------------------------------------------- */

static void block_fill(uint32_t *block, const struct writer *writer, unsigned index)
{
	for (unsigned i = 0; i < BLOCK / sizeof(*block); i++)
		block[i] = writer->seed[index] ? writer->seed[index] * 2654435761u + i + (writer->number << 24) : 0;
}

/* 0, -errno, or -EILSEQ: another block was read than was written. */
static int block_check(const struct writer *writer, unsigned index)
{
	uint32_t want[BLOCK / sizeof(uint32_t)], have[BLOCK / sizeof(uint32_t)];
	int err = gp_disk_read(writer->world->disk, have, (writer->number * BLOCKS + index) * BLOCK, BLOCK);

	block_fill(want, writer, index);
	return err || !memcmp(want, have, BLOCK) ? err : -EILSEQ;
}

static int block_write(struct writer *writer, unsigned index)
{
	uint32_t block[BLOCK / sizeof(uint32_t)];
	int err;

	writer->seed[index]++;
	block_fill(block, writer, index);
	err = gp_disk_write(writer->world->disk, block, (writer->number * BLOCKS + index) * BLOCK, BLOCK);
	__atomic_fetch_add(&writer->world->wrote, !err, __ATOMIC_RELAXED);
	return err;
}

static void *writer_run(void *opaque)
{
	struct writer *writer = opaque;
	int err = 0;

	for (unsigned n = 0; !err && !__atomic_load_n(&writer->world->stop, __ATOMIC_RELAXED); n++) {
		err = block_write(writer, n % BLOCKS);
		if (!err && n % 8 == 0)
			err = block_check(writer, (n + 1) % BLOCKS);
	}
	__atomic_store_n(&writer->err, err, __ATOMIC_RELAXED);
	return NULL;
}

static void writers_start(struct world *world)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		struct writer *writer = &world->writers[i];

		*writer = (struct writer){.world = world, .number = i};
		assert_int_equal(pthread_create(&writer->thread, NULL, writer_run, writer), 0);
	}
}

/* Some more writes, or one of them has failed. */
static void writers_wait(struct world *world)
{
	unsigned until = __atomic_load_n(&world->wrote, __ATOMIC_RELAXED) + AHEAD;
	int64_t end = th_now_ms() + TH_SECONDS * 1000;

	while ((int)(__atomic_load_n(&world->wrote, __ATOMIC_RELAXED) - until) < 0) {
		for (unsigned i = 0; i < WRITERS; i++)
			assert_int_equal(__atomic_load_n(&world->writers[i].err, __ATOMIC_RELAXED), 0);
		assert_true(th_now_ms() < end);
		poll(NULL, 0, 1);
	}
}

static void writers_join(struct world *world)
{
	__atomic_store_n(&world->stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(world->writers[i].thread, NULL);
}

/* ---- the tests ------------------------------------------------------------------------------------------------- */

static void ended_in_order(struct th_host *host, bool nbd)
{
	struct world world;

	world_open(&world, host, nbd ? "32" : NULL);
	writers_start(&world);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		int status;

		writers_wait(&world);
		status = th_grantiod_stop(host, SIGTERM);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		th_grantiod_start(host, world.arguments);
		th_log_wait(host, "<5>d1/xvda: state 4: going on where a former grantiod ended", round);
	}
	writers_wait(&world);
	writers_join(&world);
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(world.writers[i].err, 0);
		for (unsigned k = 0; k < BLOCKS; k++)
			assert_int_equal(block_check(&world.writers[i], k), 0);
	}
	assert_int_equal(gp_disk_flush(world.disk), 0); /* no write was called lost */
	assert_int_equal(th_log_count(host, "still in flight"), 0);
	assert_int_equal(th_log_count(host, "needs a reset"), 0);
	if (nbd)
		assert_int_equal(server_writes(&world), world.wrote);
	world_close(&world);
}

static void file(void **state)
{
	ended_in_order(*state, false);
}

/* What the server was asked to write is what the guest has answers for: nothing more. */
static void nbd(void **state)
{
	ended_in_order(*state, true);
}

/* A server that stands still: grantiod does not wait for it for ever, says how much it leaves, and nothing is redone.
 */
static void nbd_silent(void **state)
{
	struct th_host *host = *state;
	struct world world;
	int status;

	/* One thread: of several that answer a connection which has ended, nbdkit's own assertions end it at times. */
	world_open(&world, host, "1");
	kill(server, SIGSTOP);
	assert_true(waitpid(server, &status, WUNTRACED) == server && WIFSTOPPED(status)); /* all of it stands still */
	writers_start(&world);
	th_log_wait(host, "with 32 requests in flight: they wait", 1);
	status = th_grantiod_stop(host, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	th_log_wait(host, "<3>d1/xvda: 32 requests are still in flight, and grantiod exits", 1);
	kill(server, SIGCONT);
	th_grantiod_start(host, world.arguments);
	th_log_wait(host, "the former grantiod's last writes may still be on their way to its server", 1);
	writers_join(&world);
	assert_int_equal(world.wrote, 0);
	assert_true(server_writes(&world) <= WRITERS);
	th_guest_close(world.disk);
	disk_open(&world);
	assert_int_equal(block_write(&world.writers[0], 0), 0);
	assert_int_equal(block_check(&world.writers[0], 0), 0);
	world_close(&world);
}

static int teardown(void **state)
{
	if (server)
		server_end();
	return th_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(file, th_setup, teardown),
		cmocka_unit_test_setup_teardown(nbd, th_setup, teardown),
		cmocka_unit_test_setup_teardown(nbd_silent, th_setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
