/* SPDX-License-Identifier: MIT */
/*
 * The machine as a guest sees it: its RAM, its grant table, its vCPUs' device accesses, its interrupts.
 * For programs that are guests (guest/os/model.c, the nbdkit plugin, `grantio bench`, scenarios, hostile tests).
 *
 * Threads: all functions may be called at once. Errors: 0 or -errno.
 */
#ifndef GM_GUEST_H
#define GM_GUEST_H

#include "model/machine.h"

#include <stddef.h>

struct gm_guest;
struct xs_handle;

/*
 * Become the guest `domid` of the machine in `dir`. One process at a time: -EBUSY while another one lives. Grants that
 * a process before this one left are cleared, but for those that another domain still uses: the entries of these stay
 * active, for gio_grants_open() to set aside.
 */
int gm_guest_open(struct gm_guest **guest, const char *dir, uint16_t domid);
/* The process that is this guest now; 0: none. Or -errno. */
int gm_guest_pid(const char *dir, uint16_t domid);
void gm_guest_close(struct gm_guest *guest); /* the domain stays; takes NULL */

/* What it was opened with: the machine, seen as this domain, and the domain's id. */
struct gm_machine *gm_guest_machine(struct gm_guest *guest);
uint16_t gm_guest_domid(const struct gm_guest *guest);

/* The guest's RAM: frame n is at ram + n * 4096. */
void *gm_guest_ram(struct gm_guest *guest, size_t *bytes);

/* Grant table: see gio_os_grant_table() for the fields' meaning; version 1 or 2, `entries` at least. */
struct gm_grant_table {
	void *shared;
	uint16_t *status;
	uint32_t entries, max, version;
};
int gm_guest_grant_version(struct gm_guest *guest, uint32_t version); /* clears the table; -EBUSY with active grants */
int gm_guest_grant_table(struct gm_guest *guest, uint32_t entries, struct gm_grant_table *out);

/*
 * A device access by one of the guest's vCPUs (the library picks a free one). Blocks until the ioreq server answers,
 * for at most `timeout_ms` (-1: without limit): then -ETIMEDOUT, and that vCPU stays stuck, as it would on Xen.
 * Addresses that nobody serves read as ones and swallow writes (0, not an error), and so does one whose server goes.
 * -EFAULT: the device model broke the idle ioreq (Xen: a data abort). -ESHUTDOWN: the domain is destroyed, or crashed,
 * which is what a device model's illegal answer does to it.
 */
int gm_guest_mmio(struct gm_guest *guest, uint64_t addr, unsigned size, bool write, uint64_t *value, int timeout_ms);

/*
 * Block until interrupt `irq` is raised (edge; pulses that nobody waited for are kept as one). -ETIMEDOUT, -EINTR by
 * wake, -ESHUTDOWN when the domain is destroyed or crashed.
 */
int gm_guest_irq_wait(struct gm_guest *guest, unsigned irq, int timeout_ms);
/* Make every gm_guest_irq_wait of that interrupt return -EINTR once; with none waiting, the next. */
void gm_guest_irq_wake(struct gm_guest *guest, unsigned irq);

/* Where a disk is, as the toolstack told the guest. */
struct gm_guest_disk {
	uint16_t backend;
	uint64_t base;
	unsigned irq;
	unsigned devid;
	char front[48]; /* its directory in xenstore, seen from the guest's own */
};
/*
 * Find disk `name` ("xvda", a devid, or NULL for the first) in the guest's own xenstore directory, waiting until its
 * backend says state 2 or more, for at most `timeout_ms`. -ENOENT, -ETIMEDOUT, -EPROTO.
 */
int gm_guest_find_disk(struct gm_guest *guest, const char *name, int timeout_ms, struct gm_guest_disk *out);

/* A connection to xenstore as this guest, which the caller ends by xs_close(). NULL: there is no xenstored. */
struct xs_handle *gm_guest_store(struct gm_guest *guest);
/* Wait at most `timeout_ms` (-1: no limit) for any watch of it to fire, and take all that have. 0, -ETIMEDOUT, -EPIPE.
 */
int gm_guest_store_wait(struct xs_handle *store, int timeout_ms);

/* ---- event channels ----------------------------------------------------------------------------------------- */

/*
 * A domain's own event channels, as its kernel has them. Any process may open them for the domain, whether or not it is
 * the guest; they end with gm_guest_events_close(), which takes NULL.
 */
struct gm_guest_events;
int gm_guest_events_open(struct gm_guest_events **events, const char *dir, uint16_t domid);
void gm_guest_events_close(struct gm_guest_events *events);
/* Readable when a port was raised: each read of a uint32_t takes one port's number, and masks that port. */
int gm_guest_events_fd(const struct gm_guest_events *events);
/* Let the port be told of again. */
void gm_guest_port_unmask(struct gm_guest_events *events, uint32_t port);

/* A port for domain `remote` to bind, as its number; or -errno. */
int gm_guest_port_open(struct gm_guest_events *events, uint16_t remote);
int gm_guest_port_close(struct gm_guest_events *events, uint32_t port); /* -ENOTCONN: not one of these */
/* Raise the other end. 0 also while nobody has bound it; -EINVAL. */
int gm_guest_port_send(struct gm_guest_events *events, uint32_t port);

#endif
