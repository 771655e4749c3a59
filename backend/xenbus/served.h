/* SPDX-License-Identifier: MIT */
/*
 * One virtio disk of one guest, from its directory in xenstore to its queues: opened, served, closed.
 *
 *   IDLE --open--> OPENING --(ready)--> OPENED --serve--> SERVED --stop--> CLOSING --> IDLE
 *                                          \-----------------stop----------/
 *
 * Opening an image, making its queues and going on by a ledger, closing all that, and asking for its size may block on
 * a server elsewhere: each is a job (backend/base/job.h). When a job has ended, `changed` is called in the main thread,
 * and the owner decides what comes next.
 *
 * Threads: the main thread. The guest's ioreq thread comes in by the bus only; what it leaves here is atomic.
 * Errors: 0 or -errno, with a line in `error`.
 */
#ifndef GD_SERVED_H
#define GD_SERVED_H

#include "backend/config.h"
#include "backend/disk/disk.h"
#include "backend/xenbus/keys.h"

#define GD_SERVED_ERROR	 512
#define GD_SERVED_LEDGER 40

enum gd_phase { GD_PHASE_IDLE, GD_PHASE_OPENING, GD_PHASE_OPENED, GD_PHASE_SERVED, GD_PHASE_CLOSING };

struct gd_domains;
struct gd_jobs;
struct gd_served;
struct gd_sizewatch;
struct gd_vdev;

/* What devices share; outlives them, and is constant but for: */
struct gd_served_env {
	const struct gd_config *config; /* what devices are opened by from now on */
	struct gd_jobs *jobs;
	struct gd_domains *domains;
	struct gd_sizewatch *sizewatch;
	void (*changed)(struct gd_served *device); /* a job has ended */
	/* A guest's driver has come up. By its ioreq thread, once between two calls of gd_served_start(). */
	void (*up)(struct gd_served *device);
	/* A device that was told to be quiet may be so. By its queues' threads. */
	void (*quiet)(struct gd_served *device);
	void *opaque;
};

/* A device that could not be opened is opened again later. All zero: it is not. */
struct gd_pause {
	int error;	/* the error that was logged for this */
	unsigned ms;	/* how long this pause is */
	uint64_t until; /* when it ends, by gd_clock_ms() */
};

struct gd_guest;
struct gd_served_own;

struct gd_served {
	struct gd_served_env *env;
	struct gd_device_id id;
	struct gd_log log;
	enum gd_phase phase;

	/* As it was opened last. */
	const struct gd_config *config; /* held: SIGHUP does not change what is open */
	struct gd_keys_device keys;	/* keys.target: the device's own copy */
	char *target;
	struct gd_keys_note note; /* as it stands in the directory */
	unsigned former;	  /* the state that was found there when it was opened */
	struct gd_disk_info info; /* of the image, when it was opened */
	uint64_t base;		  /* of its registers: keys.base, or chosen for it */

	/* The table's (xenbus/table.c). */
	struct gd_guest *guest;
	struct gd_served *chain, *sibling, **sibling_link, *dirty_next, *up_next;
	bool dirty;  /* its directory is to be read again */
	bool unread; /* it was never read */

	/* The owner's (xenbus/step.c, xenbus/xenbus.c). */
	bool waits;	       /* IDLE: for its domain to be introduced */
	bool coming;	       /* it was served before, and its guest's accesses wait for it */
	struct gd_pause pause; /* IDLE: until it is tried again to open it (xenbus/retry.h) */
	bool forgotten;	       /* its directory went with xenstored's memory: nobody has removed it */
	bool unsaid;	       /* SERVED, and its directory does not say so yet */
	bool others;	       /* its directory says which other ioreq servers its guest has */
	bool connected;	       /* state 4 was written */
	bool leaving;	       /* its directory is to be removed */
	bool resumed; /* served on from where a former process ended: state and event channel are as that left them */
	bool left;    /* at the end: to the next grantiod, as it is; atomic */
	uint64_t ledger; /* cookie of its ledger, or 0: there is no file */
	uint32_t port;	 /* keys.base is 0: the guest's event channel that is bound; 0: none */
	char *said;	 /* the last complaint, so that it is not said twice */
	bool error_node; /* and that it stands in xenstore */
	int result;	 /* of the last opening or serving: 0, or -errno and: */
	char error[GD_SERVED_ERROR];

	struct gd_served_own *own; /* private */
};

/* The name of a device's ledger, as of a file in the state directory, and back: false, it is none. */
void gd_served_ledger_name(const struct gd_device_id *id, char name[GD_SERVED_LEDGER]);
bool gd_served_ledger_parse(const char *name, struct gd_device_id *id);

/* A device that is known, and IDLE. `name`: gd_keys_name(). */
struct gd_served *gd_served_new(struct gd_served_env *env, const struct gd_device_id *id, const char *name);
void gd_served_free(struct gd_served *device); /* IDLE */
/* Note why it cannot be served: device->result and device->error ("WHAT: text of `ret`"). Returns `ret`. */
int gd_served_fail(struct gd_served *device, int ret, const char *what);

/*
 * IDLE -> OPENING, and on to OPENED (or back to IDLE, with device->result) by `changed`. `keys` is copied. `state`:
 * where the directory says that it is. If it was served before, a driver may be using it. Then the device goes on
 * (device->resumed), if the former process left its ledger; else the driver is told that it needs a reset.
 */
int gd_served_open(struct gd_served *device, const struct gd_keys_device *keys, unsigned state);
/* Where its registers were when a former grantiod served it, so that accesses may wait for it there; 0: it did not. */
uint64_t gd_served_former_base(const struct gd_served *device);
/* Accesses to its registers, where a former grantiod had them, wait until it is SERVED, stopped, or is abandoned. */
void gd_served_reserve(struct gd_served *device);
/* IDLE: it will not come. */
void gd_served_abandon(struct gd_served *device);
/* OPENED -> SERVED, with registers at `base`. On failure it stays OPENED, with device->result: stop it. */
int gd_served_start(struct gd_served *device, uint64_t base);
/* SERVED, keys.base is 0: interrupts by the guest's event channel `port`, or 0: none. 0 or -errno, then none. */
int gd_served_bind(struct gd_served *device, uint32_t port);
/* OPENED, SERVED -> CLOSING, and on to IDLE by `changed`. The guest's accesses end here and now. */
void gd_served_stop(struct gd_served *device);

/* Look at the image's size, soon; nothing where it is not SERVED. */
void gd_served_refresh(struct gd_served *device);
/* SERVED: the guest's ioreq server, to be noted for a successor, and how many of its requests were answered. */
uint16_t gd_served_server(const struct gd_served *device);
uint64_t gd_served_answered(const struct gd_served *device);
/* SERVED: the virtio device, for its counts and its status. */
struct gd_vdev *gd_served_vdev(const struct gd_served *device);
/* True once the guest's driver has said DRIVER_OK. */
bool gd_served_driver_ok(const struct gd_served *device);
/* Another process can go on where this one ends: it has a ledger, or its guest waits for it, as it did before us. */
bool gd_served_inheritable(const struct gd_served *device);
/* Take no more of the guest's requests: they are its successor's. There is no way back. */
void gd_served_quiesce(struct gd_served *device);
/* The same, and a device that is being opened does not begin; once it is OPENED, it is to be told so again. */
void gd_served_leave(struct gd_served *device);
/* Requests that were taken and not answered, or may be. After gd_served_quiesce() it falls to 0. */
unsigned gd_served_inflight(const struct gd_served *device);

#endif
