/* SPDX-License-Identifier: MIT */
/*
 * One run of `grantio bench`: opens the disk as its guest, runs the load, watches it, and reports. The load itself runs
 * in the disk's interrupt thread; this thread only waits.
 */
#include "cli/bench/bench.h"
#include "cli/bench/primitives.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define WAIT_MS 10000

/* A terminal sees the figures each second; a log sees them now and then. */
#define PLAIN_SECONDS 5

/* No completion for so long: the backend is gone. */
#define STALL_SECONDS 30

/* One run and what watches it. */
struct bench {
	struct gc_bench_config config;
	struct gp_disk *disk;
	struct gc_load *load; /* NULL until it is made: read by the interrupt thread */
	struct gc_bench_report report;
	char device[64];
	char error[256];
	int signals, timer;
	bool tty;
	unsigned ticks, quiet; /* seconds since the start; without a completion */
	uint64_t last_requests;
};

/* ---- what is seen meanwhile --------------------------------------------------------------------------------- */

/* The line is overwritten by the next one, or by the report, without leaving rests. */
static void progress_clear(const struct bench *bench)
{
	if (bench->tty)
		fputs("\r\033[K", stderr);
}

/* To a terminal each second, over the last line; to a file every PLAIN_SECONDS, since each line stays there. */
static void progress(struct bench *bench, const struct gc_load_result *now)
{
	uint64_t recent = now->requests - bench->last_requests;

	bench->ticks++;
	if (!bench->tty && bench->ticks % PLAIN_SECONDS)
		return;
	progress_clear(bench);
	fprintf(stderr, "%4u s  %9llu IOPS  %8.1f MiB/s  %llu requests%s", bench->ticks,
		(unsigned long long)recent / (bench->tty ? 1 : PLAIN_SECONDS),
		(double)recent * bench->config.bs / (1 << 20) / (bench->tty ? 1 : PLAIN_SECONDS),
		(unsigned long long)now->requests, bench->tty ? "" : "\n");
	fflush(stderr);
	bench->last_requests = now->requests;
}

/* ---- waiting ------------------------------------------------------------------------------------------------ */

/* Signals come by descriptor, so that Ctrl-C ends the load in order and its figures are still printed. */
static int watch_open(struct bench *bench)
{
	const struct itimerspec second = {.it_interval = {.tv_sec = 1}, .it_value = {.tv_sec = 1}};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	bench->tty = isatty(STDERR_FILENO);
	bench->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	bench->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (bench->signals < 0 || bench->timer < 0 || timerfd_settime(bench->timer, 0, &second, NULL))
		return gc_fail("waiting for the load: %s", strerror(errno));
	return GC_OK;
}

static void watch_close(struct bench *bench)
{
	if (bench->signals >= 0)
		close(bench->signals);
	if (bench->timer >= 0)
		close(bench->timer);
}

/* The first one asks for the figures so far; from then on they do what they always do: they end the program. */
static void on_signal(struct bench *bench)
{
	struct signalfd_siginfo info;
	sigset_t set;

	if (read(bench->signals, &info, sizeof(info)) != sizeof(info))
		return;
	bench->report.interrupted = true;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	gc_load_stop(bench->load);
}

/* A second has passed. False: the backend does not answer. */
static bool on_timer(struct bench *bench, uint64_t *seen)
{
	struct gc_load_result now;
	uint64_t ticks;

	if (read(bench->timer, &ticks, sizeof(ticks)) != sizeof(ticks))
		return true;
	gc_load_result(bench->load, &now, NULL);
	bench->quiet = now.requests + now.verified == *seen ? bench->quiet + 1 : 0;
	*seen = now.requests + now.verified;
	progress(bench, &now);
	return bench->quiet < STALL_SECONDS;
}

/* Until the load has ended. False: it never will. */
static bool watch(struct bench *bench)
{
	struct pollfd wait[] = {
		{.fd = gc_load_fd(bench->load), .events = POLLIN},
		{.fd = bench->signals, .events = POLLIN},
		{.fd = bench->timer, .events = POLLIN},
	};
	uint64_t seen = 0;
	bool alive = true;

	bench->quiet = 0;
	while (alive && !wait[0].revents) {
		if (poll(wait, 3, -1) < 0 && errno != EINTR)
			return false;
		if (wait[1].revents)
			on_signal(bench);
		if (wait[2].revents)
			alive = on_timer(bench, &seen);
	}
	progress_clear(bench);
	return alive;
}

/* ---- the run ------------------------------------------------------------------------------------------------ */

/* A disk that cannot be had is a failure; a load that the disk cannot take is a wrong command line. */
static int open_all(struct bench *bench)
{
	const struct gc_bench_config *config = &bench->config;
	const struct gp_disk_config disk = {
		.machine = config->machine,
		.domid = config->domid,
		.name = config->disk,
		.queues = config->queues,
		.queue_size = config->queue_size,
		.messages = config->messages,
		.wait_ms = WAIT_MS,
		.timeout_ms = STALL_SECONDS * 1000,
		.reaped = gc_load_reaped,
		.opaque = &bench->load,
	};
	int err = gp_disk_open(&bench->disk, &disk, bench->error, sizeof(bench->error));

	if (err)
		return gc_fail("%s", bench->error);
	err = gc_load_open(&bench->load, bench->disk, config, bench->error, sizeof(bench->error));
	if (err == -EINVAL)
		return gc_usage("%s", bench->error);
	return err ? gc_fail("%s", bench->error) : GC_OK;
}

