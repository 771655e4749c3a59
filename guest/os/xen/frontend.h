/* SPDX-License-Identifier: MIT */
/*
 * From xl's directory of a disk to the address of its registers and its interrupt. Where xl has chosen both (Arm), they
 * stand there as in the device tree: `base` and `irq`. Where it has not (x86), this is the guest's side of
 * docs/xenbus.md, version 1: the backend publishes an address, and an event channel is the interrupt.
 *
 * The backend is not trusted: what it publishes must lie where such devices may be. Errors: 0 or negative; -GIO_EAGAIN:
 * the backend did not go on in FRONTEND_MS; -GIO_EPROTO: it published something else.
 */
#ifndef GRANTIO_OS_XEN_FRONTEND_H
#define GRANTIO_OS_XEN_FRONTEND_H

#include <stdbool.h>

#include <grantio/types.h>

#include "store.h"

#define FRONTEND_MS 60000u

struct frontend {
	char dir[STORE_PATH_MAX];     /* device/virtio_disk/N */
	char backend[STORE_PATH_MAX]; /* the backend's directory */
	gio_domid_t domid;	      /* the backend's */
	uint64_t base;		      /* of the registers */
	uint32_t port;		      /* the interrupt, by event channel; 0: none */
	unsigned irq;		      /* or by this line; 0: none */
};

/* Find the disk by its number (51712: xvda), and connect it: states 3 and, once the backend is there, 4. */
int gio_xen_frontend_open(struct frontend *front, unsigned number);
/* The device has ended for us: state 6, and the port is closed, or the line. */
void gio_xen_frontend_close(struct frontend *front);

/* Wait for an interrupt, and leave it pending: 0, or -GIO_EAGAIN: none came in `ms` milliseconds. */
int gio_xen_frontend_wait(const struct frontend *front, unsigned ms);
/* True if one was pending; it is not any more. Before the device is looked at, never after. */
bool gio_xen_frontend_take(const struct frontend *front);

#endif
