/* SPDX-License-Identifier: MIT */
/*
 * A rig for tests of the disk room: a directory that goes away, a disk with one queue on a ring of its own, what was
 * logged, servers that are children of the test, and an oracle for descriptors that stayed open.
 */
#ifndef TEST_DISK_RIG_H
#define TEST_DISK_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/types.h>

#include "backend/disk/disk.h"

#define RIG_DEPTH 64
#define RIG_TAG	  0x5a
#define RIG_LIMIT 60 /* seconds that any wait may take */

struct disk_rig {
	char dir[64];
	char path[128]; /* of the image made last */
	char uri[192];	/* of the server started last */
	char socket[96];
	char error[256]; /* of the open that failed last */
	struct gd_log log;
	struct gd_disk *disk;
	struct gd_disk_info info;
	struct gd_disk_queue *queue;
	struct io_uring ring;
	unsigned ring_entries, ring_flags;
	unsigned timeout_ms, reconnect_ms, silent_ms; /* of the next disk that is opened (NBD) */
	uint32_t *unflushed;			      /* the next disk that is opened remembers here; NULL: in itself */
	pid_t server;
	int fds, stderr_saved, stderr_log;
	char *area; /* aligned memory for I/O */
	size_t area_bytes;
};

enum rig_flags { RIG_READONLY = 1, RIG_DISCARD = 2, RIG_BUFFERED = 4 };

int rig_setup(void **state);
int rig_teardown(void **state); /* closes all, kills the server, checks that no descriptor stayed */

/* A file of `bytes` bytes, filled with a pattern of its offsets, at rig->path. */
void rig_image(struct disk_rig *rig, const char *name, uint64_t bytes);
/* The bytes that it takes up in its file system. */
uint64_t rig_image_used(const struct disk_rig *rig);
void rig_image_read(struct disk_rig *rig, void *out, uint64_t offset, size_t length);

/* Use a ring as grantiod's from now on: one thread, and nothing happens but when it asks. Skips the test without it. */
void rig_ring_deferred(struct disk_rig *rig);
int rig_disk_open(struct disk_rig *rig, const char *target, unsigned flags); /* the disk alone */
int rig_open(struct disk_rig *rig, const char *target, unsigned flags);	     /* with ring and queue */
void rig_close(struct disk_rig *rig);

/* One I/O, waited for. */
int rig_io(struct disk_rig *rig, enum gd_disk_op op, uint64_t offset, uint64_t length, void *buf);
int rig_run(struct disk_rig *rig, struct gd_disk_io *io);
void rig_submit(struct disk_rig *rig, struct gd_disk_io *io); /* submits the ring too */
void rig_wait_idle(struct disk_rig *rig);		      /* until nothing is in flight; fails after RIG_LIMIT */
void rig_poll(struct disk_rig *rig, unsigned milliseconds);   /* at most one wait; handles what came */
void rig_done(struct gd_disk_io *io);			      /* a `done` that counts in rig_done_count */
extern unsigned rig_done_count;

/* Random reads, writes, zeroes, discards and flushes, RIG_DEPTH in flight, each checked against a shadow; then all of
 * it. */
void rig_random(struct disk_rig *rig, unsigned seed, unsigned operations);

/* The SQE prepared last, where nothing is submitted; and its completion, as the kernel would give it. */
const struct io_uring_sqe *rig_sqe(const struct disk_rig *rig);
void rig_sqe_answer(struct disk_rig *rig, int result);

/* A loop device on rig->path: a descriptor, or -1 where that is not permitted. It goes when its last user closes it. */
int rig_loop(struct disk_rig *rig, unsigned block_size, uint32_t flags, char *name, size_t size);
/* The flags of the descriptor that has rig->path open (proc_pid_fdinfo(5)); -1: there is none. */
int rig_open_flags(const struct disk_rig *rig);

/* How many logged lines have this in them. */
unsigned rig_logged(struct disk_rig *rig, const char *text);
unsigned rig_log_lines(struct disk_rig *rig);

/* Let the queue work until `text` was logged; fails after RIG_LIMIT. */
void rig_log_await(struct disk_rig *rig, const char *text);

/* nbdkit, in the foreground, with these arguments. */
#define NBDKIT(...) ((const char *const[]){"nbdkit", "-f", "--exit-with-parent", __VA_ARGS__, NULL})

/* Listen at a Unix socket in the rig's directory and have a program serve NBD there (socket activation). */
void rig_server(struct disk_rig *rig, const char *const *argv);
/* The same on TCP, 127.0.0.1. */
void rig_server_tcp(struct disk_rig *rig, const char *const *argv);
/* Open the disk of the server that was started last, which must work. */
void rig_open_uri(struct disk_rig *rig, unsigned flags);
void rig_server_kill(struct disk_rig *rig);
void rig_server_stop(struct disk_rig *rig); /* by SIGSTOP; when it returns, all of it stands still */
void rig_server_wait(struct disk_rig *rig); /* until it has ended by itself; fails after RIG_LIMIT */
/* Run a program to its end, output discarded; its exit status, -1 if it could not be run. */
int rig_command(const char *const *argv);
double rig_now(void);

#endif
