/* SPDX-License-Identifier: MIT */
/*
 * The formats of images that are not raw data, known by the bytes that their files begin or end with. All that grantiod
 * does with such an image is to refuse it: it serves the bytes of a file as they are. qemu-nbd can read formats.
 *
 * A guest may write bytes that look like one of these formats to the first or last sectors of its raw disk.
 */
#ifndef GD_DISK_FORMAT_H
#define GD_DISK_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define GD_FORMAT_BYTES 512 /* so many are looked at, at either end */

struct gd_format {
	const char *name; /* as people call it */
	const char *qemu; /* as qemu-nbd's `-f` does */
};

/* Find a format by an image's first and last bytes (512 each, or all of a smaller image). NULL: it looks like none. */
const struct gd_format *gd_format_find(const uint8_t *head, const uint8_t *tail, size_t size);

#endif
