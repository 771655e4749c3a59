/* SPDX-License-Identifier: MIT */
/* What the rig does in the kernel's place, and asks of it. */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The SQE prepared last; nothing here is submitted. */
const struct io_uring_sqe *rig_sqe(const struct disk_rig *rig)
{
	const struct io_uring_sq *sq = &rig->ring.sq;

	assert_int_not_equal(sq->sqe_tail, sq->sqe_head);
	return &sq->sqes[(sq->sqe_tail - 1) & (rig->ring_entries - 1)];
}

void rig_sqe_answer(struct disk_rig *rig, int result)
{
	union {
		struct io_uring_cqe cqe;
		char bytes[sizeof(struct io_uring_cqe)];
	} answer = {.bytes = {0}};

	answer.cqe.user_data = rig_sqe(rig)->user_data;
	answer.cqe.res = result;
	gd_disk_queue_cqe(rig->queue, &answer.cqe);
}

/* A loop device on rig->path; its name, or NULL where that is not permitted. It goes when its last user closes it. */
int rig_loop(struct disk_rig *rig, unsigned block_size, uint32_t flags, char *name, size_t size)
{
	struct loop_config config = {.block_size = block_size, .info = {.lo_flags = flags | LO_FLAGS_AUTOCLEAR}};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, fd = -1;

	number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(name, size, "/dev/loop%d", number);
	if (number >= 0)
		fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		config.fd = (uint32_t)open(rig->path, (flags & LO_FLAGS_READ_ONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (!ioctl(fd, LOOP_CONFIGURE, &config)) {
			close((int)config.fd);
			return fd;
		}
		close((int)config.fd);
		close(fd);
	}
	print_message("loop device %s: %s: skipped\n", name, strerror(errno));
	return -1;
}

/* The flags of the descriptor that has the image open (proc_pid_fdinfo(5)). */
int rig_open_flags(const struct disk_rig *rig)
{
	char link[64], path[256], line[64];
	int fd, flags = -1;

	for (fd = 3; fd < 256 && flags < 0; fd++) {
		ssize_t n;
		FILE *file;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path) - 1);
		if (n < 0)
			continue;
		path[n] = '\0';
		if (strcmp(path, rig->path))
			continue;
		snprintf(link, sizeof(link), "/proc/self/fdinfo/%d", fd);
		file = fopen(link, "re");
		assert_non_null(file);
		while (fgets(line, sizeof(line), file))
			if (!strncmp(line, "flags:", 6))
				flags = (int)strtol(line + 6, NULL, 8);
		fclose(file);
	}
	return flags;
}
