/* SPDX-License-Identifier: MIT */
/*
 * grantiod ends while a slow server has requests. An orderly end waits for them, so that none must be done again. After
 * a crash, a request whose first I/O may still take effect is not done again.
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

#include "model/guest.h"
#include "tests/host/access.h"

#define BLOCK 4096u
#define BASE  0x2000000u  /* of the disk's registers */
#define MAGIC 0x74726976u /* "virt" */

static const uint16_t guests[] = {1, 0};

struct world {
	struct th_host *host;
	const char *dir; /* the ledgers', and the server's files */
	char target[96], requests[64];
	const char *arguments[3];
	pid_t server;
	struct gp_disk *disk;
};

static void world_open(struct world *world, struct th_host *host)
{
	*world = (struct world){.host = host, .dir = th_state_dir(host)};
	snprintf(world->requests, sizeof(world->requests), "%s/requests", world->dir);
	world->arguments[0] = "--state-dir";
	world->arguments[1] = world->dir;
	th_domain_create(host, 1);
	th_grantiod_start(host, world->arguments);
}

static void server_socket(const struct world *world, char path[64])
{
	snprintf(path, 64, "%s/socket", world->dir);
}

static void world_end(struct world *world)
{
	char path[64];

	th_disk_detach(world->host, 1, 0);
	th_grantiod_end(world->host, guests);
	kill(world->server, SIGTERM);
	waitpid(world->server, NULL, 0);
	unlink(world->requests);
	server_socket(world, path);
	unlink(path);
	assert_int_equal(rmdir(world->dir), 0);
}

static void world_close(struct world *world)
{
	th_guest_close(world->disk);
	world_end(world);
}

static void server_exec(const struct world *world)
{
	char socket[64], log[80];

	server_socket(world, socket);
	snprintf(log, sizeof(log), "logfile=%s", world->requests);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unsetenv("LD_PRELOAD");
	execlp("nbdkit", "nbdkit", "-f", "-U", socket, "--filter=log", "--filter=delay", "memory", "1M", "wdelay=2",
	       "rdelay=2", log, (char *)NULL);
	_exit(127);
}

/* A server that takes two seconds for each request, and writes down when each begins. */
static void server_begin(struct world *world)
{
	char socket[64];
	int64_t end = th_now_ms() + TH_SECONDS * 1000;

	server_socket(world, socket);
	snprintf(world->target, sizeof(world->target), "nbd+unix:///?socket=%s", socket);
	world->server = fork();
	assert_true(world->server >= 0);
	if (!world->server)
		server_exec(world);
	while (access(socket, F_OK)) {
		assert_true(th_now_ms() < end);
		poll(NULL, 0, 5);
	}
}

static void server_start(struct world *world)
{
	server_begin(world);
	th_disk_attach(world->host, 1, 0, world->target);
}

static void disk_open(struct world *world, unsigned index)
{
	world->disk = th_guest_open(world->host, 1, index);
	th_disk_wait(world->host, 1, index, 4);
}

/* How many requests of this kind ("Write", "Read") the server has begun. */
static unsigned server_count(const struct world *world, const char *kind)
{
	int fd = open(world->requests, O_RDONLY | O_CLOEXEC);
	char text[65536], begun[32];
	ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	unsigned count = 0;

	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	snprintf(begun, sizeof(begun), " %s id=", kind);
	for (const char *at = text; (at = strstr(at, begun)); at++)
		count++;
	return count;
}

static void server_wait(const struct world *world, const char *kind)
{
	int64_t end = th_now_ms() + TH_SECONDS * 1000;

	while (!server_count(world, kind)) {
		assert_true(th_now_ms() < end);
		poll(NULL, 0, 5);
	}
}

struct request {
	struct gp_disk *disk;
	pthread_t thread;
	bool write;
	char data[BLOCK];
	int err;
};

static void *request_run(void *opaque)
{
	struct request *request = opaque;

	request->err = request->write ? gp_disk_write(request->disk, request->data, 0, BLOCK)
				      : gp_disk_read(request->disk, request->data, 0, BLOCK);
	return NULL;
}

static void request_begin(struct request *request, struct world *world, bool write)
{
	*request = (struct request){.disk = world->disk, .write = write};
	memset(request->data, 'A', sizeof(request->data));
	assert_int_equal(pthread_create(&request->thread, NULL, request_run, request), 0);
	server_wait(world, write ? "Write" : "Read");
}

/* The guest has its answer when grantiod has ended, and the next one has nothing to do again. */
static void orderly(void **state)
{
	struct request request;
	struct world world;
	int status;

	world_open(&world, *state);
	server_start(&world);
	disk_open(&world, 0);
	request_begin(&request, &world, true);
	status = th_grantiod_stop(world.host, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	pthread_join(request.thread, NULL); /* it has its answer, and reads registers to see that */
	assert_int_equal(request.err, 0);
	assert_int_equal(gp_disk_read(world.disk, request.data, 0, BLOCK), 0);
	assert_int_equal(request.data[0], 'A');
	assert_int_equal(server_count(&world, "Write"), 1);
	world_close(&world);
}

/* A write that may still land is not done again: the driver is told, and so is the administrator. */
static void crash_while_writing(void **state)
{
	struct request request;
	struct world world;

	world_open(&world, *state);
	server_start(&world);
	disk_open(&world, 0);
	request_begin(&request, &world, true);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "the former grantiod's last writes may still be on their way to its server", 1);
	th_log_wait(world.host, "<5>d1/xvda: state 4: served before: a driver that uses it must reset it", 1);
	pthread_join(request.thread, NULL);
	assert_int_not_equal(request.err, 0);
	th_guest_close(world.disk);
	world.disk = th_guest_open(world.host, 1, 0);
	assert_int_equal(gp_disk_read(world.disk, request.data, 0, BLOCK), 0);
	assert_int_equal(server_count(&world, "Write"), 1);
	world_close(&world);
}

