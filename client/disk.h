/* SPDX-License-Identifier: MIT */
/*
 * A guest program that drives one virtio disk of the model's machine: what the nbdkit plugin, `grantio bench` and the
 * tests share. It becomes the guest, finds the disk as the toolstack described it, starts the driver, and runs a thread
 * that is the guest's interrupt handler.
 *
 * Concepts. *Asynchronous* use: requests of <grantio/virtio_blk.h> on gp_disk_blk(), with buffers in guest RAM from
 * gp_disk_pages(); their `done` runs in the interrupt thread, and so does the `reaped` hook after each interrupt: the
 * place to submit what follows and to kick once. *Synchronous* use: gp_disk_read() and its like take any memory of the
 * caller, cut the transfer by the device's limits, and copy through a pool of buffers in guest RAM, since only guest
 * RAM can be granted.
 *
 * Threads: synchronous calls may run at once from any thread but the interrupt thread. open and close are one thread's.
 * Errors: 0 or -errno (the guest library's numbers are Linux's).
 * Not defended: without `timeout_ms`, a backend that does not answer holds whoever waits for it, as it holds a vCPU.
 */
#ifndef GP_DISK_H
#define GP_DISK_H

#include <grantio/grant.h>
#include <grantio/virtio_blk.h>

#include "model/guest.h"
#include "split.h"

struct gp_disk;

struct gp_disk_config {
	const char *machine;	      /* the machine's directory */
	uint16_t domid;		      /* the guest to be */
	const char *name;	      /* "xvda", a devid; NULL: the guest's first disk */
	unsigned queues;	      /* wanted, 0: one */
	unsigned queue_size;	      /* wanted, a power of two; 0: the device's */
	bool indirect;		      /* see struct gio_blk_config */
	bool no_event_idx;	      /* the same */
	bool messages;		      /* reach the disk by messages and a pool of copies; else by registers */
	unsigned buffers;	      /* of GP_CHUNK_BYTES each, for synchronous calls; 0: asynchronous use only */
	unsigned wait_ms;	      /* how long to wait for the disk's backend when it opens */
	unsigned timeout_ms;	      /* longest wait for a completion or a register; 0: for ever */
	void (*reaped)(void *opaque); /* after each interrupt, in its thread; NULL: nothing */
	void *opaque;
};

/* On failure `error` holds one line that says what could not be done, with its cause. */
int gp_disk_open(struct gp_disk **disk, const struct gp_disk_config *config, char *error, size_t size);

/*
 * Reset the device and end the interrupt thread: asynchronous requests in flight complete with -EIO within, `reaped`
 * does not run afterwards, and only gp_disk_pages_free() and gp_disk_close() may follow.
 */
void gp_disk_stop(struct gp_disk *disk);

/* What was still there when the disk closed; all zero if the backend behaved. */
struct gp_disk_leaks {
	uint32_t grants; /* references in use after the driver closed, those in quarantine included */
	uint32_t held;	 /* of those: still held by the backend */
	size_t pages;	 /* pages of guest RAM not given back */
};

/*
 * Stop the disk, unless that is done, end every grant, and stop being the guest. No synchronous call may be running.
 * Frees `disk` in any case; -EBUSY when something leaked, told in `leaks` (may be NULL). Takes NULL.
 */
int gp_disk_close(struct gp_disk *disk, struct gp_disk_leaks *leaks);

/* What the device says; `capacity` may change while it is open. */
void gp_disk_info(struct gp_disk *disk, struct gio_blk_info *info);
uint64_t gp_disk_size(struct gp_disk *disk); /* bytes */
const struct gp_limits *gp_disk_limits(const struct gp_disk *disk);

/* For asynchronous use. Borrowed: they live as long as the disk. */
struct gio_blk *gp_disk_blk(struct gp_disk *disk);
struct gm_guest *gp_disk_guest(struct gp_disk *disk);
const struct gm_guest_disk *gp_disk_place(const struct gp_disk *disk);
void *gp_disk_pages(struct gp_disk *disk, size_t npages); /* guest RAM, zeroed; NULL when there is none */
void gp_disk_pages_free(struct gp_disk *disk, void *va, size_t npages);

/*
 * Offsets and lengths in bytes, multiples of the block size and on the disk, else -EINVAL. -EIO: the device failed it;
 * -EROFS, -EOPNOTSUPP; -ETIMEDOUT: no answer (what happened to the data is not known); -EPROTO: the device broke the
 * protocol. A failure says nothing about the parts of a transfer: some may have been done.
 */
int gp_disk_read(struct gp_disk *disk, void *buf, uint64_t offset, size_t bytes);
int gp_disk_write(struct gp_disk *disk, const void *buf, uint64_t offset, size_t bytes);
int gp_disk_flush(struct gp_disk *disk); /* 0 at once on a device that has no volatile cache */
int gp_disk_discard(struct gp_disk *disk, uint64_t offset, uint64_t bytes);
int gp_disk_zero(struct gp_disk *disk, uint64_t offset, uint64_t bytes, bool unmap);
int gp_disk_id(struct gp_disk *disk, char id[GIO_BLK_ID_BYTES + 1]);

#endif
