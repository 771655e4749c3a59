/* SPDX-License-Identifier: MIT */
/*
 * A machine, a guest's system and a virtio-blk driver for one disk in memory, in place of the real ones: what
 * client/ calls, by the same names. Requests complete in gio_blk_reap() and gio_blk_poll(), newest first.
 */
#ifndef FAKE_BLK_H
#define FAKE_BLK_H

#include <grantio/virtio_blk.h>

#define FAKE_DISK_BYTES (4u << 20)
#define FAKE_RING_MAX	64

struct fake {
	/* set by the test before it opens the disk */
	struct gio_blk_info info;			    /* capacity: FAKE_DISK_BYTES */
	unsigned ring;					    /* requests that the driver takes at once */
	size_t page_limit;				    /* guest RAM in pages */
	int open_guest, find_disk, open_blk, open_messages; /* results */
	uint64_t bad_sector;				    /* a request that covers it fails; UINT64_MAX: none */
	bool full_first;				    /* nothing completes until the ring has been full */
	bool leak;					    /* the driver forgets to give a grant back */
	/* seen */
	unsigned requests, most_in_flight, kicks, flushes;
	uint64_t largest;				     /* bytes of the largest request */
	size_t pages;					     /* allocated now */
	unsigned guests, systems, tables, drivers, messages; /* open now */
	uint8_t disk[FAKE_DISK_BYTES];
};

extern struct fake fake;

void fake_reset(void);
/* While it holds, interrupts complete nothing. */
void fake_hold(bool hold);

#endif
