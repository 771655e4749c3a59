/* SPDX-License-Identifier: MIT */
/*
 * A device's xenstore directory, as text and as checked values. Pure functions: they do not use xenstore.
 *
 * The toolstack writes the directory, and it is checked all the same: one wrong value refuses that device, with a line
 * that names key and value. An absent key is no error: toolstacks may write keys one by one, so the device waits for it
 * (-EAGAIN). The formats are those of libxl (tools/libs/light/libxl_disk.c, libxl_virtio.c).
 *
 * Threads: any. Errors: -EAGAIN: incomplete, -EINVAL: refused, -ENODEV: another backend's device; with a line in
 * `error`.
 */
#ifndef GD_KEYS_H
#define GD_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GD_KEYS_ERROR 256
#define GD_KEYS_SHOWN 68 /* of a value, in a message */

/* Kinds of backend directories: xl's `disk=[specification=virtio]`, and `virtio=[type=virtio,deviceN]`. */
enum gd_class { GD_VIRTIO_DISK, GD_VIRTIO, GD_CLASSES };
extern const char *const gd_class_names[GD_CLASSES]; /* as in the path */

/* Names a device in one xenstore: backend/<class>/<domid>/<devid>. */
struct gd_device_id {
	enum gd_class class;
	uint16_t domid;
	uint32_t devid;
};

enum gd_key {
	GD_KEY_FRONTEND,
	GD_KEY_FRONTEND_ID,
	GD_KEY_ONLINE,
	GD_KEY_STATE,
	GD_KEY_SPECIFICATION,
	GD_KEY_TYPE,
	GD_KEY_TRANSPORT,
	GD_KEY_GRANT_USAGE,
	GD_KEY_BASE,
	GD_KEY_IRQ,
	GD_KEY_MODE,
	GD_KEY_DEVICE_TYPE,
	GD_KEY_DEV,
	GD_KEY_DISCARD,
	GD_KEY_DIRECT_SAFE,
	GD_KEY_PARAMS,
	GD_KEY_FORMAT,	     /* not of xl: `grantio disk attach --format` writes it */
	GD_KEY_IOREQ_SERVER, /* ours, and the next: xen/domain.h */
	GD_KEY_IOREQ_OTHERS,
	GD_KEY_LEDGER,	/* and virtio/ledger.h */
	GD_KEY_VERSION, /* ours, with the next: docs/xenbus.md */
	GD_KEY_MMIO_BASE,
	GD_KEYS
};
extern const char *const gd_key_names[GD_KEYS];

/* The directory as it was read. NULL: there is no such key. */
struct gd_keys {
	char *value[GD_KEYS];
};
void gd_keys_free(struct gd_keys *keys);

/* xen/io/xenbus.h: enum xenbus_state. */
enum gd_xenbus_state {
	GD_STATE_INITIALISING = 1,
	GD_STATE_INIT_WAIT = 2,
	GD_STATE_INITIALISED = 3,
	GD_STATE_CONNECTED = 4,
	GD_STATE_CLOSING = 5,
	GD_STATE_CLOSED = 6,
	GD_STATE_MAX = 8
};

/* What the toolstack wants of the device: `state` and `online`. */
struct gd_keys_life {
	unsigned state; /* 1 to 8 */
	bool online;
};
int gd_keys_life(const struct gd_keys *keys, struct gd_keys_life *out, char error[GD_KEYS_ERROR]);

/*
 * What a former grantiod noted for its successor. These are hints only: a value that is no number counts as absent.
 * They are read whatever else is wrong with the directory.
 */
struct gd_keys_note {
	bool server;	    /* there is an ioreq server for the guest, with */
	uint16_t server_id; /* this number */
	bool others;	    /* it was about to make or destroy its server, while the guest had */
	uint64_t others_id; /* these other servers, as bits */
	uint64_t ledger;    /* its ledger's cookie, or 0 */
	uint64_t base;	    /* where it put the registers, or 0; not checked */
	bool messages;	    /* it served messages only */
};
void gd_keys_note(const struct gd_keys *keys, struct gd_keys_note *out);

/* All other values, checked. `target` points into the keys, is policy->config_target, or is constant. */
struct gd_keys_device {
	uint32_t type; /* GIO_VIRTIO_ID_BLOCK; or GIO_VIRTIO_ID_RNG: what follows of a disk means nothing then */
	uint64_t base; /* guest-physical, of GIO_VIRTIO_MMIO_BYTES bytes of registers; 0: we choose it (xenbus/front.h)
			*/
	unsigned irq;  /* Arm SPI, 32 to 1019; 0 with base 0: an event channel of the guest's */
	const char *target;
	bool readonly, discard, direct;
	bool raw;     /* the toolstack says explicitly that the image is raw data */
	bool foreign; /* the guest grants nothing, and that is allowed: its memory is mapped as needed */
};

/* What a device's keys are checked against: our settings for it. */
struct gd_keys_policy {
	uint16_t backend;	   /* our own domain */
	const char *config_target; /* the image that our settings name for it, or NULL; `params` comes before it */
	bool foreign;		   /* the settings allow its guest to do without grants */
};

int gd_keys_device(const struct gd_keys *keys, const struct gd_device_id *id, const struct gd_keys_policy *policy,
		   struct gd_keys_device *out, char error[GD_KEYS_ERROR]);

/* A value as it may stand in a message, which ends up in a log: printable, and cut where it is too long. */
void gd_keys_show(const char *value, char *shown, size_t size);

/* The name of the device in messages: `dev` if it is a plain name, otherwise its number. */
void gd_keys_name(const struct gd_keys *keys, const struct gd_device_id *id, char *name, size_t size);

/*
 * Read the part of a watched path behind the class directory: "", "/1", "/1/51712" or longer. Returns how many numbers
 * it has, or -EINVAL.
 */
int gd_keys_path(const char *tail, uint16_t *domid, uint32_t *devid);

#endif
