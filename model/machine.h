/* SPDX-License-Identifier: MIT */
/*
 * The machine: the model's hypervisor state, as its control domain sees it.
 *
 * A machine is a directory (tmpfs is best). It holds the shared state (`machine`), each domain's RAM and grant table,
 * event-channel pipes, ioreq pages, and the store's sockets. Every process that takes part maps the shared state;
 * hypercalls run in the caller's process under process-shared robust locks.
 * The model checks every grant as Xen does, but is no sandbox (docs/threat-model.md).
 *
 * Threads: all functions may be called at once, but gm_keeper_run() and the closers. After fork(), a child must not use
 * a machine or guest that its parent opened. Errors: 0 or -errno.
 */
#ifndef GM_MACHINE_H
#define GM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define GM_MAX_DOMAINS 32

struct gm_machine;

/* Make a machine in `dir` (which must not hold one) with domain 0 in it. 0 or -errno. */
int gm_machine_create(const char *dir);
/* Map an existing machine. 0 or -errno; -ENOENT when the directory holds no machine. */
int gm_machine_open(struct gm_machine **machine, const char *dir);
void gm_machine_close(struct gm_machine *machine); /* takes NULL */
const char *gm_machine_dir(const struct gm_machine *machine);

struct gm_domain_config {
	uint16_t domid;	       /* 0: the next free one */
	uint64_t ram_bytes;    /* a multiple of 4096 */
	unsigned vcpus;	       /* 1 to 32 */
	uint32_t grant_frames; /* most pages of grant table; 0: 64, as xl's default */
	bool irq_event;	       /* reserved for x86-like machines: no set_irq_level */
};

/* 0 or -errno; writes the id. The store is the caller's affair (see cli/: `grantio model create`). */
int gm_domain_create(struct gm_machine *machine, const struct gm_domain_config *config, uint16_t *domid);
/* Stop the domain: its event channels and ioreq servers go; its memory goes with the last foreign mapping. */
int gm_domain_destroy(struct gm_machine *machine, uint16_t domid);

enum gm_domain_state {
	GM_DOMAIN_NONE,
	GM_DOMAIN_RUNNING,
	GM_DOMAIN_DYING,   /* destroyed; some of its pages are still mapped elsewhere */
	GM_DOMAIN_CRASHED, /* its device model broke the ioreq protocol: no vCPU runs, the toolstack may destroy it */
};

/* What a domain has done (as caller), and what it has outstanding. All counts since the domain was created. */
struct gm_stats {
	/* by this domain as caller */
	uint64_t hypercalls;		   /* all of them; each of the following is part of it */
	uint64_t grant_maps, grant_unmaps; /* hypercalls; gntdev does one per call whatever the page count */
	uint64_t pages_mapped;		   /* references mapped, in total */
	uint64_t grant_copy_calls;	   /* xengnttab_grant_copy ioctls */
	uint64_t grant_copies;		   /* hypercalls: ceil(operations / 16) of each ioctl, as Linux's gntdev does */
	uint64_t grant_copy_ops;	   /* operations: local buffers are split at page boundaries */
	uint64_t bytes_copied;
	uint64_t event_sends;
	uint64_t dm_ops;	 /* devicemodel calls, set_irq_level among them */
	uint64_t irqs_raised;	 /* set_irq_level with level 1 */
	uint64_t grants_refused; /* map or copy operations with a bad status */
	/* of this domain as guest */
	uint64_t ioreqs; /* MMIO accesses that went to an ioreq server */
	/* outstanding now: the leak oracle */
	uint32_t grants_active; /* entries of this domain that are pinned by somebody */
	uint32_t mappings_held; /* references of other domains that this domain has mapped */
	uint32_t ports;		/* event channels of this domain */
	uint32_t ioreq_servers; /* for this domain */
};

/*
 * Make `domid` a device model of `target` too (Xen: XEN_DOMCTL_set_target, or a FLASK policy): what a driver domain
 * needs for ioreq servers, interrupts and foreign mappings of a guest. Domain 0 needs none. Ends with either domain.
 */
int gm_domain_set_target(struct gm_machine *machine, uint16_t domid, uint16_t target);

/* GM_DOMAIN_NONE also for an id that no domain can have. */
enum gm_domain_state gm_domain_state(struct gm_machine *machine, uint16_t domid);
/* 0 or -ESRCH. */
int gm_domain_stats(struct gm_machine *machine, uint16_t domid, struct gm_stats *out);

/*
 * Fault injection: the n-th next call (n = 1: the next) of that kind, by `domid`, fails as it would on a real host:
 * MAP, COPY (the whole call: -1), DM_OP and MAP_RESOURCE with ENOMEM, BIND with ENOSPC, NOTIFY with ENOTCONN.
 */
enum gm_fault {
	GM_FAULT_MAP,
	GM_FAULT_COPY,
	GM_FAULT_NOTIFY,
	GM_FAULT_BIND,
	GM_FAULT_DM_OP,
	GM_FAULT_MAP_RESOURCE,
	GM_FAULT_KINDS
};
int gm_fault_set(struct gm_machine *machine, uint16_t domid, enum gm_fault kind, uint32_t n); /* 0: none */
/* True when the fault that was set has struck. */
bool gm_fault_struck(struct gm_machine *machine, uint16_t domid, enum gm_fault kind);

/*
 * Processes. Each one that maps the machine holds a connection to its keeper (the daemon of `grantio model start`);
 * when it ends, however it ends, the keeper releases its mappings and ports as the kernel's gntdev and evtchn do.
 */
struct gm_keeper;
int gm_keeper_open(struct gm_keeper **keeper, struct gm_machine *machine);
void gm_keeper_close(struct gm_keeper *keeper);
int gm_keeper_fd(const struct gm_keeper *keeper); /* an epoll descriptor: readable when there is something to do */
void gm_keeper_run(struct gm_keeper *keeper);	  /* do it, without blocking */

#endif
