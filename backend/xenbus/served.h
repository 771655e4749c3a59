/* SPDX-License-Identifier: MIT */
/*
 * One virtio disk of one guest, from its directory in xenstore to its queues: opened, served, closed.
 *
 *   IDLE --open--> OPENING --(ready)--> OPENED --serve--> SERVED --stop--> CLOSING --> IDLE
 *                                          \-----------------stop----------/
 *
 * While it is SERVED, its guest may take it to be driven by messages, and end that again (enum gd_link):
 *
 *   NONE --link--> TAKING --(ready)--> UP --unlink--> ENDING --> NONE
 *
 * Four steps may block on a remote server: to open the image, make its queues and go on from a ledger; to close them;
 * to ask for the image's size; and to wait for I/O of the disk that uses a guest's pool. So each of them is a job
 * (backend/base/job.h). When a job has ended, `changed` is called in the main thread, and the owner decides what comes
 * next.
 *
 * Threads: the main thread. The guest's ioreq thread enters only by the register map, and a device's queue threads only
 * by the interrupt and `quiet`; the fields that they write are atomic.
 * Errors: 0 or -errno, with a line in `error`.
 */
#ifndef GD_SERVED_H
#define GD_SERVED_H

#include "backend/config.h"
#include "backend/msg/answer.h"
#include "backend/xenbus/keys.h"

#define GD_SERVED_ERROR 512
#define GD_SERVED_WHAT	80

/* A SERVED device that its guest reaches by messages (backend/msg): whether it has taken the guest's answer. */
enum gd_link {
	GD_LINK_NONE,
	GD_LINK_TAKING, /* a job maps and binds what the guest has answered */
	GD_LINK_UP,	/* it has: the driver is answered */
	GD_LINK_ENDING	/* a job lets go of it again */
};

enum gd_phase { GD_PHASE_IDLE, GD_PHASE_OPENING, GD_PHASE_OPENED, GD_PHASE_SERVED, GD_PHASE_CLOSING };

/*
 * What the directory of a SERVED device says of it:
 *
 *   NOTHING --(its state is written)--> SERVED --(the driver has set DRIVER_OK)--> CONNECTED
 *
 * A device begins with NOTHING whenever it is served. It stays so while xenstored does not answer. One that a former
 * process had CONNECTED, and that goes on where that one ended, goes from NOTHING to CONNECTED.
 */
enum gd_announced { GD_ANNOUNCED_NOTHING, GD_ANNOUNCED_SERVED, GD_ANNOUNCED_CONNECTED };

struct gd_domains;
struct gd_jobs;
struct gd_served;
struct gd_sizewatch;
struct gd_vdev;

/* What all devices share. It outlives them, and only `config` changes. */
struct gd_served_env {
	const struct gd_config *config; /* the settings for devices that are opened from now on */
	struct gd_jobs *jobs;
	struct gd_domains *domains;
	struct gd_sizewatch *sizewatch;
	void (*changed)(struct gd_served *device); /* a job has ended */
	/*
	 * A guest's driver has set DRIVER_OK, which is reported at most once per gd_served_start(); or it has broken
	 * the rules of its messages. The thread that handles the driver's accesses or messages calls this.
	 */
	void (*up)(struct gd_served *device);
	/* A device that was told to be quiet may have become quiet. Its queues' threads call this. */
	void (*quiet)(struct gd_served *device);
	void *opaque;
};

/* A device that could not be opened is opened again after a pause. All fields are zero where there is no pause. */
struct gd_pause {
	int error;	/* the error that was logged for this */
	unsigned ms;	/* how long this pause is */
	uint64_t until; /* when it ends, by gd_clock_ms() */
};

/* A guest may begin anew at once, and then after a pause, longer each time (xenbus/frontend.h). By gd_clock_ms(). */
struct gd_served_churn {
	uint64_t up;	/* when the device was linked last */
	uint64_t again; /* when it may be linked again; 0: now */
	unsigned ms;	/* the next pause */
};

struct gd_guest;
struct gd_served_own;

struct gd_served {
	struct gd_served_env *env;
	struct gd_device_id id;
	struct gd_log log;
	enum gd_phase phase;

	/* How the device was opened last. */
	const struct gd_config *config; /* held: SIGHUP does not change what is open */
	struct gd_keys_device keys;	/* keys.target: the device's own copy */
	char *target;
	struct gd_keys_note note;  /* what a former grantiod noted in the directory */
	unsigned former;	   /* the xenbus state that the directory had when the device was opened */
	char what[GD_SERVED_WHAT]; /* of what it serves, when it was opened: for messages; empty, or ends in ", " */
	uint64_t base;		   /* of its registers: keys.base, or chosen for it */

	/* These fields belong to the table (xenbus/table.c). */
	struct gd_guest *guest;
	struct gd_served *chain, *sibling, **sibling_link, *dirty_next, *up_next;
	bool up_listed; /* it is in the list of `up_next`; atomic */
	bool dirty;	/* its directory is to be read again */
	bool unread;	/* it was never read */

