/* SPDX-License-Identifier: MIT */
/*
 * What grantiod reads and writes in xenstore. It watches the backend directories of its own domain, to which no guest
 * may write. A guest that writes to its own frontend directory causes no event here, with one exception: its `state`
 * is watched while the device is served, unless its directory means nothing (xenbus/frontend.h). Each time the guest
 * writes to that, we read two directories, and write at most once.
 *
 * Every call takes a few round trips to xenstored, which the main thread waits for. Conflicting transactions are tried
 * again a bounded number of times.
 *
 * Threads: one. Errors: 0 or -errno.
 */
#ifndef GD_STORE_H
#define GD_STORE_H

#include "backend/xenbus/front.h"
#include "backend/xenbus/keys.h"

struct gd_store;

/* Connect, learn our own domain id and set the watches. Failures are logged. */
int gd_store_open(struct gd_store **store);
void gd_store_close(struct gd_store *store); /* takes NULL */
/*
 * Connect again, when xenstored has gone and may have come back, and set the watches, except those of
 * gd_store_front_watch(). gd_store_fd() changes by that. On failure all is as it was, and every call fails.
 */
int gd_store_again(struct gd_store *store);
uint16_t gd_store_domid(const struct gd_store *store);

/* Readable when gd_store_next() has a change. It does not show that xenstored has gone (libxenstore 4.17). */
int gd_store_fd(const struct gd_store *store);

struct gd_store_event {
	enum { GD_STORE_DEVICES, GD_STORE_DOMAINS } kind; /* a backend directory changed; a domain came or went */
	unsigned depth; /* DEVICES: what of `id` is known: 0: the class, 1: its domid as well, 2: its devid as well */
	struct gd_device_id id;
};
/* Take the next change: 1; 0: there is none; -errno: xenstored has gone. Paths of no device are left out. */
int gd_store_next(struct gd_store *store, struct gd_store_event *event);

/* List the directories below a class (`domid` NULL), or below one of its domains: `found` is called for each. */
typedef void gd_store_found(void *opaque, const struct gd_device_id *id);
int gd_store_list(struct gd_store *store, enum gd_class class, const uint16_t *domid, gd_store_found *found,
		  void *opaque);

/* All keys of a device at one moment, for gd_keys_free(). -ENOENT: there is no directory. -EAGAIN: it keeps changing.
 */
int gd_store_read(struct gd_store *store, const struct gd_device_id *id, struct gd_keys *keys);

/*
 * Change a device's `state` if it still is `from`: the toolstack may have asked for the device's removal meanwhile
 * (-EBUSY), or may have removed it (-ENOENT), and our write must not undo that. `note` is written with it; may be NULL.
 *
 * The guest believes the type of a device only from its own directory, where xl writes none, and to which no backend
 * but one in the toolstack's domain can write. In domain 0 we copy there what xl has written into our directory, unless
 * the guest's directory has a type already. In any other domain the type is not written.
 */
struct gd_store_note {
	bool registers;	 /* it has some; otherwise the guest has messages only, and there is no server */
	uint16_t server; /* the ioreq server's number, for our successor */
	uint64_t ledger; /* the ledger's cookie, for our successor; 0: not written */
	uint32_t base;	 /* the address of the registers, for the guest (xenbus/front.h); 0: not written */
	uint32_t type;	 /* of the device, for the guest: gd_store_state(); 0: not written */
	bool others;	 /* the note of gd_store_others() is removed */
	/* Messages are offered to the guest, with at most so many event channels for queues; 0: they are not. */
	unsigned channels;
};
int gd_store_state(struct gd_store *store, const struct gd_device_id *id, unsigned from, unsigned to,
		   const struct gd_store_note *note);

/* Note which other ioreq servers the guest has, if the directory is there: -ENOENT. */
int gd_store_others(struct gd_store *store, const struct gd_device_id *id, uint32_t servers);

/* Watch the guest's `state`: its changes count as changes of the device's directory. */
int gd_store_front_watch(struct gd_store *store, const struct gd_device_id *id);
void gd_store_front_unwatch(struct gd_store *store,
			    const struct gd_device_id *id); /* does nothing if it is not watched */
/*
 * The guest's keys at one moment, for gd_front_keys_free(). All are NULL if there is no directory, or none that we may
 * read: outside of domain 0, xenstored denies what is missing below a directory that we may not read.
 */
int gd_store_front_read(struct gd_store *store, const struct gd_device_id *id, struct gd_front_keys *keys);

/* Remove a device's directory. -EBUSY: it is not in state 6 any more, or is online; -ENOENT: it has gone already. */
int gd_store_forget(struct gd_store *store, const struct gd_device_id *id);

/* Remove one of the device's keys, if it is there. */
void gd_store_remove(struct gd_store *store, const struct gd_device_id *id, enum gd_key key);

/* Write what is wrong with a device where xenbus backends do (error/backend/.../error); NULL: remove that. */
void gd_store_error(struct gd_store *store, const struct gd_device_id *id, const char *error);

/* Whether xenstored knows the domain: 1, 0, or -errno if we may not ask (in a driver domain). */
int gd_store_introduced(struct gd_store *store, uint16_t domid);

/*
 * What the toolstack calls a guest: /local/domain/N/name, and the UUID in /local/domain/N/vm. Either is NULL if it is
 * not there, or if the guest itself could have written it. The caller frees both. -errno if we may not look (in a
 * driver domain).
 */
int gd_store_guest(struct gd_store *store, uint16_t domid, char **name, char **uuid);

#endif
