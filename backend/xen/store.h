/* SPDX-License-Identifier: MIT */
/*
 * What grantiod reads and writes in xenstore: the backend directories of its own domain, watched, and nothing that a
 * guest may write. A guest that rewrites its own frontend directory causes no event here at all; but for devices that
 * have no address of the toolstack's (xen/front.h), whose frontend `state` is watched while they are served. Each write
 * of the guest's to it costs us one reading of two directories, and at most one write.
 *
 * Every call is a few round trips to xenstored, which the main thread waits for. Conflicting transactions are tried
 * again a bounded number of times.
 *
 * Threads: one. Errors: 0 or -errno.
 */
#ifndef GD_STORE_H
#define GD_STORE_H

#include "backend/xen/front.h"
#include "backend/xen/keys.h"

struct gd_store;

/* Connect, learn our own domain id and set the watches. Failures are logged. */
int gd_store_open(struct gd_store **store);
void gd_store_close(struct gd_store *store); /* takes NULL */
/*
 * When xenstored has gone, and perhaps come back: connect again, and set the watches, but for those of
 * gd_store_front_watch(). gd_store_fd() is another one then. On failure all is as it was: every call fails.
 */
int gd_store_again(struct gd_store *store);
uint16_t gd_store_domid(const struct gd_store *store);

/* Readable when gd_store_next() has a change. That xenstored has gone does not show here (libxenstore 4.17): ask. */
int gd_store_fd(const struct gd_store *store);

struct gd_store_event {
	enum { GD_STORE_DEVICES, GD_STORE_DOMAINS } kind; /* a backend directory changed; a domain came or went */
	unsigned depth; /* DEVICES: how many of the following are known: 0 class, 1 and domid, 2 and devid */
	struct gd_device_id id;
};
/* The next change: 1; 0 when there is none; -errno when xenstored has gone. Paths that are no device's are skipped. */
int gd_store_next(struct gd_store *store, struct gd_store_event *event);

/* The directories below a class (`domid` NULL) or one of its domains, told one by one. */
typedef void gd_store_found(void *opaque, const struct gd_device_id *id);
int gd_store_list(struct gd_store *store, enum gd_class class, const uint16_t *domid, gd_store_found *found,
		  void *opaque);

/* All keys of a device at one moment; free them with gd_keys_free(). -ENOENT: no directory. -EAGAIN: it keeps changing.
 */
int gd_store_read(struct gd_store *store, const struct gd_device_id *id, struct gd_keys *keys);

/*
 * Change a device's `state`, if it still is `from`: the toolstack may have asked for its removal meanwhile (-EBUSY), or
 * have removed it (-ENOENT), and neither must be undone by our writing. `note`: what is written with it; may be NULL.
 */
struct gd_store_note {
	uint16_t server; /* for our successor */
	uint64_t ledger; /* not 0: for our successor, too */
	uint32_t base;	 /* not 0: published, for the guest (xen/front.h) */
	bool others;	 /* what gd_store_others() wrote is removed */
};
int gd_store_state(struct gd_store *store, const struct gd_device_id *id, unsigned from, unsigned to,
		   const struct gd_store_note *note);

/* Note which other ioreq servers the guest has, if the directory is there: -ENOENT. */
int gd_store_others(struct gd_store *store, const struct gd_device_id *id, uint32_t servers);

/* Have changes of the guest's `state` told as changes of the device's directory; and no longer. */
int gd_store_front_watch(struct gd_store *store, const struct gd_device_id *id);
void gd_store_front_unwatch(struct gd_store *store, const struct gd_device_id *id); /* also if there is none */
/* The guest's keys at one moment; free them with gd_front_keys_free(). None where there is no directory. */
int gd_store_front_read(struct gd_store *store, const struct gd_device_id *id, struct gd_front_keys *keys);

/* Remove a device's directory, if it still is in state 6 and not online: -EBUSY where it is not, -ENOENT: it has gone.
 */
int gd_store_forget(struct gd_store *store, const struct gd_device_id *id);

/* Remove one of the keys, if it is there. */
void gd_store_remove(struct gd_store *store, const struct gd_device_id *id, enum gd_key key);

/* Say, as xenbus backends do (error/backend/.../error), what is wrong with a device; NULL: nothing any more. */
void gd_store_error(struct gd_store *store, const struct gd_device_id *id, const char *error);

/* Whether xenstored knows the domain: 1, 0, or -errno where we may not ask (in a driver domain). */
int gd_store_introduced(struct gd_store *store, uint16_t domid);

/*
 * What the toolstack calls a guest: /local/domain/N/name, and the UUID of /local/domain/N/vm; NULL where it is not
 * there, and where the guest itself could have written it. The caller frees both. -errno where we may not look (in a
 * driver domain).
 */
int gd_store_guest(struct gd_store *store, uint16_t domid, char **name, char **uuid);

#endif
