/* SPDX-License-Identifier: MIT */
/*
 * Names of disks and their numbers (Xen's docs/man/xen-vbd-interface.7): the same name must give the number that libxl
 * gives it, since both write it to xenstore.
 */
#include "cli/vdev.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <abi/xen.h>

#define DISK_LIMIT  (1u << 20)
#define DEVID_LIMIT (GIO_DEVID_MAX + 1)

/* Decimal digits at *text, below `limit`; no leading zero. False: none, or too large. */
static bool digits(const char **text, uint32_t limit, uint32_t *out)
{
	const char *start = *text;

	for (*out = 0; **text >= '0' && **text <= '9'; (*text)++) {
		*out = *out * 10 + (uint32_t)(**text - '0');
		if (*out >= limit)
			return false;
	}
	return *text > start && (start[0] != '0' || *text == start + 1);
}

/* A number alone, decimal or 0x hexadecimal, as xl takes it. */
static bool plain(const char *text, uint32_t *out)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *at = hex ? text + 2 : text;
	size_t length = strlen(at);

	if (!hex)
		return digits(&at, DEVID_LIMIT, out) && !*at;
	if (!length || length > 8 || at[strspn(at, "0123456789abcdefABCDEF")])
		return false;
	*out = (uint32_t)strtoul(at, NULL, 16);
	return *out < DEVID_LIMIT;
}

/* a is 0, z is 25, aa is 26. */
static bool letters(const char **text, uint32_t *out)
{
	const char *start = *text;
	uint32_t value = 0;

	for (; **text >= 'a' && **text <= 'z'; (*text)++) {
		value = value * 26 + (uint32_t)(**text - 'a') + 1;
		if (value > DISK_LIMIT)
			return false;
	}
	*out = value - 1;
	return *text > start;
}

/* The part of the name behind its class: letters and, maybe, a partition's number, from 1. */
static bool disk_and_part(const char *text, uint32_t part_limit, uint32_t *disk, uint32_t *part)
{
	*part = 0;
	if (!letters(&text, disk))
		return false;
	if (!*text)
		return true;
	return digits(&text, part_limit, part) && *part && !*text;
}

/* dN or dNpM, where p0 is the whole disk. */
static bool numbered(const char *text, uint32_t *disk, uint32_t *part)
{
	*part = 0;
	if (!digits(&text, DISK_LIMIT, disk))
		return false;
	if (!*text)
		return true;
	return *text++ == 'p' && digits(&text, 256, part) && !*text;
}

/* The old form has 4 bits for the disk and for the partition; beyond that the extended one. */
static uint32_t devid_xvd(uint32_t disk, uint32_t part)
{
	if (disk < 16 && part < 16)
		return 202u << 8 | disk << 4 | part;
	return 1u << 28 | disk << 8 | part;
}

/* Two disks for each of the two IDE controllers, whose major numbers are 3 and 22. */
static uint32_t devid_hd(uint32_t disk, uint32_t part)
{
	return (disk < 2 ? 3u : 22u) << 8 | (disk & 1) << 6 | part;
}

/* hd and sd keep their old bounds: libxl knows no extended form of them. */
int gc_vdev_parse(const char *name, uint32_t *devid)
{
	uint32_t disk, part;

	if (plain(name, devid))
		return 0;
	if (strncmp(name, "xvd", 3) == 0 && disk_and_part(name + 3, 256, &disk, &part) && disk < DISK_LIMIT)
		*devid = devid_xvd(disk, part);
	else if (strncmp(name, "hd", 2) == 0 && disk_and_part(name + 2, 64, &disk, &part) && disk < 4)
		*devid = devid_hd(disk, part);
	else if (strncmp(name, "sd", 2) == 0 && disk_and_part(name + 2, 16, &disk, &part) && disk < 16)
		*devid = 8u << 8 | disk << 4 | part;
	else if (name[0] == 'd' && numbered(name + 1, &disk, &part))
		*devid = devid_xvd(disk, part);
	else
		return -EINVAL;
	return 0;
}
