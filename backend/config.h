/* SPDX-License-Identifier: MIT */
/*
 * grantiod's settings: the command line, and a file of `key = value` lines with the same names. The command line wins.
 *
 * Errors: -EINVAL and one line in `error`: the place ("grantiod" or "FILE:LINE"), the setting, its value, and what is
 * wrong with it.
 * Threads: settings are filled in by one thread, and constant from then on.
 */
#ifndef GD_CONFIG_H
#define GD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/alias.h"
#include "backend/base/log.h"

#define GD_CONFIG_IMAGE_DIRS 16
#define GD_CONFIG_DISKS	     64
#define GD_CONFIG_FOREIGN    64
#define GD_CONFIG_NBD	     16
#define GD_CONFIG_RAW	     64
/*
 * A Linux guest takes some hundred random bytes at its start, and some tens per minute after that: a MiB per second is
 * a thousand times as much, and costs the host less than a hundredth of a processor.
 */
#define GD_CONFIG_RNG_RATE 1048576
#define GD_CONFIG_LOOK	   100 /* microseconds: a few wake-ups of a machine that is slow at that */
#define GD_CONFIG_ERROR	   512

/* The image of a device whose directory names none (xl's `virtio=` devices): `disk = web/0 /path` in the file. */
struct gd_config_disk {
	struct gd_alias guest;
	uint32_t devid;
	char *target;
};

struct gd_config {
	char *image_dirs[GD_CONFIG_IMAGE_DIRS + 1]; /* NULL-terminated; none: images may lie anywhere */
	char *nbd[GD_CONFIG_NBD + 1];		    /* NULL-terminated: see gd_config_nbd() */
	unsigned nbd_missing;			    /* a bit per entry of `nbd`: its directory was not there */
	struct gd_config_disk disks[GD_CONFIG_DISKS];
	unsigned disk_count;
	struct gd_alias foreign[GD_CONFIG_FOREIGN]; /* guests that need not grant: all of their memory may be mapped */
	unsigned foreign_count;
	bool foreign_all;		 /* all guests */
	char *raw_images[GD_CONFIG_RAW]; /* served as raw data, whatever they look like */
	unsigned raw_count;
	bool raw_all;		/* all images */
	unsigned queues;	/* request queues to offer per device, 1 to 16 */
	unsigned queue_size;	/* descriptors per queue, a power of two, 2 to 1024 */
	unsigned look;		/* microseconds that a queue looks for requests before it sleeps, at most; 0: never */
	bool indirect;		/* offer indirect descriptors */
	bool discard;		/* offer discard where xenstore and image allow */
	bool direct;		/* use O_DIRECT where xenstore and file system allow */
	unsigned nbd_timeout;	/* seconds that a request may have no answer from its NBD server; 0: without limit */
	unsigned nbd_reconnect; /* seconds that requests wait for an NBD server that is gone; 0: without limit */
	unsigned rng_rate;	/* random bytes that a device of virtio-rng gives in a second */
	enum gd_level level;
	char *state_dir;    /* the directory of the ledgers, for a successor; NULL: there are none */
	char *control;	    /* path of the control socket; NULL: none */
	bool help, version; /* asked for on the command line */
	unsigned given; /* while the settings are read: a bit for each that the file, or the command line, has given */
	unsigned holders; /* gd_config_hold() */
};

void gd_config_init(struct gd_config *config);
void gd_config_exit(struct gd_config *config);

/* Read the command line, and the file that it names by --config. */
int gd_config_parse(struct gd_config *config, int argc, char **argv, char error[GD_CONFIG_ERROR]);
/* Read a file, whose settings replace those in `config`. -errno: it cannot be read. */
int gd_config_file(struct gd_config *config, const char *path, char error[GD_CONFIG_ERROR]);
/*
 * Read the settings into memory of their own, which lives as long as it is held: by the caller, and by each further
 * gd_config_hold(). These functions are for the main thread; other threads may read settings that it holds for them.
 */
int gd_config_new(struct gd_config **config, int argc, char **argv, char error[GD_CONFIG_ERROR]);
const struct gd_config *gd_config_hold(const struct gd_config *config);
void gd_config_drop(const struct gd_config *config); /* takes NULL */

/* True if the settings name a guest by its name or UUID: only then these have to be looked up. */
bool gd_config_names(const struct gd_config *config);
/* The image for a device, or NULL. The guest's UUID comes before its name, and that before its domain id. */
const char *gd_config_disk(const struct gd_config *config, const struct gd_aliases *guest, uint32_t devid);
/* True if a guest may have devices without grants. */
bool gd_config_foreign(const struct gd_config *config, const struct gd_aliases *guest);
/* The NBD servers that may be used, for gd_disk_config; NULL: any. If images are limited to directories, none unless
 * set. */
const char *const *gd_config_nbd(const struct gd_config *config);
/* True if an image is served as raw data even if it looks like one of another format. */
bool gd_config_raw(const struct gd_config *config, const char *target);

/* Log what is accepted, but may not be what was meant. */
void gd_config_remark(const struct gd_config *config);

extern const char gd_config_usage[];

#endif
