/* SPDX-License-Identifier: MIT */
/*
 * From xl's directory of a disk to what a driver needs of it (docs/xenbus.md). There are three ways:
 * - messages, where the backend offers them (version 2): pages for them, ports, and a pool of copies, so that the
 *   backend sees no other memory of the guest's, and no access to the device waits for it;
 * - registers that the backend places (version 1), and an event channel as the interrupt;
 * - registers and an interrupt line that xl has chosen (Arm), as in the device tree: `base` and `irq`.
 *
 * The backend is not trusted: what it publishes is checked, and each wait for it has a limit. Errors: 0 or negative;
 * -GIO_EAGAIN: the backend did not go on in FRONTEND_MS; -GIO_EPROTO: it published something else.
 */
#ifndef GRANTIO_OS_XEN_FRONTEND_H
#define GRANTIO_OS_XEN_FRONTEND_H

#include <stdbool.h>

#include <grantio/types.h>

#include "messages.h"
#include "store.h"

#define FRONTEND_MS 60000u

struct frontend {
	char dir[STORE_PATH_MAX];     /* device/virtio_disk/N */
	char backend[STORE_PATH_MAX]; /* the backend's directory */
	gio_domid_t domid;	      /* the backend's */
	/* By messages; without a connection: by registers. For struct gio_blk_config, and so is `base`. */
	struct messages messages;
	bool placed;   /* by xl, which has chosen address and line: our state counts for messages alone */
	uint64_t base; /* of the registers */
	uint32_t port; /* their interrupt, by event channel; 0: none */
	unsigned irq;  /* or by this line; 0: none */
};

/*
 * Find the disk by its number (51712: xvda), and connect it: states 3 and, once the backend is there, 4. `grants` is
 * what messages lend pages from, and outlives the connection; NULL: registers, whatever is offered. On failure nothing
 * is left, and `front` need not be closed.
 */
int gio_xen_frontend_open(struct frontend *front, unsigned number, struct gio_grants *grants);
/*
 * The device has ended for us: state 6, if xl has not placed it, and the ports are closed, or the line. A backend that
 * has messages is given FRONTEND_MS to let go of what it was lent; what it keeps goes to quarantine. The driver was
 * closed before.
 */
void gio_xen_frontend_close(struct frontend *front);

/* Wait for an interrupt, and leave it pending: 0, or -GIO_EAGAIN: none came in `ms` milliseconds. */
int gio_xen_frontend_wait(const struct frontend *front, unsigned ms);
/* True if one was pending; it is not any more. Before the device is looked at, never after. */
bool gio_xen_frontend_take(const struct frontend *front);

#endif