/*
 * The disk as grantiod names it, "d1/xvda": a device number is the word for a name (Xen's docs/misc/vbd-interface), of
 * which only xvda to xvdp are spelt out here.
 */
static void name_device(struct bench *bench)
{
	unsigned domid = bench->config.domid, devid = gp_disk_place(bench->disk)->devid;

	if (devid >> 8 == 202 && !(devid & 15))
		snprintf(bench->device, sizeof(bench->device), "d%u/xvd%c", domid, 'a' + (devid >> 4 & 15));
	else
		snprintf(bench->device, sizeof(bench->device), "d%u/%u", domid, devid);
}

/* What the report says of the disk is read when it is open, since the device chooses ring size and queues. */
static void describe(struct bench *bench)
{
	struct gc_bench_report *report = &bench->report;
	struct gio_blk_info info;

	name_device(bench);
	gp_disk_info(bench->disk, &info);
	report->config = &bench->config;
	report->disk_bytes = gp_disk_size(bench->disk);
	report->queues = info.queues;
	report->queue_size = info.queue_size;
	report->block_size = info.block_size;
	report->device = bench->device;
}

/* A read that returns other data than this run wrote has an error of its own, as no device reports it. */
static int load_error(const struct gc_load_result *load, const struct gc_bench_config *config)
{
	if (load->error == -EILSEQ)
		return gc_fail("%u bytes at %llu: not what this run wrote there", config->bs,
			       (unsigned long long)load->error_offset);
	return gc_fail("%s of %u bytes at %llu: %s", load->error_write ? "write" : "read", config->bs,
		       (unsigned long long)load->error_offset, strerror(-load->error));
}

/* From start to end, with the counters around it; then the readback. */
static int run_load(struct bench *bench)
{
	struct gc_bench_report *report = &bench->report;
	const struct gc_bench_config *config = &bench->config;
	struct gc_cost before;

	if (gc_cost_read(&before, bench->disk, config->control, bench->device, bench->error, sizeof(bench->error)))
		return gc_fail("%s", bench->error);
	gc_load_start(bench->load);
	if (!watch(bench))
		goto stalled;
	if (gc_cost_read(&report->cost, bench->disk, config->control, bench->device, bench->error,
			 sizeof(bench->error)))
		return gc_fail("%s", bench->error);
	gc_cost_since(&report->cost, &before);
	if (config->verify && !report->interrupted && !gc_load_readback(bench->load) && !watch(bench))
		goto stalled;
	gc_load_result(bench->load, &report->load, &report->latency);
	return report->load.error ? load_error(&report->load, config) : GC_OK;

stalled:
	/* A guest cannot leave its device in order when nobody answers; the machine's keeper cleans up after the
	 * process. */
	exit(gc_fail("no completion for %u s: is the backend alive?", STALL_SECONDS));
}

/*
 * The load's buffers are guest memory: they are given back after the device has stopped, and before the guest ends.
 * What is not given back is a leak of the backend's or ours, and fails the run.
 */
static int close_all(struct bench *bench, int code)
{
	struct gp_disk_leaks leaks;

	if (bench->disk)
		gp_disk_stop(bench->disk);
	gc_load_close(bench->load);
	if (gp_disk_close(bench->disk, &leaks))
		code = gc_fail("not given back: %u grants (%u held by the backend), %zu pages", leaks.grants,
			       leaks.held, leaks.pages);
	return code;
}

static int primitives_run(const struct gc_bench_config *config)
{
	const struct gc_primitives_config primitives = {
		.machine = config->machine, .domid = config->domid, .disk = config->disk, .json = config->json};

	return gc_primitives_run(&primitives);
}

/* Whatever fails, what was opened is closed: a guest that leaves grants behind would block its domain. */
static int bench_run(int argc, char **argv)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	int code;

	if (!bench)
		return gc_fail("no memory");
	bench->signals = bench->timer = -1;
	code = gc_bench_args(&bench->config, argc, argv);
	if (!code && bench->config.primitives) {
		code = primitives_run(&bench->config);
		free(bench);
		return code;
	}
	if (!code)
		code = watch_open(bench);
	if (!code)
		code = open_all(bench);
	if (!code) {
		describe(bench);
		code = run_load(bench);
	}
	if (!code && bench->config.json)
		gc_report_json(stdout, &bench->report);
	else if (!code)
		gc_report_text(stdout, &bench->report);
	code = close_all(bench, code);
	watch_close(bench);
	free(bench);
	return code;
}

const struct gc_command gc_bench_command = {
	.name = "bench",
	.summary = "Drive a guest's disk, and say how fast it was and what it cost",
	.options = gc_bench_options,
	.details = "grantio is the guest for as long as the command runs, and uses the guest library's driver. No "
		   "other program\n"
		   "can be that guest in the meantime.\n"
		   "THE --rw MODES THAT WRITE DESTROY WHAT IS ON THE DISK.\n"
		   "The costs are taken from the machine's counters of both domains: other work on them is counted as "
		   "well.\n"
		   "Ctrl-C ends the run and prints the figures so far.\n"
		   "--primitives runs in dom0, or in another domain of real Xen, or on the model: 'grantio model exec "
		   "grantio\n"
		   "bench --primitives'. With --domid it is also that guest of the model, for an ioreq.\n",
	.run = bench_run,
};
