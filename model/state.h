/* SPDX-License-Identifier: MIT */
/*
 * The model's hypervisor state, as it lies in the machine's files, and the handle by which one process uses it.
 * Private to model/: what others may use is in machine.h and guest.h.
 *
 * Truth and caches. The *tracks* of a process (one word per grant that it has mapped or is copying) are the truth
 * about pins; the pin counts of active entries, and the in-use bits in grant tables, follow from them. When a process
 * dies inside a critical section, the next one to take the lock rebuilds those from the tracks (gm_grant_rebuild).
 *
 * Locks, in the order in which they may be taken: `big` (domains, event channel bindings, process and event handle
 * slots), then a domain's `io_lock` (its ioreq servers), then a domain's `grant_lock` (active entries, table size).
 * Never two domains' locks of one kind. Event delivery and statistics take none: atomics only.
 */
#ifndef GM_STATE_H
#define GM_STATE_H

#include "model/machine.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>

#define GM_MAGIC	0x31304d4f49544e47ull /* "GNTIOM01" */
#define GM_PAGE_SIZE	4096u
#define GM_PAGE_SHIFT	12u
#define GM_MAX_PROCS	128u
#define GM_MAX_TRACKS	65536u
#define GM_MAX_PORTS	1024u
#define GM_MAX_VCPUS	32u
#define GM_MAX_IRQS	1020u
#define GM_FIRST_SPI	32u
#define GM_MAX_HANDLES	512u
#define GM_MAX_SERVERS	8u
#define GM_MAX_RANGES	256u
#define GM_MAX_NOTIFIES 16u
#define GM_MAX_FRAMES	4096u /* most pages of grant table that a domain can be given */

/* ---- event channels ----------------------------------------------------------------------------------------- */

enum gm_port_state { GM_PORT_FREE, GM_PORT_RESERVED, GM_PORT_UNBOUND, GM_PORT_INTERDOMAIN };

#define GM_PORT_PENDING 1u /* raised, not delivered */
#define GM_PORT_MASKED	2u /* delivered and not yet unmasked: /dev/xen/evtchn's `enabled`, inverted */

/* The consumer of a port's events: nobody yet, an open event channel handle, or Xen itself for a vCPU's ioreq. */
#define GM_OWNER_NONE 0u
#define GM_OWNER_VCPU 0x80000000u /* | vCPU */

struct gm_port {
	uint64_t link;	/* atomic; gm_link(): state, peer domain, peer port */
	uint32_t flags; /* atomic; GM_PORT_* */
	uint32_t owner; /* atomic; GM_OWNER_* or a handle's token */
};

static inline uint64_t gm_link(enum gm_port_state state, uint16_t domid, uint32_t port)
{
	return (uint64_t)state << 56 | (uint64_t)domid << 32 | port;
}

static inline enum gm_port_state gm_link_state(uint64_t link)
{
	return (enum gm_port_state)(link >> 56);
}

static inline uint16_t gm_link_domid(uint64_t link)
{
	return (uint16_t)(link >> 32);
}

static inline uint32_t gm_link_port(uint64_t link)
{
	return (uint32_t)link;
}

/* An open event channel handle: its pipe is the file `ev.<slot>.<gen>`. Token: gen << 16 | slot + 1, below bit 31. */
struct gm_handle {
	uint32_t token; /* atomic; 0: free */
	uint32_t gen;
	uint32_t proc;	/* slot + 1 of the process that has it open */
	uint16_t domid; /* whose ports it can bind */
};

/* ---- ioreq servers ------------------------------------------------------------------------------------------ */

enum gm_io_type { GM_IO_PORT, GM_IO_MMIO, GM_IO_TYPES };

struct gm_range {
	uint64_t start, end; /* inclusive */
};

