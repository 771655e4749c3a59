/* SPDX-License-Identifier: MIT */
/*
 * A guest, a hypervisor and a disk within the test's process.
 *
 * libxengnttab and libxenforeignmemory are played by an array of pages and a table of grants that is checked as Xen
 * checks it. What is mapped, at what rights, and how often copies were called is counted. The disk is memory; it can
 * hold its I/O back, and fail. The guest is a driver that can be as wrong as a test wants it to be.
 */
#ifndef FAKE_H
#define FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <abi/dma_addr.h>
#include <abi/virtio.h>
#include <abi/virtio_blk.h>
#include <abi/virtio_mmio.h>
#include <abi/virtio_ring.h>

#include "backend/blk/blk.h"
#include "backend/disk/disk.h"
#include "backend/guestmem/pool.h"
#include "backend/mmio/mmio.h"
#include "backend/rng/rng.h"
#include "backend/virtio/vdev.h"

#define FAKE_PAGE	4096u
#define FAKE_PAGES	8192u
#define FAKE_GREF_BASE	100u	 /* page n is granted by reference 100 + n, so that no number is right by chance */
#define FAKE_FRAME_BASE 0x40000u /* and is frame 0x40000 + n */
#define FAKE_DOMID	7u
#define FAKE_WAIT_MS	60000

/* ---- the hypervisor: grants of one domain ---- */

enum fake_grant { FAKE_NONE, FAKE_READONLY, FAKE_WRITABLE };

struct fake_xen {
	uint8_t *ram;
	int ram_fd;
	bool foreign;		    /* addresses of fake_addr() are made of frames */
	uint8_t grants[FAKE_PAGES]; /* enum fake_grant */
	/* counted; atomics */
	unsigned maps, unmaps, mapped; /* calls, calls, pages now */
	unsigned handles;	       /* open */
	unsigned most_mapped;	       /* pages at any time */
	unsigned foreign_maps;	       /* calls */
	unsigned copies, segments, operations;
	unsigned readable, writable; /* pages mapped now, by the right that was asked for */
	unsigned refused;	     /* segments with a bad status */
	unsigned crossings;	     /* segments that made the whole call fail */
	/* what goes wrong: the n-th next (1: the next) */
	unsigned fail_open, fail_map, fail_copy, eagain;
	int fail_errno;
	bool no_errno; /* an opening that fails leaves errno alone, as Xen's libraries may */
	bool eagain_always;
};
extern struct fake_xen fake_xen;

void fake_xen_reset(void); /* all pages zero and granted for writing; counters zero */
static inline uint64_t fake_addr(uint32_t page, uint32_t offset)
{
	if (fake_xen.foreign)
		return (uint64_t)(FAKE_FRAME_BASE + page) * FAKE_PAGE + offset;
	return gio_dma_addr(FAKE_GREF_BASE + page, 0) + offset;
}
static inline uint8_t *fake_page(uint32_t page)
{
	return fake_xen.ram + (size_t)page * FAKE_PAGE;
}

/* ---- the disk ---- */

struct fake_disk {
	struct gd_disk_info info;
	uint8_t *bytes;
	unsigned open, queues;					/* now */
	unsigned reads, writes, flushes, discards, zeroes, fua; /* done; atomics */
	bool hold;						/* keep I/O until fake_disk_release(); atomic */
	unsigned held;						/* kept now; atomic */
	unsigned cancels;					/* queues that were told to give up; atomic */
	unsigned fail;						/* the n-th next fails with -EIO; atomic */
	int fail_errno;						/* what with, if not -EIO */
	bool fail_queue_open;
	unsigned queue_opens;  /* calls; atomic */
	bool hold_open;	       /* keep those who open a queue; atomic */
	unsigned opening;      /* kept now; atomic */
	unsigned cancels_meet; /* so many cancels wait for each other, as those of threads that close side by side do */
	unsigned cancels_alone; /* cancels that nobody came to; atomic */
	uint64_t next_size;	/* what the next refresh finds */
	bool unflushed;		/* a write has come since the last flush, as far as the disk remembers; atomic */
	bool remembers;		/* that it does */
	bool straight_allowed;	/* I/O may go straight from and to the guest's memory; otherwise that fails the test */
	unsigned straight;	/* I/Os that did; atomic */
	unsigned fixed;		/* the registered buffer of the last read or write; atomic */
};
extern struct fake_disk fake_disk;

void fake_disk_reset(uint64_t size);
struct gd_disk *fake_disk_open(void);
void fake_disk_release(void); /* let go of all that is held, and hold no more */

/* ---- the log ---- */

extern unsigned fake_log_lines; /* atomic */
extern char fake_log_last[256]; /* read it when no thread can log */

/* ---- the device and its driver ---- */

#define FAKE_QUEUES 4u