/* What was answered and not flushed may go with the server's cache: an orderly end flushes it, a crash is told. */
static void unflushed(void **state)
{
	struct request request;
	struct world world;

	world_open(&world, *state);
	server_start(&world);
	disk_open(&world, 0);
	request_begin(&request, &world, true);
	pthread_join(request.thread, NULL);
	assert_int_equal(request.err, 0);
	assert_int_equal(server_count(&world, "Flush"), 0);
	assert_true(WIFEXITED(th_grantiod_stop(world.host, SIGTERM)));
	assert_true(server_count(&world, "Flush") >= 1); /* by each of its queues, perhaps */
	th_grantiod_start(world.host, world.arguments);
	assert_int_equal(gp_disk_flush(world.disk), 0);
	assert_int_equal(gp_disk_write(world.disk, request.data, 0, BLOCK), 0);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "<5>d1/xvda: state 4: going on where a former grantiod ended", 2);
	assert_int_not_equal(gp_disk_flush(world.disk), 0);
	th_log_wait(world.host, "flush of 0 bytes at 0: writes before it may be lost", 1);
	assert_int_equal(gp_disk_flush(world.disk), 0);
	world_close(&world);
}

/* Reads are done again: there is nothing that they could undo. */
static void crash_while_reading(void **state)
{
	struct request request;
	struct world world;

	world_open(&world, *state);
	server_start(&world);
	disk_open(&world, 0);
	request_begin(&request, &world, false);
	assert_true(WIFSIGNALED(th_grantiod_stop(world.host, SIGKILL)));
	th_grantiod_start(world.host, world.arguments);
	th_log_wait(world.host, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	pthread_join(request.thread, NULL);
	assert_int_equal(request.err, 0);
	assert_int_equal(request.data[0], 0);
	world_close(&world);
}

/* One that is not there is waited for, and so are its disk's registers; the guest's other disk does not wait. */
static void server_away(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	struct th_access access;
	struct world world;
	char socket[64];

	world_open(&world, host);
	server_start(&world);
	th_disk_attach(host, 1, 1, image);
	disk_open(&world, 1);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	kill(world.server, SIGKILL);
	waitpid(world.server, NULL, 0);
	server_socket(&world, socket);
	unlink(socket);
	th_access_begin(&access, gp_disk_guest(world.disk), BASE);
	th_grantiod_start(host, world.arguments);
	th_log_wait(host, "it was served before: waiting for its server", 1);
	th_guest_check(world.disk, image, 0, 65536, 1);
	assert_false(th_access_done(&access));
	server_begin(&world);
	assert_int_equal(th_access_end(&access), MAGIC);
	th_log_wait(host, "<5>d1/xvda: state 2: going on where a former grantiod ended", 1);
	assert_int_equal(th_log_count(host, "waiting for its server"), 1);
	th_guest_close(world.disk);
	th_disk_detach(host, 1, 1);
	world_end(&world);
}

/* A server that does not answer when grantiod is back holds up its own disk, and no other. */
static void silent_server(void **state)
{
	struct th_host *host = *state;
	const char *image = th_image(host, "a.raw", TH_MIB);
	struct world world;

	world_open(&world, host);
	server_start(&world);
	th_disk_attach(host, 1, 1, image);
	disk_open(&world, 1);
	th_guest_check(world.disk, image, 0, 65536, 1);
	kill(world.server, SIGSTOP);
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	th_grantiod_start(host, world.arguments);
	th_guest_check(world.disk, image, 65536, 65536, 2);
	assert_int_equal(th_log_count(host, "d1/xvda: state 2: going on"), 0);
	kill(world.server, SIGCONT);
	th_log_wait(host, "<5>d1/xvda: state 2: going on where a former grantiod ended", 1);
	th_guest_close(world.disk);
	th_disk_detach(host, 1, 1);
	world_end(&world);
}

/* A guest that has not come to its disk yet finds it, as after a crash. */
static void guest_boots(void **state)
{
	struct th_host *host = *state;
	struct th_access access;
	struct gm_guest *guest;
	struct world world;
	int status;

	world_open(&world, host);
	th_disk_attach(host, 1, 0, th_image(host, "a.raw", TH_MIB));
	status = th_grantiod_stop(host, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(gm_guest_open(&guest, host->dir, 1), 0);
	th_access_begin(&access, guest, BASE);
	th_grantiod_start(host, world.arguments);
	assert_int_equal(th_access_end(&access), MAGIC);
	th_log_wait(host, "<5>d1/xvda: state 2: going on where a former grantiod ended", 1);
	gm_guest_close(guest);
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(orderly, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(crash_while_writing, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(crash_while_reading, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(unflushed, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(server_away, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(silent_server, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(guest_boots, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
