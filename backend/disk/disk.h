/* SPDX-License-Identifier: MIT */
/*
 * A disk: the bytes behind a virtio-blk device. Engines: file and block device by io_uring, NBD by libnbd.
 *
 * A `struct gd_disk` is opened once for a device. Each queue thread opens a `struct gd_disk_queue` on it, with that
 * thread's own io_uring, prepares I/O on it and hands it the completions that carry its tag. Nothing here blocks,
 * except open and close. Guest memory never comes here: buffers are grantiod's own.
 *
 * Errors: 0 or -errno; gd_disk_open() also fills one line that names the image and what is wrong with it. What goes
 * wrong while the disk is served is logged by the engine (limited in rate), naming the image, the offset and the size;
 * the caller need not.
 *
 * Exclusive use: a writable disk takes the image for itself alone, a read-only one shares it with readers, by open file
 * description locks that QEMU's programs understand (and honour, unless told not to: `qemu-img -U`), and by O_EXCL on
 * block devices.
 *
 * NBD: a queue is a connection. When it is lost, reads and flushes in flight wait for the next one. What changes the
 * disk and was in flight fails with -EIO, and that is all that can be known of it: the server may have done it, or not,
 * or may do it later, even after a later write to the same place. I/O that comes meanwhile waits (`nbd_reconnect_ms`)
 * and then fails; connecting again is tried for as long as the queue is open. If the server may have lost acknowledged
 * writes that were not flushed, the next FLUSH fails, be it in a later process (gd_disk_remember()). A server that is
 * silent is waited for, unless `nbd_timeout_ms` sets a limit: then its connection is given up, and all that is in
 * flight on it fails.
 *
 * Not defended: an image that others write to without regard to locks; an NBD server that lies about what it stored.
 */
#ifndef GD_DISK_H
#define GD_DISK_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/base/log.h"

struct gd_disk_config {
	const char *target; /* absolute path, nbd://host[:port]/export, nbd+unix:///export?socket=path; copied */
	bool readonly;
	bool discard; /* discard-enable */
	bool direct;  /* try O_DIRECT (falls back where the file system has none, with a note) */
	bool raw;     /* serve an image that looks like one of another format (disk/format.h) all the same */
	/* NULL-terminated directories that files and devices must lie under, after symbolic links; NULL: any. Not for
	 * NBD. */
	const char *const *allow;
	/*
	 * NBD, in milliseconds. After `timeout` without an answer to a request the connection is given up; 0: never.
	 * `reconnect` is how long I/O waits for a server that is gone; 0: until it is back. `silent` is how long a
	 * request has no answer before a line says so; 0: 10 s.
	 */
	unsigned nbd_timeout_ms, nbd_reconnect_ms, nbd_silent_ms;
	/* NULL-terminated: NBD servers that may be used, as unix:DIR (sockets under it, after symbolic links),
	 * tcp:HOST, tcp:HOST:PORT; all; whatever else allows nothing. NULL: any. */
	const char *const *nbd_allow;
};

#define GD_DISK_NBD_TIMEOUT_MS	 0u /* by default */
#define GD_DISK_NBD_RECONNECT_MS 5000u

/* What the engine can do. Sizes in bytes. `size` may change: see gd_disk_refresh(). */
struct gd_disk_info {
	uint64_t size;
	uint32_t block_size; /* logical: every offset and length is a multiple; 512 at least */
	uint32_t physical_size;
	uint32_t align;	       /* alignment that buffers need in memory */
	uint32_t max_transfer; /* longest single read or write, 0: no limit */
	uint64_t max_discard;  /* 0: cannot */
	uint64_t max_write_zeroes;
	uint32_t discard_align;
	bool readonly, flush, multi_queue /* more than one gd_disk_queue may be open */;
	/*
	 * That the disk could be opened proves that no I/O of a former process is still on its way to it: the lock of a
	 * file or block device is held until the last one has ended. Where files cannot be locked nothing proves it,
	 * and an NBD server does not: it may still be at work on what a connection brought that has been closed long
	 * since.
	 */
	bool fenced;
	char serial[21]; /* stable for the image; NUL-terminated */
};

enum gd_disk_op { GD_DISK_READ, GD_DISK_WRITE, GD_DISK_FLUSH, GD_DISK_DISCARD, GD_DISK_WRITE_ZEROES };

