/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk driver over grants (virtio 1.2, section 5.2), which reaches its device by virtio-mmio version 2 (4.2),
 * or by messages and event channels (grantio/virtio_msg.h).
 *
 * Every buffer the device sees is mapped by grantio/dma.h, or copied through a pool (grantio/pool.h); the device must
 * offer VERSION_1 and ACCESS_PLATFORM, or it is refused (-GIO_ENODEV): there is no falling back to guest addresses.
 *
 * Threads: gio_blk_submit/kick/poll may be called at once on any queue; each queue has one lock. gio_blk_interrupt is
 * for one thread (the interrupt handler). `done` runs in the thread that reaps, without locks held.
 * Errors: 0 or -GIO_E*. What the device writes is never trusted: a used entry that is wrong marks the device broken,
 * and every request in flight completes with -GIO_EPROTO.
 * What the backend sees: its rings, headers, status bytes and indirect tables, in pages that hold nothing else and stay
 * granted while the device is open; and data buffers. With a pool these are copies that lie in the pool, and nothing
 * else is granted; a read is copied out when it has succeeded. Without, they are the caller's own pages, from submit
 * until completion (before `done` runs their grants have ended), read-only if the device is to read; bytes beside a
 * buffer in its first and last 4 KiB unit are visible with it (grantio/dma.h).
 * Not defended: the device owns the disk. It may lie about what it has read or written, and may never answer.
 */
#ifndef GRANTIO_VIRTIO_BLK_H
#define GRANTIO_VIRTIO_BLK_H

#include <grantio/dma.h>
#include <grantio/pool.h>
#include <grantio/types.h>
#include <grantio/virtio_msg.h>

#define GIO_BLK_SECTOR	 512u
#define GIO_BLK_ID_BYTES 20u

struct gio_blk_config {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_pool *pool; /* of this device alone, for the same backend; outlives it. NULL: direct grants */
	gio_domid_t backend;   /* the domain that serves the device */
	struct gio_msg_connection *connection; /* to the device; outlives the driver. NULL: it has registers */
	uint64_t base;			       /* the registers' guest-physical address */
	unsigned queues;		       /* wanted; the device may have fewer. 0: one */
	unsigned queue_size; /* wanted, a power of two from 4 on; the device may have fewer. 0: its own, up to 1024 */
	bool indirect;	   /* use indirect descriptors if offered (small requests; tables are granted once, at open) */
	bool no_event_idx; /* do not accept VIRTIO_F_EVENT_IDX */
};

struct gio_blk_info {
	uint64_t capacity;	   /* sectors of 512 bytes */
	uint32_t block_size;	   /* logical block size in bytes */
	uint32_t size_max;	   /* largest segment in bytes, 0: no limit */
	uint32_t seg_max;	   /* most segments in a request, at least 1 */
	uint32_t pages_max;	   /* with a pool: most pages in a request; each segment counts as whole ones */
	uint32_t max_discard;	   /* sectors per DISCARD, 0: not offered */
	uint32_t max_write_zeroes; /* sectors per WRITE_ZEROES, 0: not offered */
	uint8_t physical_exp;	   /* log2 of logical blocks per physical block */
	bool readonly;		   /* WRITE, DISCARD and WRITE_ZEROES are refused with -GIO_EROFS */
	bool flush;		   /* FLUSH is offered */
	bool writeback;		   /* completed writes need a FLUSH to be on stable storage */
	unsigned queues, queue_size;
	uint64_t features; /* negotiated */
};

enum gio_blk_op { GIO_BLK_READ, GIO_BLK_WRITE, GIO_BLK_FLUSH, GIO_BLK_DISCARD, GIO_BLK_WRITE_ZEROES, GIO_BLK_GET_ID };

/*
 * One request. The caller owns it and its buffers and keeps both until `done` has been called, which happens exactly
 * once for each accepted request; `result` is then 0, -GIO_EIO (failed, or a status that virtio does not know),
 * -GIO_EOPNOTSUPP or -GIO_EPROTO. In `done` the request may be changed, freed, or submitted again.
 */
