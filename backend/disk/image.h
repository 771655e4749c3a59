/* SPDX-License-Identifier: MIT */
/*
 * A regular file or a block device, opened safely, locked, and measured. The file is checked, and never its name, which
 * may stand for another file a moment later: the name is resolved once (O_PATH), and the file that was found is checked
 * and opened.
 */
#ifndef GD_DISK_IMAGE_H
#define GD_DISK_IMAGE_H

#include "backend/disk/engine.h"

#include <limits.h>

struct gd_image {
	int fd;
	bool block;	     /* a block device */
	bool direct;	     /* O_DIRECT */
	bool punches;	     /* deallocates by fallocate() */
	bool locked;	     /* its next user cannot open it before our last I/O has ended */
	bool told;	     /* the system has said what O_DIRECT needs; otherwise it may still refuse an I/O */
	uint32_t block_size; /* of offsets and lengths */
	uint32_t physical_size;
	uint32_t align; /* of memory */
	uint32_t discard_align;
	char path[PATH_MAX]; /* after symbolic links */
};

/* Open, check, lock and measure an image. On failure the opening's error is filled in, and nothing stays open. */
int gd_image_open(struct gd_image *image, const struct gd_disk_opening *opening);
void gd_image_close(struct gd_image *image);
/* Turn O_DIRECT off, for good: from now on I/O goes through the page cache. Any thread. 0 or -errno. */
int gd_image_undirect(const struct gd_image *image);
/* The size of the file or device at this moment, in bytes. 0 or -errno. */
int gd_image_measure(const struct gd_image *image, uint64_t *bytes);

#endif
