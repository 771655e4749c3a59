/* SPDX-License-Identifier: MIT */
/*
 * What the guest library needs of the system it runs in. One file per system implements this header; it is chosen by
 * linking (guest/os/model: the Xen model; tests/unit: a fake that can fail on demand; kmod: Linux).
 *
 * `struct gio_os` is the system's own; the library only hands it back. All functions may be called from any thread
 * unless noted. The memory functions and the growth of the grant table may fail; nothing else here can.
 *
 * Beyond this header a port has to bring memcpy, memmove, memset and memcmp, which a compiler may call even for
 * freestanding code (for a structure's assignment, for one). Nothing else is called: no libc, no libatomic (the largest
 * atomic access is 64 bits, aligned), no 64-bit division.
 */
#ifndef GRANTIO_OS_H
#define GRANTIO_OS_H

#include <grantio/types.h>

struct gio_os;

/* ---- memory ------------------------------------------------------------------------------------------------- */

/* Zeroed memory for the library's own bookkeeping; never shared with a backend. NULL when there is none. */
void *gio_os_alloc(struct gio_os *os, size_t bytes);
/* Takes NULL. `bytes` is what was asked for. */
void gio_os_free(struct gio_os *os, void *p, size_t bytes);

/* `npages` zeroed 4 KiB units, page aligned, consecutive in the guest's virtual addresses; NULL when there are none. */
void *gio_os_pages_alloc(struct gio_os *os, size_t npages);
/* Gives pages back. A page that is held (below) goes back to the system only with its last hold. Takes NULL. */
void gio_os_pages_free(struct gio_os *os, void *va, size_t npages);

/* The frame behind the 4 KiB unit that holds `va`; `va` must be memory that can be granted. */
gio_gfn_t gio_os_gfn(struct gio_os *os, const void *va);

/*
 * Keep a frame from being reused, although its owner frees it, until the matching put: how the quarantine keeps a page
 * that a backend still has mapped. Holds count. Both are called with locks held: must not sleep. A frame that
 * gio_os_pages_alloc() never gives out (a table that an earlier system left may name any) needs no keeping: nothing.
 */
void gio_os_page_get(struct gio_os *os, gio_gfn_t gfn);
void gio_os_page_put(struct gio_os *os, gio_gfn_t gfn);

/* ---- locks -------------------------------------------------------------------------------------------------- */

/* Room for the system's lock (a Linux spinlock with its flags, where the kernel checks locks too; a pthread mutex). */
struct gio_lock {
	uint64_t opaque[16];
};

void gio_os_lock_init(struct gio_lock *lock);
void gio_os_lock_exit(struct gio_lock *lock);
void gio_os_lock(struct gio_lock *lock);
void gio_os_unlock(struct gio_lock *lock);

/* ---- grant table -------------------------------------------------------------------------------------------- */

/* Where the guest's grant table is, and how large (Xen: GNTTABOP_setup_table, _query_size, _set_version). */
struct gio_os_grant_table {
	void *shared;	  /* entries, contiguous: 8 bytes each in version 1, 16 in version 2 */
	uint16_t *status; /* version 2 only: the status word of each entry; NULL in version 1 */
	uint32_t entries; /* entries that exist now */
	uint32_t max;	  /* entries that the hypervisor would allow */
	uint32_t version; /* 1 or 2 */
};

/*
 * Make the table at least `entries` long (0: as it is) and describe it. The address of an entry never changes by
 * growth. -GIO_ENOSPC above the hypervisor's limit, -GIO_ENOMEM, else 0. May sleep, and is called without locks;
 * several threads may call it at once (each then sees a table at least as long as it asked for).
 */
int gio_os_grant_table(struct gio_os *os, uint32_t entries, struct gio_os_grant_table *out);

/* ---- devices ------------------------------------------------------------------------------------------------ */

/* Access `size` (1, 2, 4) bytes of a device register at guest-physical `addr`. Blocks until the device answers. */
uint32_t gio_os_mmio_read(struct gio_os *os, uint64_t addr, unsigned size);
void gio_os_mmio_write(struct gio_os *os, uint64_t addr, unsigned size, uint32_t value);

/* ---- event channels and time: for devices without registers (virtio/msg.c) -------------------------------------- */

/* A new port that domain `remote` may bind: 0, or -GIO_ENOSPC when the system has no port. */
int gio_os_port_open(struct gio_os *os, gio_domid_t remote, uint32_t *port);
/* The port is free afterwards. The peer's end becomes unbound, and what it sends is lost. */
void gio_os_port_close(struct gio_os *os, uint32_t port);
/* Send an event to whoever has bound the port; nobody may have. Never waits. Orders all earlier stores before it. */
void gio_os_port_send(struct gio_os *os, uint32_t port);
/*
 * Wait until an event has come by the port, at most for `ms` milliseconds: true if one has, which is taken then. Events
 * that came before the call and were not taken end the wait at once. May sleep, and is called without locks.
 */
bool gio_os_port_wait(struct gio_os *os, uint32_t port, unsigned ms);
/* Milliseconds of a clock that never goes back. */
uint64_t gio_os_now_ms(struct gio_os *os);

#endif
