/* SPDX-License-Identifier: MIT */
/*
 * A disk: the bytes behind a virtio-blk device. Engines: files and block devices, and NBD, both by io_uring.
 *
 * A `struct gd_disk` is opened once per device. Each queue thread opens a `struct gd_disk_queue` on it, with that
 * thread's own io_uring, prepares I/O on it and hands it the completions that carry its tag. Nothing here blocks,
 * except open and close. Buffers are grantiod's own memory; for reads and writes of a disk that is `fenced` they may
 * also be a guest's pool (guestmem/pool.h), whose content may change at any time. No engine looks at data.
 *
 * Errors: 0 or -errno; gd_disk_open() also fills in one line that names the image and what is wrong with it. While the
 * disk is served, the engine logs failures itself (limited in rate), with the image, the offset and the size.
 *
 * Exclusive use: a writable disk has the image for itself alone, and a read-only one shares it with readers. That is
 * done by open file description locks, which QEMU's programs understand (and honour, unless told not to: `qemu-img
 * -U`), and by O_EXCL on block devices.
 *
 * NBD: a queue is a connection. When it is lost, reads and flushes in flight wait for the next connection, and so does
 * I/O of which nothing was sent. I/O that changes the disk and was sent, in part at least, fails with -EIO, and nothing
 * more is known of it: the server may have done it, or not, or may do it later, even after a later write to the same
 * place. I/O that comes meanwhile waits for at most `nbd_reconnect_ms`, and then fails; the queue tries to connect for
 * as long as it is open. If the server may have lost acknowledged writes that were not flushed, the next FLUSH fails,
 * also in a later process (gd_disk_remember()). A silent server is waited for without limit, unless `nbd_timeout_ms`
 * sets one: then its connection is given up, and all I/O in flight on it fails.
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
	bool direct;  /* use O_DIRECT; if the file system has none, the page cache, which is logged */
	bool raw;     /* serve an image that looks like one of another format (disk/format.h) all the same */
	/* NULL-terminated directories; after symbolic links, files and devices must be below one. NULL: anywhere. */
	const char *const *allow;
	/*
	 * For NBD, in milliseconds. When a request has had no answer for `timeout`, the connection is given up; 0:
	 * never. `reconnect` is how long I/O waits for a server that has gone; 0: until it is back. When a request has
	 * had no answer for `silent`, that is logged; 0: after 10 s.
	 */
	unsigned nbd_timeout_ms, nbd_reconnect_ms, nbd_silent_ms;
	/* NULL-terminated list of the NBD servers that may be used: unix:DIR (sockets below it, after symbolic links),
	 * tcp:HOST, tcp:HOST:PORT, all. Anything else allows none. NULL: any. */
	const char *const *nbd_allow;
};

#define GD_DISK_NBD_TIMEOUT_MS	 0u /* by default */
#define GD_DISK_NBD_RECONNECT_MS 5000u

/* What the engine can do. Sizes in bytes. `size` may change: see gd_disk_refresh(). */
struct gd_disk_info {
	uint64_t size;
	uint32_t block_size; /* logical: all offsets and lengths are multiples of it; at least 512 */
	uint32_t physical_size;
	uint32_t align;	       /* alignment that buffers need in memory */
	uint32_t max_transfer; /* of a single read or write; 0: no limit */
	uint64_t max_discard;  /* 0: not supported */
	uint64_t max_write_zeroes;
	uint32_t discard_align;
	bool readonly, flush, multi_queue /* more than one gd_disk_queue may be open */;
	/*
	 * True: as the disk could be opened, no I/O of a former process is still on its way to it, because that holds
	 * the lock of a file or block device until it has ended. If files cannot be locked, it may be on its way; and
	 * an NBD server may still be doing what it got over a connection that has been closed long since.
	 */
	bool fenced;
	bool fixed;	 /* reads and writes may name a registered buffer (struct gd_disk_io) */
	char serial[21]; /* stable for the image; NUL-terminated */
};

enum gd_disk_op { GD_DISK_READ, GD_DISK_WRITE, GD_DISK_FLUSH, GD_DISK_DISCARD, GD_DISK_WRITE_ZEROES };

/* One I/O; the caller's memory, until `done` is called: once, by the queue's thread, perhaps in gd_disk_submit(). */
struct gd_disk_io {
	enum gd_disk_op op;
	bool unmap; /* WRITE_ZEROES: the blocks may be deallocated */
	bool fua;   /* WRITE, WRITE_ZEROES: it is done when the data is on stable storage (write-through) */
	bool own;   /* FLUSH: not the guest's, whose next flush must still fail if writes may be lost */
	uint64_t offset, length; /* bytes; within info.size, multiples of block_size: the caller has checked */
	void *buf;		 /* READ, WRITE: `length` bytes, aligned to info.align */
	/* READ, WRITE, where info.fixed: the buffer registered with the ring in which `buf` lies, from 1 on; 0: none */
	unsigned fixed;
	int result; /* 0 or -errno; short reads and writes are continued, or are -EIO at the image's end */
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
 * Look at the image's size again. True: it has changed, and gd_disk_info() gives the new one. Any thread. An NBD server
 * says its size only when a connection is made: what it said last is taken over here.
 */
bool gd_disk_refresh(struct gd_disk *disk);

/*
 * Call this before a queue is opened. From then on `*unflushed` says whether there are acknowledged writes that no
 * flush has covered. This memory outlives the disk and its process, and a later process gives it to the disk that it
 * opens on the same image: if it is not 0 then, the server may have lost those writes, and the first FLUSH fails. Only
 * NBD uses it: the kernel loses nothing of a file when a process ends. NULL: the disk keeps this in its own memory (the
 * default).
 */
void gd_disk_remember(struct gd_disk *disk, uint32_t *unflushed);
/* True if a later process would have to call acknowledged writes lost, and a flush now prevents that. Any thread. */
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
 * Have all I/O end soon: I/O that waits fails with -ECANCELED, and so does I/O that an NBD server has not answered.
 * File I/O that the system has begun runs to its end. After this only gd_disk_queue_cqe() may be called, until nothing
 * is busy, and then gd_disk_queue_close().
 */
void gd_disk_queue_cancel(struct gd_disk_queue *queue);
/*
 * Nothing may be in flight (see gd_disk_queue_busy), and it may not be called by `done`. Takes NULL. The ring may still
 * hold CQEs with the tag, which the caller drops.
 */
void gd_disk_queue_close(struct gd_disk_queue *queue);

/*
 * Prepare an I/O. After the last one of a batch the caller calls gd_disk_queue_send(), and then submits the ring. An
 * I/O is always accepted: failures arrive through `done`. If the ring has no free SQE, it is submitted once.
 */
void gd_disk_submit(struct gd_disk_queue *queue, struct gd_disk_io *io);
/* The batch is complete: an engine that sends all of it by one system call does so now. */
void gd_disk_queue_send(struct gd_disk_queue *queue);
void gd_disk_queue_cqe(struct gd_disk_queue *queue, struct io_uring_cqe *cqe);
unsigned gd_disk_queue_busy(const struct gd_disk_queue *queue); /* in flight */
/*
 * Maximum of completions of the ring that the I/O in flight will cause: one per I/O, or one for all, as with NBD, where
 * a completion says that the connection has answers. To wait for more would be to wait for ever.
 */
unsigned gd_disk_queue_events(const struct gd_disk_queue *queue);

#endif
