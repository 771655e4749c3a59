/* SPDX-License-Identifier: MIT */
/*
 * The guest's side of docs/xenbus.md, version 1: from xl's directory of a disk to the address of its registers and an
 * event channel that is its interrupt.
 *
 * The backend is not trusted: what it publishes must lie in the window of version 1. Errors: 0 or negative;
 * -GIO_EAGAIN: the backend did not go on in FRONTEND_MS; -GIO_EPROTO: it published something else than version 1 has.
 */
#ifndef GRANTIO_OS_XEN_FRONTEND_H
#define GRANTIO_OS_XEN_FRONTEND_H

#include <grantio/types.h>

#include "store.h"

#define FRONTEND_MS 60000u

struct frontend {
	char dir[STORE_PATH_MAX];     /* device/virtio_disk/N */
	char backend[STORE_PATH_MAX]; /* the backend's directory */
	gio_domid_t domid;	      /* the backend's */
	uint64_t base;		      /* of the registers */
	uint32_t port;		      /* the interrupt; 0: none */
};

/* Find the disk by its number (51712: xvda), and connect it: states 3 and, once the backend is there, 4. */
int gio_xen_frontend_open(struct frontend *front, unsigned number);
/* The device has ended for us: state 6, and the port is closed. */
void gio_xen_frontend_close(struct frontend *front);

#endif
