/* SPDX-License-Identifier: MIT */
/*
 * The single settings: their names, and how a value of each is read. For config.c only.
 *
 * Threads: as config.h.
 */
#ifndef GD_SETTING_H
#define GD_SETTING_H

#include <stddef.h>

struct gd_config;

/* Bits of `kinds`: a flag takes no value on the command line; some may be given several times, or in a file only. */
enum { GD_SETTING_FLAG = 1, GD_SETTING_MANY = 2, GD_SETTING_FILE_ONLY = 4 };

struct gd_setting {
	const char *name;
	/* Take the value, a text. Returns what is wrong with it, as a literal without the value; NULL: nothing is. */
	const char *(*set)(struct gd_config *config, const char *value);
	unsigned kinds;
};

/* The setting of a name of `length` bytes; NULL: there is none. */
const struct gd_setting *gd_setting_find(const char *name, size_t length);
/* Set it, unless config->given says that it was given before. Returns as its `set` does. */
const char *gd_setting_set(struct gd_config *config, const struct gd_setting *setting, const char *value);

#endif
