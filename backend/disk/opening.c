/* SPDX-License-Identifier: MIT */
#include "backend/disk/opening.h"
#include "backend/disk/disk.h"

#include <stdarg.h>
#include <stdio.h>

int gd_disk_refuse(const struct gd_disk_opening *opening, int err, const char *format, ...)
{
	char text[768], line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(line, sizeof(line), "%s: %s", opening->config->target, text);
	gd_log_escape(opening->error, opening->size, line);
	return err;
}

/* FNV-1a, 64 bits: it names an image, and protects against nothing. */
void gd_disk_serial(struct gd_disk_info *info, const char *identity)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *identity; identity++)
		hash = (hash ^ (unsigned char)*identity) * 0x100000001b3u;
	snprintf(info->serial, sizeof(info->serial), "gio-%016llx", (unsigned long long)hash);
}
