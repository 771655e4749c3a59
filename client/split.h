/* SPDX-License-Identifier: MIT */
/*
 * What one request to a virtio disk may hold, and how a larger transfer is cut into such requests.
 *
 * A device limits the bytes of a segment (size_max), the segments of a request (seg_max) and, by the ring's size, the
 * descriptors of a chain. All three come from the device, so any value is taken, and one that leaves no room for a
 * single block is an error, not a loop.
 * Pure functions; no threads, no memory.
 */
#ifndef GP_SPLIT_H
#define GP_SPLIT_H

#include <grantio/virtio_blk.h>

/* Most bytes of one request, and the size of a buffer in the guest's RAM. */
#define GP_CHUNK_BYTES (256u * 1024u)
#define GP_CHUNK_PAGES (GP_CHUNK_BYTES / GIO_PAGE_SIZE)

struct gp_limits {
	uint32_t block;		/* logical block in bytes: every offset and length is a multiple */
	uint32_t request;	/* most bytes in a read or write; a multiple of `block` */
	uint32_t segment;	/* most bytes in one of its segments */
	unsigned segments;	/* most segments that `request` bytes need */
	uint64_t discard, zero; /* most bytes in one DISCARD, WRITE_ZEROES; multiples of `block`, 0: not offered */
};

/* From what the device says. -GIO_ERANGE when not even one block fits in a request. */
int gp_limits_init(struct gp_limits *limits, const struct gio_blk_info *info);

/* Describe `len` bytes (at most limits->request) at `buf` by segments; returns how many of `sg` it took. */
unsigned gp_limits_segments(const struct gp_limits *limits, void *buf, size_t len, struct gio_sg *sg);

/* 0 when [offset, offset + bytes) is made of whole blocks and lies on a disk of `size` bytes; else -GIO_EINVAL. */
int gp_limits_range(const struct gp_limits *limits, uint64_t size, uint64_t offset, uint64_t bytes);

#endif
