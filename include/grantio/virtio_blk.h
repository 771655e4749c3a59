/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk driver over virtio-mmio version 2 and grants (virtio 1.2, sections 4.2 and 5.2).
 *
 * Every buffer the device sees is mapped by grantio/dma.h; the device must offer VERSION_1 and ACCESS_PLATFORM, or it
 * is refused (-GIO_ENODEV): there is no falling back to guest addresses.
 *
 * Threads: gio_blk_submit/kick/poll may be called at once on any queue; each queue has one lock. gio_blk_interrupt is
 * for one thread (the interrupt handler). `done` runs in the thread that reaps, without locks held.
 * Errors: 0 or -GIO_E*. What the device writes is never trusted: a used entry that is wrong marks the device broken,
 * and every request in flight completes with -GIO_EPROTO.
 */
#ifndef GRANTIO_VIRTIO_BLK_H
#define GRANTIO_VIRTIO_BLK_H

#include <grantio/dma.h>
#include <grantio/types.h>

#define GIO_BLK_SECTOR 512u
#define GIO_BLK_ID_BYTES 20u

struct gio_blk_config {
	struct gio_os *os;
	struct gio_grants *grants;
	gio_domid_t backend;  /* the domain that serves the device */
	uint64_t base;        /* guest-physical address of the virtio-mmio registers */
	unsigned queues;      /* wanted; the device may have fewer. 0: one */
	unsigned queue_size;  /* wanted, a power of two; the device may have fewer. 0: the device's */
	bool indirect;        /* use indirect descriptors if offered: a grant more per request, a slab page exposed */
	bool no_event_idx;    /* do not accept VIRTIO_F_EVENT_IDX */
};

struct gio_blk_info {
	uint64_t capacity;        /* sectors of 512 bytes */
	uint32_t block_size;      /* logical block size in bytes */
	uint32_t size_max;        /* largest segment in bytes, 0: no limit */
	uint32_t seg_max;         /* most segments in a request */
	uint32_t max_discard;     /* sectors per DISCARD, 0: not offered */
	uint32_t max_write_zeroes;/* sectors per WRITE_ZEROES, 0: not offered */
	uint8_t physical_exp;     /* log2 of logical blocks per physical block */
	bool readonly, flush, writeback;
	unsigned queues, queue_size;
	uint64_t features;        /* negotiated */
};

enum gio_blk_op { GIO_BLK_READ, GIO_BLK_WRITE, GIO_BLK_FLUSH, GIO_BLK_DISCARD, GIO_BLK_WRITE_ZEROES, GIO_BLK_GET_ID };

/*
 * One request. The caller owns it and its buffers and keeps both until `done` has been called, which happens exactly
 * once for each accepted request; `result` is then 0, -GIO_EIO, -GIO_EOPNOTSUPP or -GIO_EPROTO.
 */
struct gio_blk_req {
	enum gio_blk_op op;
	uint64_t sector;       /* first sector, in units of 512 bytes */
	uint64_t sectors;      /* DISCARD and WRITE_ZEROES: how many */
	bool unmap;            /* WRITE_ZEROES: the device may deallocate */
	struct gio_sg *sg;     /* READ, WRITE, GET_ID: the data; `addr` of each is the driver's */
	unsigned segments;
	int result;
	void (*done)(struct gio_blk_req *req);
	void *opaque;          /* the caller's */
	uint16_t head;         /* the driver's */
};

struct gio_blk;

int gio_blk_open(struct gio_blk **blk, const struct gio_blk_config *config);
/* Resets the device; requests in flight complete with -GIO_EIO. Takes NULL. */
void gio_blk_close(struct gio_blk *blk);

/* Read again after an interrupt that returned GIO_BLK_IRQ_CONFIG. */
void gio_blk_info(struct gio_blk *blk, struct gio_blk_info *info);

/* Queue a request; the device learns of it by gio_blk_kick(). -GIO_ENOSPC: ring or references are full, try after a completion. */
int gio_blk_submit(struct gio_blk *blk, unsigned queue, struct gio_blk_req *req);
/* Tell the device of what was submitted, unless it asked not to be told. Once a batch. */
void gio_blk_kick(struct gio_blk *blk, unsigned queue);
/* Complete what the device has used, at most the ring's size a call; returns how many. */
unsigned gio_blk_poll(struct gio_blk *blk, unsigned queue);

#define GIO_BLK_IRQ_QUEUE  1u /* the device used buffers */
#define GIO_BLK_IRQ_CONFIG 2u /* capacity or another field changed, or the device needs a reset */
/* Read and acknowledge the interrupt, poll every queue; returns the causes. */
unsigned gio_blk_interrupt(struct gio_blk *blk);

/* True once the device set DEVICE_NEEDS_RESET or broke the protocol: submit then fails with -GIO_EPROTO. */
bool gio_blk_broken(struct gio_blk *blk);

/* Counted since open: for `grantio bench`. */
struct gio_blk_stats {
	uint64_t requests, kicks, interrupts;
};
void gio_blk_stats(struct gio_blk *blk, struct gio_blk_stats *out);

#endif