struct gio_blk_req {
	enum gio_blk_op op;
	uint64_t sector;   /* first sector, in units of 512 bytes */
	uint64_t sectors;  /* DISCARD and WRITE_ZEROES: how many */
	bool unmap;	   /* WRITE_ZEROES: the device may deallocate */
	struct gio_sg *sg; /* READ, WRITE: whole sectors in all; GET_ID: GIO_BLK_ID_BYTES; `addr` is the driver's */
	unsigned segments;
	int result;
	void (*done)(struct gio_blk_req *req);
	void *opaque;		  /* the caller's */
	struct gio_blk_req *next; /* the driver's, from here on */
	uint16_t slot;
};

struct gio_blk;

/*
 * Find the device, agree on features, set its queues up and start it (virtio 1.2, 3.1.1 and 5.2.5). `config` is copied.
 * -GIO_ENODEV: no virtio-blk device, or one of virtio-mmio before version 2, a required feature missing, or a ring too
 * small for a request; -GIO_EINVAL: `queue_size`; -GIO_EPROTO: the device misbehaves; -GIO_ETIMEDOUT: it does not
 * answer; -GIO_ENOMEM (a pool too small for the queues' headers as well), -GIO_ENOSPC. On failure nothing is left
 * allocated or granted, and the device is reset, or FAILED if it was refused.
 */
int gio_blk_open(struct gio_blk **blk, const struct gio_blk_config *config);
/*
 * Resets the device; then requests in flight complete with -GIO_EIO, and all memory is given back. No other call may
 * run or follow, interrupts included; not to be called from `done`. Takes NULL.
 */
void gio_blk_close(struct gio_blk *blk);

/* Read again after an interrupt that returned GIO_BLK_IRQ_CONFIG: capacity and writeback may then have changed. */
void gio_blk_info(struct gio_blk *blk, struct gio_blk_info *info);

/*
 * Queue a request; the device learns of it by gio_blk_kick(). On failure it is not queued and `done` is not called:
 * -GIO_ENOSPC, -GIO_ENOMEM: ring, references or pool are full, try after a completion; -GIO_EINVAL: the queue, or
 * segments that are empty, too large, too many or not whole sectors; -GIO_ERANGE: beyond the capacity, or more sectors
 * than the device takes at once; -GIO_EROFS; -GIO_EOPNOTSUPP: not offered; -GIO_EPROTO: the device is broken.
 */
int gio_blk_submit(struct gio_blk *blk, unsigned queue, struct gio_blk_req *req);
/* Tell the device of what was submitted, unless it asked not to be told. Once a batch. */
void gio_blk_kick(struct gio_blk *blk, unsigned queue);
/*
 * Complete what the device has used, and ask for an interrupt at the next, so that no completion goes unnoticed;
 * returns how many. At most what was in flight when it was called: what `done` submits is for the next call.
 */
unsigned gio_blk_poll(struct gio_blk *blk, unsigned queue);
/*
 * The same without asking for an interrupt: for a caller that looks again by itself while much is in flight, and in the
 * end calls gio_blk_poll(). Under load a request then costs a fraction of an interrupt and of its two register
 * accesses.
 */
unsigned gio_blk_reap(struct gio_blk *blk, unsigned queue);

#define GIO_BLK_IRQ_QUEUE  1u /* the device used buffers */
#define GIO_BLK_IRQ_CONFIG 2u /* capacity or another field changed, or the device needs a reset */
#define GIO_BLK_IRQ_AGAIN  4u /* there is more, of which no interrupt may tell: call again within a second */
/*
 * Read and acknowledge the interrupt, and look at a changed configuration; returns the causes. The queues are the
 * caller's. With a connection this is for an event of its message port, and may ask the device for its configuration,
 * and so wait; an event of a queue's port needs gio_blk_poll() of its queues alone.
 */
unsigned gio_blk_interrupt_ack(struct gio_blk *blk);
/* The same, and poll every queue. */
unsigned gio_blk_interrupt(struct gio_blk *blk);

/*
 * True once the device set DEVICE_NEEDS_RESET, broke the protocol, or held on to too much of what it was granted
 * (gio_dma_broken()): submit then fails with -GIO_EPROTO.
 */
bool gio_blk_broken(struct gio_blk *blk);

/* Counted since open: for `grantio bench`. */
struct gio_blk_stats {
	uint64_t requests, kicks, interrupts;
};
void gio_blk_stats(struct gio_blk *blk, struct gio_blk_stats *out);

#endif
