/* SPDX-License-Identifier: MIT */
/* A guest program (client/disk.h) that reaches its disk by messages and a pool of copies. */
#include "tests/host/host.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/guest.h"

static const uint16_t guests[] = {1, 0};

static int disk_open(struct th_host *host, unsigned queues, struct gp_disk **disk, char error[256])
{
	const struct gp_disk_config config = {.machine = host->dir,
					      .domid = 1,
					      .name = "xvda",
					      .queues = queues,
					      .buffers = 4,
					      .messages = true,
					      .wait_ms = TH_SECONDS * 1000,
					      .timeout_ms = TH_SECONDS * 1000};

	return gp_disk_open(disk, &config, error, 256);
}

static struct gp_disk *opened(struct th_host *host, unsigned queues)
{
	struct gp_disk *disk;
	char error[256];

	if (disk_open(host, queues, &disk, error))
		fail_msg("%s", error);
	return disk;
}

static const char *begin(struct th_host *host, const char *const *arguments)
{
	const char *image = th_image(host, "a.raw", 4 * TH_MIB);

	th_grantiod_start(host, arguments);
	th_domain_create(host, 1);
	th_disk_attach(host, 1, 0, image);
	return image;
}

static void end(struct th_host *host)
{
	th_disk_detach(host, 1, 0);
	th_grantiod_end(host, guests);
}

static struct gm_stats stats(struct gp_disk *disk, uint16_t domid)
{
	struct gm_stats now;

	assert_int_equal(gm_domain_stats(gm_guest_machine(gp_disk_guest(disk)), domid, &now), 0);
	return now;
}

/* Requests cost no grant and no register, whatever their size and place; drivers come and go. */
static void nothing_but_copies(void **state)
{
	static const size_t bytes[] = {512, 4096, 65536, TH_MIB};
	const char *const arguments[] = {"--queues", "4", NULL};
	struct th_host *host = *state;
	const char *image = begin(host, arguments);

	for (unsigned queues = 1; queues <= 4; queues += 3) {
		struct gp_disk *disk = opened(host, queues);
		struct gm_stats backend = stats(disk, 0), guest = stats(disk, 1);

		for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
			th_guest_check(disk, image, 4096 * i, bytes[i], i + queues);
		assert_int_equal(stats(disk, 1).ioreqs, guest.ioreqs);
		assert_int_equal(stats(disk, 0).grant_copy_calls, backend.grant_copy_calls);
		assert_int_equal(stats(disk, 0).grant_maps, backend.grant_maps);
		assert_int_equal(stats(disk, 0).dm_ops, backend.dm_ops);
		th_guest_close(disk);
		th_disk_wait(host, 1, 0, 2);
	}
	th_log_wait(host, "2 runs of a pool", 2);
	assert_int_equal(th_log_count(host, "4 event channels for queues"), 1);
	assert_int_equal(th_log_count(host, "<4>"), 0);
	end(host);
}

/* grantiod is killed, or ended, and the next one goes on: the guest notices nothing. */
static void goes_on(void **state)
{
	const char *dir = th_state_dir(*state);
	const char *arguments[] = {"--state-dir", dir, NULL};
	struct th_host *host = *state;
	const char *image = begin(host, arguments);
	struct gp_disk *disk = opened(host, 1);

	for (unsigned i = 0; i < 4; i++) {
		th_guest_check(disk, image, 0, 65536, i);
		assert_int_equal(WIFSIGNALED(th_grantiod_stop(host, i % 2 ? SIGTERM : SIGKILL)), !(i % 2));
		th_grantiod_start(host, arguments);
		th_guest_check(disk, image, 65536, 65536, 10 + i);
	}
	th_guest_close(disk);
	end(host);
	assert_int_equal(rmdir(dir), 0);
}

/* The message port tells of a new size, which the guest then asks for. */
static void resize(void **state)
{
	struct th_host *host = *state;
	const char *image = begin(host, NULL);
	struct gp_disk *disk = opened(host, 1);

	for (unsigned i = 8; i <= 32; i *= 2) {
		int64_t limit = th_now_ms() + TH_SECONDS * 1000;

		assert_int_equal(truncate(image, (off_t)(i * TH_MIB)), 0);
		while (gp_disk_size(disk) != i * TH_MIB && th_now_ms() < limit)
			sched_yield();
		assert_int_equal(gp_disk_size(disk), i * TH_MIB);
		th_guest_check(disk, image, (i - 1) * TH_MIB, 65536, i);
	}
	th_guest_close(disk);
	end(host);
}

/* `grantio bench` as the guest, in a process of its own. */
static pid_t bench_start(struct th_host *host)
{
	const char *grantio = getenv("GRANTIO");
	pid_t pid;

	assert_non_null(grantio);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		execl(grantio, grantio, "bench", "--machine", host->dir, "--domid", "1", "--transport", "msg", "--time",
		      "60m", (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* A guest that was killed leaves the backend connected: the next one begins anew. */
static void killed_guest(void **state)
{
	struct th_host *host = *state;
	const char *image = begin(host, NULL);
	pid_t pid = bench_start(host);
	struct gp_disk *disk;
	int status;

	th_disk_wait(host, 1, 0, 4);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	disk = opened(host, 1);
	th_guest_check(disk, image, 0, 65536, 1);
	th_guest_close(disk);
	th_log_wait(host, "driven by messages", 2);
	end(host);
}

static void offer_refused(void **state)
{
	static const char *const cases[][3] = {
		{"virtio-msg/draft", "vmsg-0", "domain 1, disk xvda: its backend offers no messages: "},
		{"virtio-msg/revision", "2", "domain 1, disk xvda: cannot connect to its backend by messages: "},
		{"virtio-msg/max-queue-channels", "0",
		 "domain 1, disk xvda: cannot connect to its backend by messages: "},
		{"virtio-msg/pool-max", "-1", "domain 1, disk xvda: cannot connect to its backend by messages: "},
	};
	struct th_host *host = *state;
	const char *image = begin(host, NULL);
	struct gp_disk *disk;
	char error[256];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *right;

		th_disk_wait(host, 1, 0, 2);
		right = th_disk_read(host, 1, 0, cases[i][0]);
		assert_non_null(right);
		th_disk_key(host, 1, 0, cases[i][0], cases[i][1]);
		assert_true(disk_open(host, 1, &disk, error) < 0);
		assert_memory_equal(error, cases[i][2], strlen(cases[i][2]));
		th_disk_key(host, 1, 0, cases[i][0], right);
		free(right);
	}
	disk = opened(host, 1);
	th_guest_check(disk, image, 0, 65536, 1);
	th_guest_close(disk);
	end(host);
}

/* A backend that maps no pool copies from it: the guest sees no difference. */
static void pool_not_mapped(void **state)
{
	struct th_host *host = *state;
	const char *image = begin(host, NULL);
	struct gp_disk *disk;

	th_disk_wait(host, 1, 0, 2);
	th_disk_key(host, 1, 0, "virtio-msg/pool-max", "1023");
	disk = opened(host, 1);
	th_guest_check(disk, image, 0, TH_MIB, 1);
	th_log_wait(host, "0 runs of a pool", 1);
	th_guest_close(disk);
	end(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_but_copies, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(goes_on, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(resize, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(killed_guest, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(offer_refused, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(pool_not_mapped, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
