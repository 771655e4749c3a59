/* SPDX-License-Identifier: MIT */
/* The opening of a disk: what an engine needs for it, and where it says why it cannot. */
#ifndef GD_DISK_OPENING_H
#define GD_DISK_OPENING_H

#include <stddef.h>

struct gd_disk_config;
struct gd_disk_info;
struct gd_log;

struct gd_disk_opening {
	const struct gd_disk_config *config;
	struct gd_log *log;
	char *error; /* `size` bytes */
	size_t size;
};

/* Fill the opening's error with "target: text"; returns `err`. */
__attribute__((format(printf, 3, 4))) int gd_disk_refuse(const struct gd_disk_opening *opening, int err,
							 const char *format, ...);
/* Fill in a serial number made from an identity: "gio-" and 16 hexadecimal digits. */
void gd_disk_serial(struct gd_disk_info *info, const char *identity);

#endif
