/* SPDX-License-Identifier: MIT */
/*
 * The formats of images that are no plain bytes, known by what their files begin or end with. Nothing is ever done by
 * what is found but to refuse the image: grantiod serves bytes as they lie, and to have a format read is qemu-nbd's.
 *
 * What a guest writes to the first or last sectors of a plain disk of its own may look like one of these.
 */
#ifndef GD_DISK_FORMAT_H
#define GD_DISK_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define GD_FORMAT_BYTES 512 /* that are looked at, at either end */

struct gd_format {
	const char *name; /* as people call it */
	const char *qemu; /* as qemu-nbd's `-f` does */
};

/* By an image's first and last bytes (512 each, or all of a smaller one). NULL: none of those that are known. */
const struct gd_format *gd_format_find(const uint8_t *head, const uint8_t *tail, size_t size);

#endif
