/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk request on its way, from the chain that a guest made available to its used entry.
 *
 * There is one for each head of the queue, so that no request allocates memory. While it is `busy`, the guest must not
 * use that head again. Its data is in consecutive pages of the queue's arena, or in the guest's pool (buffer.h). In the
 * arena, if the disk allows it, it begins at the same offset in its page as in the guest's: then a copy never touches
 * two of our pages for one of the guest's.
 */
#ifndef GD_REQUEST_H
#define GD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <abi/virtio_blk.h>

#include "backend/disk/disk.h"
#include "backend/virtio/chain.h"

#define GD_REQUEST_INLINE 4u /* so many data segments are kept in the request itself */

struct gd_blk;

struct gd_request {
	struct gio_virtio_blk_outhdr header; /* our copy */
	struct gd_disk_io io;
	struct gd_request *next; /* in the list of those that are done */
	void *owner;		 /* the struct gd_serve */

	uint16_t head;
	bool busy;
	bool has_status;   /* status_addr can be written */
	bool status_alone; /* the status is the only device-writable byte */
	uint8_t status;	   /* GIO_VIRTIO_BLK_S_*: what will be written there */
	int fault; /* an error of the copies from the guest, later of the data's copy to it; the copy batch sets it */
	int status_fault; /* an error of the status's copy to the guest */
	gio_dma_t status_addr;
	uint32_t push; /* how many bytes of `data` go to the guest */

	/* The data: all device-readable bytes after the header, or all device-writable ones before the status. */
	uint8_t *data;
	uint32_t length;
	uint32_t segments;
	struct gd_segment *segment; /* points to `few`, or into the last page of the run */
	struct gd_segment few[GD_REQUEST_INLINE];
	bool writable; /* the data is device-writable */
	void *run;     /* of the arena's pages; NULL: there is no data, or it is in the guest's pool */
	uint32_t pages;

	/* Several I/Os, done one after the other: ranges of DISCARD and WRITE_ZEROES, a flush in writethrough mode. */
	uint32_t step, steps;
	bool flush_last;
} __attribute__((aligned(64)));

/*
 * Check a request whose header and device-readable data are there, and prepare its first I/O (request->io, all but
 * `done`). True: it is to be submitted. False: the request is over, and request->status and request->push say how.
 */
bool gd_blk_start(struct gd_blk *blk, struct gd_request *request);
/*
 * The I/O is done. True: another one is prepared, like the first. False: the request is over, as above.
 */
bool gd_blk_next(struct gd_blk *blk, struct gd_request *request);

#endif