struct gm_server {
	bool used, enabled, page_made, buffered;
	uint16_t emulator;
	uint32_t gen; /* counts creations: tells a vCPU that waits that its server is another */
	uint32_t buf_port;
	uint32_t vcpu_port[GM_MAX_VCPUS];
	uint32_t nr_ranges[GM_IO_TYPES];
	struct gm_range range[GM_IO_TYPES][GM_MAX_RANGES];
};

struct gm_vcpu {
	uint32_t gen;	  /* futex: counts what may have answered this vCPU */
	uint32_t waiters; /* somebody waits on gen */
	uint32_t pending; /* id + 1 of the server whose answer is outstanding */
};

struct gm_irq {
	uint32_t gen;	  /* futex: counts edges */
	uint32_t waiters; /* how many wait on gen */
	uint32_t pending; /* raised and not yet taken */
};

/* ---- domains ------------------------------------------------------------------------------------------------ */

struct gm_active { /* one per grant table entry; Xen's struct active_grant_entry */
	uint64_t frame;
	uint32_t readers, writers; /* pins */
	uint16_t domid;		   /* the domain that may use it: fixed by the first pin */
	uint16_t sub_page;
	uint16_t start, length; /* what may be copied */
};

struct gm_fault_slot {
	uint32_t left;	 /* calls until it strikes; 0: none set */
	uint32_t struck; /* it has */
};

struct gm_domain {
	uint32_t state;	  /* atomic; enum gm_domain_state */
	uint32_t epoch;	  /* atomic; counts creations under this id */
	uint32_t targets; /* domains for which this one may be device model (bit per id) */
	uint32_t vcpus;
	uint64_t ram_frames;
	uint32_t max_frames; /* pages of grant table at most */
	uint32_t frames;     /* atomic; pages of grant table now */
	uint32_t version;    /* atomic; 1 or 2 */
	uint32_t irq_event;
	uint32_t guest_proc; /* slot + 1 of the process that is this guest */

	pthread_mutex_t grant_lock;
	uint32_t active_count;	/* entries with a pin */
	uint32_t foreign_count; /* foreign and resource mappings */

	pthread_mutex_t io_lock;
	struct gm_server server[GM_MAX_SERVERS];

	struct gm_stats stats; /* the counters; what is outstanding is counted on demand */
	struct gm_fault_slot fault[GM_FAULT_KINDS];
	struct gm_vcpu vcpu[GM_MAX_VCPUS];
	struct gm_irq irq[GM_MAX_IRQS];
	struct gm_port port[GM_MAX_PORTS];
};

/* ---- processes ---------------------------------------------------------------------------------------------- */

/* A track: what one mapping or one copy in progress holds of another domain. 0: nothing. */
#define GM_TRACK_HELD	 (UINT64_C(1) << 63)
#define GM_TRACK_WRITE	 (UINT64_C(1) << 62)
#define GM_TRACK_COPY	 (UINT64_C(1) << 61) /* only for the time of a copy: not a mapping */
#define GM_TRACK_FOREIGN (UINT64_C(1) << 60) /* foreign or resource mapping: no reference */

static inline uint64_t gm_track(uint16_t domid, uint32_t ref, uint64_t flags)
{
	return GM_TRACK_HELD | flags | (uint64_t)domid << 32 | ref;
}

static inline uint16_t gm_track_domid(uint64_t track)
{
	return (uint16_t)(track >> 32);
}

static inline uint32_t gm_track_ref(uint64_t track)
{
	return (uint32_t)track;
}

/* What to do when a mapping goes (xengnttab_map_grant_ref_notify), or a page that is shared. */
#define GM_NOTIFY_SHARED 0x80000000u
struct gm_notify {
	uint32_t used;
	uint32_t track;	 /* index of the mapping's track; or GM_NOTIFY_SHARED and the frame */
	uint32_t offset; /* byte to clear; >= GM_PAGE_SIZE: none */
	uint32_t port;	 /* to signal; UINT32_MAX: none */
};

