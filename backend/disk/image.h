/* SPDX-License-Identifier: MIT */
/*
 * A regular file or a block device, opened safely, locked, and measured. What is checked is the opened file, never its
 * name: the name is resolved once (O_PATH), the result is judged, and that very file is opened.
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
	bool locked;	     /* whoever opens it next must wait for the last I/O of ours */
	bool told;	     /* the system has said what O_DIRECT asks for; else it may still refuse an I/O */
	uint32_t block_size; /* of offsets and lengths */
	uint32_t physical_size;
	uint32_t align; /* of memory */
	uint32_t discard_align;
	char path[PATH_MAX]; /* after symbolic links */
};

/* On failure the opening's error is filled and nothing stays open. */
int gd_image_open(struct gd_image *image, const struct gd_disk_opening *opening);
void gd_image_close(struct gd_image *image);
/* Go on through the page cache; any thread. 0 or -errno. */
int gd_image_undirect(const struct gd_image *image);
/* The size in bytes, as it is. */
int gd_image_measure(const struct gd_image *image, uint64_t *bytes);

#endif