struct fake_vq {
	uint32_t size;
	uint32_t page; /* of the descriptor table; then available, then used: see fake_vq_place() */
	struct gio_virtq_desc *desc;
	struct gio_virtq_avail *avail;
	struct gio_virtq_used *used;
	uint16_t next_desc, avail_idx, last_used;
};

struct fake_guest {
	struct gd_mmio mmio;
	struct gd_vdev *vdev;
	struct gd_log log;
	uint64_t features; /* accepted */
	uint32_t next_page;
	unsigned raised;	      /* interrupts; atomic */
	unsigned quiet;		      /* times that a queue said so; atomic */
	void (*kick)(unsigned queue); /* in place of the register; or NULL */
	struct fake_vq vq[FAKE_QUEUES];
};
extern struct fake_guest fake_guest;

#define FAKE_FEATURES                                                                                              \
	(GIO_VIRTIO_F_VERSION_1 | GIO_VIRTIO_F_ACCESS_PLATFORM | GIO_VIRTIO_F_EVENT_IDX | GIO_VIRTIO_BLK_F_FLUSH | \
	 GIO_VIRTIO_BLK_F_CONFIG_WCE | GIO_VIRTIO_BLK_F_DISCARD | GIO_VIRTIO_BLK_F_WRITE_ZEROES)

struct fake_setup {
	unsigned queues, queue_size; /* 0: 1, 256 */
	unsigned look_us;
	bool indirect, readonly, writethrough, no_discard, foreign;
	uint64_t features;  /* to accept; 0: FAKE_FEATURES, as far as they are offered */
	uint64_t disk_size; /* 0: 1 MiB */
	uint32_t rng_rate;  /* not 0: the device gives random numbers instead */
	struct gd_ledger *ledger;
	const struct gd_pool *pool;
	void (*opening)(struct gd_vdev_config *config); /* its class is open, and the device is about to be; or NULL */
};

/* cmocka's set-up and tear-down: the latter checks that nothing is held of guest, system and disk. */
int fake_setup(void **state);
int fake_teardown(void **state);

uint32_t fake_reg_read(uint32_t offset);
void fake_reg_write(uint32_t offset, uint32_t value);
extern char fake_open_error[256];	       /* what gd_vdev_open said last */
int fake_open(const struct fake_setup *setup); /* the device only: gd_vdev_open's result */
uint64_t fake_offered(void);		       /* the features that the device offers */
void fake_probe(uint64_t features);	       /* status and features, up to FEATURES_OK */
void fake_queue_ready(unsigned index, uint32_t size);
/* Get pages for a queue: `addr` become the addresses of its three parts. */
void fake_vq_place(struct fake_vq *vq, uint32_t size, uint64_t addr[3]);
void fake_driver_ok(void);
void fake_start(const struct fake_setup *setup); /* all of the above */
void fake_close(void);
void fake_reset(void); /* by the driver; the rings are forgotten */

uint32_t fake_alloc(uint32_t pages); /* first of so many consecutive pages */

/* ---- requests: a piece of a chain ---- */

struct fake_buf {
	uint64_t addr;
	uint32_t len;
	uint16_t flags; /* GIO_VIRTQ_DESC_F_WRITE, _INDIRECT; NEXT is added */
};

/* Fill descriptors, without making them available. Returns the head. */
uint16_t fake_chain(struct fake_vq *vq, const struct fake_buf *bufs, unsigned count);
void fake_avail(struct fake_vq *vq, uint16_t head); /* make available, index and all */
void fake_kick(unsigned queue);
/* Wait until `count` more entries are used than were taken so far, and take them. The last one's entry is returned. */
struct gio_virtq_used_elem fake_used(struct fake_vq *vq, unsigned count);
bool fake_used_now(struct fake_vq *vq); /* without waiting */
/* Wait for a condition on memory, with a time limit. */
#define fake_until(condition)                                 \
	do {                                                  \
		uint64_t end_ = fake_now_ms() + FAKE_WAIT_MS; \
		while (!(condition)) {                        \
			assert_true(fake_now_ms() < end_);    \
			fake_yield();                         \
		}                                             \
	} while (0)
uint64_t fake_now_ms(void);
void fake_yield(void);

/* A request in the usual form: header, data, status, each in pages of its own. */
struct fake_req {
	uint32_t header, data, status; /* pages; status byte at offset 0 of its page */
	uint32_t length;
	uint16_t head;
};
/* Prepare and make available; data pages are allocated when length > 0. `write`: the data is device-readable. */
struct fake_req fake_request(unsigned queue, uint32_t type, uint64_t sector, uint32_t length, bool readable,
			     const void *data);
uint8_t fake_status(const struct fake_req *req);
/* All at once: request, kick, wait. Returns the status; `data` is filled for device-writable ones. */
uint8_t fake_do(uint32_t type, uint64_t sector, uint32_t length, bool readable, void *data);
void fake_still_works(void); /* a read with its data compared: the device goes on */

#endif
