/* SPDX-License-Identifier: MIT */
/*
 * A fake system for unit tests of the guest library: implements grantio/os.h, fails on demand, and watches its user.
 *
 * It has an arena of pages (the guest's RAM), a grant table of either version, and a *peer*: what a hypervisor does for
 * another domain that uses a grant, following xen/common/grant_table.c step by step (pin, look twice, unpin), safe to
 * be run by threads of its own beside the code under test.
 *
 * Frames: page i of the arena has frame base + i with neighbours swapped, so that consecutive pages never have
 * consecutive frames. Mistakes of the library (memory freed with a wrong size, a frame asked of memory that cannot be
 * granted, a hold put too often, the system asked to sleep under a lock, ...) are printed and counted; fake_os_delete()
 * returns them all with what leaked. A test is clean when that is 0.
 */
#ifndef TESTS_FAKE_OS_H
#define TESTS_FAKE_OS_H

#include <grantio/os.h>

struct fake_os_config {
	size_t pages;	     /* of the arena, made even; 0: 256 */
	uint32_t version;    /* of the grant table; 0: 1 */
	uint32_t frames;     /* pages of grant table at the start; 0: 1 */
	uint32_t max_frames; /* and at most; 0: 4 */
	gio_gfn_t gfn_base;  /* frame of the arena's start, even; 0: 0x40000 */
};

/* NULL for the defaults. Never fails (exits if the host has no memory). */
struct gio_os *fake_os_new(const struct fake_os_config *config);
/*
 * The leak oracle: mistakes and leaks (memory, pages, holds, references pinned by the peer) found, 0 if clean.
 * Takes the system down.
 */
unsigned fake_os_delete(struct gio_os *os);
/* The same count so far, and mistakes only. */
unsigned fake_os_mistakes(struct gio_os *os);

/* ---- faults ------------------------------------------------------------------------------------------------- */

enum fake_fault {
	FAKE_ALLOC,	  /* gio_os_alloc */
	FAKE_PAGES_ALLOC, /* gio_os_pages_alloc */
	FAKE_GROW,	  /* gio_os_grant_table, when it would have to make the table longer: -GIO_ENOMEM */
	FAKE_PORT,	  /* gio_os_port_open */
	FAKE_ANY,	  /* any of these */
	FAKE_FAULTS
};

/* The n-th next (1: the next) such operation fails, once. 0: none. */
void fake_os_fail(struct gio_os *os, enum fake_fault fault, unsigned n);
/* True once the fault that was set has struck: a fault loop ends when it did not. */
bool fake_os_struck(struct gio_os *os, enum fake_fault fault);

/* ---- what is outstanding ------------------------------------------------------------------------------------ */

struct fake_os_counts {
	size_t allocs, bytes; /* gio_os_alloc */
	size_t pages;	      /* of the arena: allocated, or freed and held */
	size_t holds;	      /* gio_os_page_get */
	unsigned grows;	      /* calls that made the table longer, so far */
	uint32_t entries;     /* of the grant table */
	size_t active;	      /* entries whose flags permit something */
	size_t ports;	      /* gio_os_port_open */
};
void fake_os_count(struct gio_os *os, struct fake_os_counts *out);

/* The page of a frame; NULL if it is not in the arena. */
void *fake_os_va(struct gio_os *os, gio_gfn_t gfn);
unsigned fake_os_page_holds(struct gio_os *os, gio_gfn_t gfn);
bool fake_os_page_used(struct gio_os *os, gio_gfn_t gfn); /* allocated, or freed and held */

/* ---- the peer ----------------------------------------------------------------------------------------------- */

/*
 * Domain `domid` takes reference `ref` into use, as for a map or a copy: 0 or a GIO_GNTST_* status. `gfn` (may be NULL)
 * is the frame that it got. Uses add up; the first of a reference decides on the domain, as on Xen.
 */
int fake_peer_pin(struct gio_os *os, gio_domid_t domid, gio_gref_t ref, bool write, gio_gfn_t *gfn);
void fake_peer_unpin(struct gio_os *os, gio_gref_t ref, bool write);
size_t fake_peer_pins(struct gio_os *os); /* uses now */

/*
 * Called between the peer's mark of use and its second look at flags (version 2) or before its compare-and-exchange
 * (version 1): where a test lets the guest act in the narrowest window. NULL: nothing.
 */
void fake_peer_hook(struct gio_os *os, void (*hook)(struct gio_os *os, gio_gref_t ref, void *opaque), void *opaque);

/*
 * A backend's copy: `len` bytes from (write: to) DMA address `addr`, through the grants, page by page. 0 or a status;
 * what comes before a refused page is copied.
 */
int fake_peer_copy(struct gio_os *os, gio_domid_t domid, uint64_t addr, void *buf, size_t len, bool write);

/* ---- device registers --------------------------------------------------------------------------------------- */

/* Where gio_os_mmio_read and _write go; without it they are mistakes (and read as ones). */
struct fake_os_mmio {
	uint32_t (*read)(void *opaque, uint64_t addr, unsigned size);
	void (*write)(void *opaque, uint64_t addr, unsigned size, uint32_t value);
	void *opaque;
};
void fake_os_set_mmio(struct gio_os *os, const struct fake_os_mmio *mmio);

/* ---- event channels and time ------------------------------------------------------------------------------------ */

#define FAKE_OS_PORTS 32u /* port 0 is none */

/*
 * Where gio_os_port_send goes; without it nobody has bound the ports, and what is sent is lost. `wait` is called when a
 * port is waited for that has no event: it may raise one. If it does not, the clock goes on by the whole wait at once,
 * and nobody really waits.
 */
struct fake_os_ports {
	void (*send)(void *opaque, uint32_t port);
	void (*wait)(void *opaque, uint32_t port, unsigned ms);
	void *opaque;
};
void fake_os_set_ports(struct gio_os *os, const struct fake_os_ports *ports);
/* The peer sends an event: the port's. */
void fake_os_port_raise(struct gio_os *os, uint32_t port);
/* The clock goes on. */
void fake_os_pass(struct gio_os *os, unsigned ms);
/* The domain that may bind the port; UINT16_MAX: the port is not open. */
gio_domid_t fake_os_port_remote(struct gio_os *os, uint32_t port);

#endif