/* One I/O; the caller's memory, until `done` has run (exactly once, in the queue's thread, maybe within submit). */
struct gd_disk_io {
	enum gd_disk_op op;
	bool unmap;		 /* WRITE_ZEROES: deallocating is fine */
	bool fua;		 /* WRITE, WRITE_ZEROES: on stable storage when done (write-through) */
	bool own;		 /* FLUSH: not the guest's, whose next flush must still fail if writes may be lost */
	uint64_t offset, length; /* bytes; within info.size, multiples of block_size: the caller has checked */
	void *buf;		 /* READ, WRITE: `length` bytes, aligned to info.align */
	int result;		 /* 0 or -errno; short reads and writes are continued, or are -EIO at the image's end */
	void (*done)(struct gd_disk_io *io);
	/* the engine's */
	uint64_t progress;
	uint32_t cookie;
	uint8_t again;
	struct gd_disk_io *next;
};

struct gd_disk;
struct gd_disk_queue;

/*
 * Open an image; blocks, for NBD at most 5 s. `log` outlives the disk and may be NULL; `error` (`size` bytes) gets one
 * line "target: what is wrong", without a newline, and is empty on success. -ENOTCONN: its NBD server is not there, or
 * does not answer, which may be otherwise later.
 */
int gd_disk_open(struct gd_disk **disk, const struct gd_disk_config *config, struct gd_log *log, char *error,
		 size_t size);
void gd_disk_close(struct gd_disk *disk); /* all queues closed before; takes NULL */
void gd_disk_info(const struct gd_disk *disk, struct gd_disk_info *info);
/*
 * Look at the image's size again; true when it changed, and then gd_disk_info() tells it. Any thread. An NBD server
 * tells its size only when a connection is made: what the latest one told is taken over here.
 */
bool gd_disk_refresh(struct gd_disk *disk);

/*
 * Before queues are opened: keep in `*unflushed` whether there are acknowledged writes that no flush has covered. This
 * memory outlives the disk and its process, and is given to the disk that is opened on the same image after them: if it
 * is not 0 then, the server may have lost those writes, and the first FLUSH fails. Only NBD has a use for it: what was
 * written to a file is the kernel's, which loses nothing when a process ends. NULL: keep it in the disk (the default).
 */
void gd_disk_remember(struct gd_disk *disk, uint32_t *unflushed);
/* A flush would now cover acknowledged writes that a later process would have to call lost. Any thread. */
bool gd_disk_unflushed(const struct gd_disk *disk);

/*
 * `ring` is the calling thread's and outlives the queue; all of the queue, its close included, is for that thread alone
 * (the ring may have a single issuer and deferred task work). The queue's SQEs carry user_data with `tag` in the top 8
 * bits; the caller passes every CQE with that tag to gd_disk_queue_cqe(). `depth`: most I/Os in flight, up to 32768;
 * more than these wait within the queue. NBD connects here, which blocks until 8 s after gd_disk_open() began, or for 3
 * s if it is later than that, and leaves SQEs to be submitted; -ENOTCONN as from gd_disk_open().
 */
int gd_disk_queue_open(struct gd_disk_queue **queue, struct gd_disk *disk, struct io_uring *ring, uint8_t tag,
		       unsigned depth);
/*
 * Make what is in flight end soon: what waits fails with -ECANCELED, and so does what an NBD server has not answered.
 * File I/O that the system has begun runs to its end. Then only gd_disk_queue_cqe() until nothing is busy, and close.
 */
void gd_disk_queue_cancel(struct gd_disk_queue *queue);
/*
 * Nothing may be in flight (see gd_disk_queue_busy), and not from within `done`. Takes NULL. The ring may still hold
 * CQEs with the tag: drop them.
 */
void gd_disk_queue_close(struct gd_disk_queue *queue);

/*
 * Prepare an I/O; the caller submits the ring afterwards (once a batch). Always accepts: failures arrive through
 * `done`. If the ring has no free SQE, submits it once and goes on.
 */
void gd_disk_submit(struct gd_disk_queue *queue, struct gd_disk_io *io);
void gd_disk_queue_cqe(struct gd_disk_queue *queue, struct io_uring_cqe *cqe);
unsigned gd_disk_queue_busy(const struct gd_disk_queue *queue); /* in flight */
/*
 * How many completions of the ring announce what is in flight, at the most: one for each I/O, or one for all of them,
 * as with NBD, where it says that the connection has answers. Who waits for more than these waits in vain.
 */
unsigned gd_disk_queue_events(const struct gd_disk_queue *queue);

#endif
