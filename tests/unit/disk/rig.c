/* SPDX-License-Identifier: MIT */
#include "tests/unit/disk/rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define AREA_BYTES (4u << 20)

unsigned rig_done_count;

double rig_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int rig_setup(void **state)
{
	struct disk_rig *rig = calloc(1, sizeof(*rig));
	char log[96];

	if (!rig)
		return -1;
	rig->fds = fds_open();
	rig->ring_entries = 2 * RIG_DEPTH;
	rig->reconnect_ms = GD_DISK_NBD_RECONNECT_MS;
	strcpy(rig->dir, "/var/tmp/gd-disk-XXXXXX"); /* /tmp may have no O_DIRECT */
	if (!mkdtemp(rig->dir))
		return -1;
	gd_log_init(&rig->log, 1, "xvda");
	snprintf(log, sizeof(log), "%s/log", rig->dir);
	rig->stderr_log = open(log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	rig->stderr_saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(rig->stderr_log, STDERR_FILENO);
	rig->area_bytes = AREA_BYTES;
	rig->area = aligned_alloc(4096, AREA_BYTES);
	rig_done_count = 0;
	*state = rig;
	return rig->area ? 0 : -1;
}

static void dir_remove(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char name[512];

	while (dir && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) && (errno == EISDIR || errno == EPERM))
			dir_remove(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

/* What cmocka had to say went to where stderr was: the lines that are not grantiod's. */
static void failures_show(const struct disk_rig *rig)
{
	char log[65536], *line, *rest;
	ssize_t n = pread(rig->stderr_log, log, sizeof(log) - 1, 0);

	log[n > 0 ? n : 0] = 0;
	for (line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (line[0] != '<' || getenv("RIG_LOG"))
			fprintf(stderr, "%s\n", line);
}

int rig_teardown(void **state)
{
	struct disk_rig *rig = *state;
	int fds, before = rig->fds;

	rig_close(rig);
	rig_server_kill(rig);
	dup2(rig->stderr_saved, STDERR_FILENO);
	failures_show(rig);
	close(rig->stderr_saved);
	close(rig->stderr_log);
	dir_remove(rig->dir);
	free(rig->area);
	free(rig);
	fds = fds_open();
	if (fds != before) {
		fprintf(stderr, "descriptors: %d before, %d after\n", before, fds);
		return -1;
	}
	return 0;
}

void rig_image(struct disk_rig *rig, const char *name, uint64_t bytes)
{
	uint64_t offset, i;
	int fd;

	snprintf(rig->path, sizeof(rig->path), "%s/%s", rig->dir, name);
	fd = open(rig->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (offset = 0; offset < bytes; offset += AREA_BYTES) {
		size_t n = bytes - offset < AREA_BYTES ? bytes - offset : AREA_BYTES;

		for (i = 0; i < n; i += 8)
			*(uint64_t *)(void *)(rig->area + i) = (offset + i) * 0x9e3779b97f4a7c15u + 1;
		assert_int_equal(pwrite(fd, rig->area, n, (off_t)offset), n);
	}
	close(fd);
}

uint64_t rig_image_used(const struct disk_rig *rig)
{
	struct stat st;

	assert_int_equal(stat(rig->path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

void rig_image_read(struct disk_rig *rig, void *out, uint64_t offset, size_t length)
{
	int fd = open(rig->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, out, length, (off_t)offset), length);
	close(fd);
}

void rig_ring_deferred(struct disk_rig *rig)
{
	struct io_uring probe;

	rig->ring_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	if (io_uring_queue_init(2, &probe, rig->ring_flags)) {
		print_message("no deferred task work in this kernel: skipped\n");
		skip();
	}
	io_uring_queue_exit(&probe);
}

int rig_disk_open(struct disk_rig *rig, const char *target, unsigned flags)
{
	struct gd_disk_config config = {
		.target = target,
		.readonly = flags & RIG_READONLY,
		.discard = flags & RIG_DISCARD,
		.direct = !(flags & RIG_BUFFERED),
		.nbd_timeout_ms = rig->timeout_ms,
		.nbd_reconnect_ms = rig->reconnect_ms,
		.nbd_silent_ms = rig->silent_ms,
	};
	int result = gd_disk_open(&rig->disk, &config, &rig->log, rig->error, sizeof(rig->error));

	if (result)
		rig->disk = NULL;
	else
		gd_disk_info(rig->disk, &rig->info);
	return result;
}

int rig_open(struct disk_rig *rig, const char *target, unsigned flags)
{
	int result = rig_disk_open(rig, target, flags);

	if (result)
		return result;
	if (rig->unflushed)
		gd_disk_remember(rig->disk, rig->unflushed);
	assert_int_equal(io_uring_queue_init(rig->ring_entries, &rig->ring, rig->ring_flags), 0);
	result = gd_disk_queue_open(&rig->queue, rig->disk, &rig->ring, RIG_TAG, RIG_DEPTH);
	if (result) {
		io_uring_queue_exit(&rig->ring);
		gd_disk_close(rig->disk);
		rig->disk = NULL;
		rig->queue = NULL;
	}
	return result;
}

void rig_close(struct disk_rig *rig)
{
	if (rig->queue) {
		gd_disk_queue_close(rig->queue);
		io_uring_queue_exit(&rig->ring);
	}
	gd_disk_close(rig->disk);
	rig->queue = NULL;
	rig->disk = NULL;
}

void rig_done(struct gd_disk_io *io)
{
	(void)io;
	rig_done_count++;
}

void rig_poll(struct disk_rig *rig, unsigned milliseconds)
{
	struct __kernel_timespec limit = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000ll};
	struct io_uring_cqe *cqe;

	gd_disk_queue_send(rig->queue);
	io_uring_submit_and_wait_timeout(&rig->ring, &cqe, 1, &limit, NULL);
	while (!io_uring_peek_cqe(&rig->ring, &cqe)) {
		struct io_uring_cqe copy;

		memcpy(&copy, cqe, sizeof(copy));
		io_uring_cqe_seen(&rig->ring, cqe);
		if (copy.user_data >> 56 == RIG_TAG) /* else the wait's own timeout */
			gd_disk_queue_cqe(rig->queue, &copy);
	}
}

void rig_wait_idle(struct disk_rig *rig)
{
	double end = rig_now() + RIG_LIMIT;

	while (gd_disk_queue_busy(rig->queue)) {
		rig_poll(rig, 1000);
		if (rig_now() > end)
			fail_msg("%u I/Os are in flight after %d s", gd_disk_queue_busy(rig->queue), RIG_LIMIT);
	}
}

void rig_submit(struct disk_rig *rig, struct gd_disk_io *io)
{
	io->done = rig_done;
	gd_disk_submit(rig->queue, io);
	gd_disk_queue_send(rig->queue);
	io_uring_submit(&rig->ring);
}

int rig_run(struct disk_rig *rig, struct gd_disk_io *io)
{
	unsigned before = rig_done_count;

	rig_submit(rig, io);
	rig_wait_idle(rig);
	assert_int_equal(rig_done_count, before + 1);
	return io->result;
}

int rig_io(struct disk_rig *rig, enum gd_disk_op op, uint64_t offset, uint64_t length, void *buf)
{
	struct gd_disk_io io = {.op = op, .offset = offset, .length = length, .buf = buf};

	return rig_run(rig, &io);
}

unsigned rig_logged(struct disk_rig *rig, const char *text)
{
	char log[65536], *line, *rest;
	ssize_t n = pread(rig->stderr_log, log, sizeof(log) - 1, 0);
	unsigned found = 0;

	assert_true(n >= 0);
	log[n] = 0;
	for (line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		found += strstr(line, text) != NULL;
	return found;
}

unsigned rig_log_lines(struct disk_rig *rig)
{
	return rig_logged(rig, "");
}
