/* SPDX-License-Identifier: MIT */
/*
 * What the end of grantiod does to requests that are with a slow server at that moment. An orderly end waits for them,
 * and so there is nothing to be done again; after a crash nothing is done again that may still land.
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
#include "tests/host/host.h"

#define BLOCK 4096u
#define BASE  0x2000000u  /* of the disk's registers */
#define MAGIC 0x74726976u /* "virt" */

static const uint16_t guests[] = {1, 0};

struct world {
	struct rig *rig;
	char dir[40]; /* the ledgers', and the server's files */
	char target[96], requests[64];
	const char *arguments[3];
	pid_t server;
	struct gp_disk *disk;
};

static void world_open(struct world *world, struct rig *rig)
{
	*world = (struct world){.rig = rig, .dir = "/tmp/gd-restart-XXXXXX"};
	assert_non_null(mkdtemp(world->dir));
	snprintf(world->requests, sizeof(world->requests), "%s/requests", world->dir);
	world->arguments[0] = "--state-dir";
	world->arguments[1] = world->dir;
	rig_domain_create(rig, 1);
	rig_daemon_start(rig, world->arguments);
}

static void server_socket(const struct world *world, char path[64])
{
	snprintf(path, 64, "%s/socket", world->dir);
}

static void world_end(struct world *world)
{
	char path[64];

	rig_disk_detach(world->rig, 1, 0);
	rig_daemon_end(world->rig, guests);
	kill(world->server, SIGTERM);
	waitpid(world->server, NULL, 0);
	unlink(world->requests);
	server_socket(world, path);
	unlink(path);
	assert_int_equal(rmdir(world->dir), 0);
}

static void world_close(struct world *world)
{
	rig_guest_close(world->disk);
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
static void server_start(struct world *world)
{
	char socket[64];
	int64_t end = rig_now_ms() + RIG_SECONDS * 1000;

	server_socket(world, socket);
	snprintf(world->target, sizeof(world->target), "nbd+unix:///?socket=%s", socket);
	world->server = fork();
	assert_true(world->server >= 0);
	if (!world->server)
		server_exec(world);
	while (access(socket, F_OK)) {
		assert_true(rig_now_ms() < end);
		poll(NULL, 0, 5);
	}
	rig_disk_attach(world->rig, 1, 0, world->target);
}

static void disk_open(struct world *world, unsigned index)
{
	world->disk = rig_guest_open(world->rig, 1, index);
	rig_disk_wait(world->rig, 1, index, 4);
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
	int64_t end = rig_now_ms() + RIG_SECONDS * 1000;

	while (!server_count(world, kind)) {
		assert_true(rig_now_ms() < end);
		poll(NULL, 0, 5);
	}
}

struct request {
	struct gp_disk *disk;
	pthread_t thread;
	bool write;
	char data[BLOCK];
	int ret;
};

static void *request_run(void *opaque)
{
	struct request *request = opaque;

	request->ret = request->write ? gp_disk_write(request->disk, request->data, 0, BLOCK)
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
	status = rig_daemon_stop(world.rig, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rig_daemon_start(world.rig, world.arguments);
	rig_log_wait(world.rig, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	pthread_join(request.thread, NULL); /* it has its answer, and reads registers to see that */
	assert_int_equal(request.ret, 0);
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
	assert_true(WIFSIGNALED(rig_daemon_stop(world.rig, SIGKILL)));
	rig_daemon_start(world.rig, world.arguments);
	rig_log_wait(world.rig, "the former grantiod's last writes may still be on their way to its server", 1);
	rig_log_wait(world.rig, "<5>d1/xvda: state 4: served before: a driver that uses it must reset it", 1);
	pthread_join(request.thread, NULL);
	assert_int_not_equal(request.ret, 0);
	rig_guest_close(world.disk);
	world.disk = rig_guest_open(world.rig, 1, 0);
	assert_int_equal(gp_disk_read(world.disk, request.data, 0, BLOCK), 0);
	assert_int_equal(server_count(&world, "Write"), 1);
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
	assert_true(WIFSIGNALED(rig_daemon_stop(world.rig, SIGKILL)));
	rig_daemon_start(world.rig, world.arguments);
	rig_log_wait(world.rig, "<5>d1/xvda: state 4: going on where a former grantiod ended", 1);
	pthread_join(request.thread, NULL);
	assert_int_equal(request.ret, 0);
	assert_int_equal(request.data[0], 0);
	world_close(&world);
}

/* A server that does not answer when grantiod is back holds up its own disk, and no other. */
static void silent_server(void **state)
{
	struct rig *rig = *state;
	const char *image = rig_image(rig, "a.raw", RIG_MIB);
	struct world world;

	world_open(&world, rig);
	server_start(&world);
	rig_disk_attach(rig, 1, 1, image);
	disk_open(&world, 1);
	rig_guest_check(world.disk, image, 0, 65536, 1);
	kill(world.server, SIGSTOP);
	assert_true(WIFSIGNALED(rig_daemon_stop(rig, SIGKILL)));
	rig_daemon_start(rig, world.arguments);
	rig_guest_check(world.disk, image, 65536, 65536, 2);
	assert_int_equal(rig_log_count(rig, "d1/xvda: state 2: going on"), 0);
	kill(world.server, SIGCONT);
	rig_log_wait(rig, "<5>d1/xvda: state 2: going on where a former grantiod ended", 1);
	rig_guest_close(world.disk);
	rig_disk_detach(rig, 1, 1);
	world_end(&world);
}

struct access {
	struct gm_guest *guest;
	pthread_t vcpu;
	uint64_t value;
	int ret;
};

static void *access_run(void *opaque)
{
	struct access *access = opaque;

	access->ret = gm_guest_mmio(access->guest, BASE, 4, false, &access->value, RIG_SECONDS * 1000);
	return NULL;
}

/* A guest that has not come to its disk yet finds it, as after a crash. */
static void guest_boots(void **state)
{
	struct rig *rig = *state;
	struct access access = {0};
	struct world world;
	int status;

	world_open(&world, rig);
	rig_disk_attach(rig, 1, 0, rig_image(rig, "a.raw", RIG_MIB));
	status = rig_daemon_stop(rig, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(gm_guest_open(&access.guest, rig->dir, 1), 0);
	assert_int_equal(pthread_create(&access.vcpu, NULL, access_run, &access), 0);
	rig_daemon_start(rig, world.arguments);
	pthread_join(access.vcpu, NULL);
	assert_int_equal(access.ret, 0);
	assert_int_equal(access.value, MAGIC);
	rig_log_wait(rig, "<5>d1/xvda: state 2: going on where a former grantiod ended", 1);
	gm_guest_close(access.guest);
	rig_disk_detach(rig, 1, 0);
	rig_daemon_end(rig, guests);
	assert_int_equal(rmdir(world.dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(orderly, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(crash_while_writing, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(crash_while_reading, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(silent_server, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(guest_boots, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