	/* These fields belong to the owner (xenbus/step.c, xenbus/xenbus.c). */
	bool waits;	       /* IDLE: its domain is not introduced yet */
	bool coming;	       /* it was served before, and its guest's accesses wait for it */
	struct gd_pause pause; /* IDLE: before the next attempt to open it (xenbus/retry.h) */
	enum gd_announced announced;
	bool forgotten;	 /* its directory was lost when xenstored restarted: nobody has removed it */
	bool others;	 /* its directory says which other ioreq servers its guest has */
	bool leaving;	 /* its directory is to be removed */
	bool resumed;	 /* it goes on where a former process ended, with that one's state and event channel */
	bool left;	 /* this process ends and leaves it to a successor as it is; atomic */
	uint64_t ledger; /* cookie of its ledger; 0: the ledger has no file */
	enum gd_link link;
	bool linked;		      /* the state is 4 because the device was linked */
	uint64_t connection;	      /* of the guest's answer that was taken or refused last */
	bool refused;		      /* it was refused */
	struct gd_served_churn churn; /* how often its guest begins anew */
	uint32_t port;		      /* keys.base is 0: the guest's event channel that is bound; 0: none */
	char *said;		      /* the last complaint, so that it is not said twice */
	bool error_node;	      /* the complaint is in xenstore, too */
	int result;		      /* of the last opening or start: 0, or -errno with a line in `error` */
	char error[GD_SERVED_ERROR];

	struct gd_served_own *own; /* private */
};

/* Make a device, which is IDLE at first. `name`: gd_keys_name(). */
struct gd_served *gd_served_new(struct gd_served_env *env, const struct gd_device_id *id, const char *name);
void gd_served_free(struct gd_served *device); /* IDLE */
/* Note in device->result and device->error why it cannot be served ("WHAT: text of `err`"). Returns `err`. */
int gd_served_fail(struct gd_served *device, int err, const char *what);

/*
 * IDLE -> OPENING; `changed` reports when it is OPENED, or IDLE again with device->result. `keys` is copied. `state` is
 * the xenbus state in the directory. It tells whether the device was served before, and then a driver may be using it.
 * Such a device goes on (device->resumed) if the former process left its ledger; otherwise the driver is told that the
 * device needs a reset. `answer`: what the guest's directory says of its messages (copied), or NULL: nothing. A device
 * that was driven by messages goes on only by the same answer, and is then linked already.
 */
int gd_served_open(struct gd_served *device, const struct gd_keys_device *keys, unsigned state,
		   const struct gd_msg_answer *answer);
/* The address of its registers when a former grantiod served it, so that accesses can wait there; 0: none served it. */
uint64_t gd_served_former_base(const struct gd_served *device);
/* Make accesses to its registers at their former address wait until it is SERVED, stopped or abandoned. */
void gd_served_reserve(struct gd_served *device);
/* IDLE: the device will not be served, so accesses no longer wait for it. */
void gd_served_abandon(struct gd_served *device);
/*
 * OPENED -> SERVED, with registers at `base`. Where the toolstack has given no address, and Xen lets us have no ioreqs
 * of the guest (it is a PV guest, or we have no right to), the device has messages only: then device->base is 0. On
 * failure it stays OPENED, with device->result: stop it.
 */
int gd_served_start(struct gd_served *device, uint64_t base);
/*
 * SERVED, keys.base is 0: send interrupts by the guest's event channel `port`, or none where it is 0. 0 or -errno; on
 * failure no channel is bound.
 */
int gd_served_bind(struct gd_served *device, uint32_t port);
/* OPENED, SERVED: how many event channels for queues its guest may make for messages; 0: it has no messages. */
unsigned gd_served_channels(const struct gd_served *device);
/*
 * SERVED, link NONE: take the guest's answer. `changed` reports when the link is UP, or NONE with device->result and
 * device->error. It is also called if a job was running, and nothing was done: try again then.
 */
void gd_served_link(struct gd_served *device, const struct gd_msg_answer *answer);
/*
 * Link UP: let go of all that is the guest's. `changed` reports the end. While the disk has not ended I/O that uses the
 * guest's memory the link stays ENDING, without a limit, unless the device is stopped.
 */
void gd_served_unlink(struct gd_served *device);
/* Link UP: whether the guest has broken the rules of its messages, so that nothing of it is handled any more. */
bool gd_served_broken(const struct gd_served *device);
/* Link ENDING: whether letting go has failed: no thread could be had that waits for the disk. */
bool gd_served_hangs(const struct gd_served *device);
/* OPENED, SERVED -> CLOSING; `changed` reports when it is IDLE. The guest's accesses do not reach it after the call. */
void gd_served_stop(struct gd_served *device);

/* Have the image's size looked at soon. Does nothing where the device is not SERVED. */
void gd_served_refresh(struct gd_served *device);
/*
 * SERVED: whether it has registers, and so an ioreq server of its guest; the server's number, which is noted for a
 * successor; and how many of its ioreqs were answered.
 */
bool gd_served_registers(const struct gd_served *device);
uint16_t gd_served_server(const struct gd_served *device);
uint64_t gd_served_answered(const struct gd_served *device);
/* SERVED: the virtio device, for its counts and its status. */
struct gd_vdev *gd_served_vdev(const struct gd_served *device);
/* True once the guest's driver has said DRIVER_OK. */
bool gd_served_driver_ok(const struct gd_served *device);
/* True if a successor can go on: the device has a ledger, or its guest still waits for it since a former grantiod. */
bool gd_served_inheritable(const struct gd_served *device);
/* Take no more of the guest's requests: they are left to the successor. There is no way back. */
void gd_served_quiesce(struct gd_served *device);
/* The same, and the queues of a device that is being opened do not begin. Call it again once the device is OPENED. */
void gd_served_leave(struct gd_served *device);
/* How many requests are taken and not answered; 1 where that is not known. After gd_served_quiesce() it falls to 0. */
unsigned gd_served_inflight(const struct gd_served *device);

#endif