struct gm_proc {
	uint32_t state; /* atomic; 0 free, 1 in use */
	uint32_t gen;
	int32_t pid;
	uint16_t domid;
	uint32_t tracks_end; /* atomic; tracks at and above this were never used */
	struct gm_notify notify[GM_MAX_NOTIFIES];
};

struct gm_state {
	uint64_t magic;
	uint64_t size;
	pthread_mutex_t big;
	uint32_t last_domid; /* the id given out last */
	struct gm_domain domain[GM_MAX_DOMAINS];
	struct gm_proc proc[GM_MAX_PROCS];
	struct gm_handle handle[GM_MAX_HANDLES];
	uint64_t track[GM_MAX_PROCS][GM_MAX_TRACKS]; /* atomic words; sparse */
};

/* ---- one process's view ------------------------------------------------------------------------------------- */

/* A domain's files, mapped. Immutable once made; kept while somebody uses it, dropped when the domain is gone. */
struct gm_attach {
	uint32_t refs; /* under gm_machine.lock */
	uint32_t epoch;
	uint16_t domid;
	int ram_fd, ram_ro_fd, io_fd, grant_fd;
	uint64_t ram_frames;
	uint32_t max_frames;
	uint8_t *ram;
	uint8_t *grants;	  /* max_frames pages of entries, then the status words of version 2 */
	struct gm_active *active; /* max_frames * 512 */
	uint8_t *io;		  /* per server: buffered page, ioreq page */
};

struct gm_machine {
	char *dir;
	struct gm_state *state;
	uint16_t domid; /* who we are */
	uint32_t epoch; /* and which domain of that id */
	uint32_t proc;	/* our slot */
	uint32_t proc_gen;
	int keeper_fd;			    /* connection to the keeper, or -1 */
	const struct gm_recovery *recovery; /* lock.h */

	pthread_mutex_t lock; /* attachments and free tracks */
	struct gm_attach *attach[GM_MAX_DOMAINS];
	uint32_t *track_free;
	uint32_t track_nfree;

	pthread_mutex_t share_lock; /* what this process shares, in its domain's table */

	pthread_rwlock_t pipes_lock; /* write ends of other processes' event pipes */
	struct {
		uint32_t token;
		int fd;
	} pipe[GM_MAX_HANDLES];
};

/* Open as `domid`; gm_machine_open() is this for domain 0. */
int gm_machine_open_as(struct gm_machine **machine, const char *dir, uint16_t domid);
/* In the child of a fork: forget the machine without releasing anything of the parent's. */
void gm_machine_forget(struct gm_machine *machine);

static inline struct gm_domain *gm_dom(struct gm_machine *machine, uint16_t domid)
{
	return &machine->state->domain[domid];
}

static inline uint32_t gm_dom_state(struct gm_machine *machine, uint16_t domid)
{
	return domid < GM_MAX_DOMAINS ? __atomic_load_n(&gm_dom(machine, domid)->state, __ATOMIC_ACQUIRE)
				      : (uint32_t)GM_DOMAIN_NONE;
}

/* A domain that may be talked to: it exists and nobody has destroyed it. */
static inline bool gm_dom_alive(struct gm_machine *machine, uint16_t domid)
{
	uint32_t s = gm_dom_state(machine, domid);

	return s == GM_DOMAIN_RUNNING || s == GM_DOMAIN_CRASHED;
}

/* The caller's own domain is still the one it opened the machine as: hypercalls of others' ghosts fail. */
static inline bool gm_self_alive(struct gm_machine *machine)
{
	return gm_dom_alive(machine, machine->domid) &&
	       __atomic_load_n(&gm_dom(machine, machine->domid)->epoch, __ATOMIC_ACQUIRE) == machine->epoch;
}

/* Adds to a statistic of the calling domain. */
#define GM_COUNT(machine, field, n) \
	__atomic_fetch_add(&gm_dom(machine, (machine)->domid)->stats.field, (n), __ATOMIC_RELAXED)

#endif
