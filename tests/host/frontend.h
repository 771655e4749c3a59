/* SPDX-License-Identifier: MIT */
/*
 * The frontend's side of docs/xenbus.md, played by the test: the first disk of domain 1, without an address of the
 * toolstack's, whose interrupt is an event channel of the guest's. The test decides each key and each step.
 */
#ifndef TH_FRONTEND_H
#define TH_FRONTEND_H

#include "tests/host/host.h"

#include "model/guest.h"

struct th_front {
	struct th_host *host;
	struct xs_handle *xs; /* as the guest */
	struct gm_guest_events *events;
	unsigned port; /* for the device's interrupt */
	uint64_t base; /* of the registers, as the backend published it */
};

/* Write the disk as xl writes it on x86. */
void th_front_disk(struct th_host *host, const char *image);
/* With a port for domain 0. */
void th_front_open(struct th_front *front, struct th_host *host);
void th_front_close(struct th_front *front);

/* Write a key of the frontend's directory; NULL removes it. */
void th_front_key(struct th_front *front, const char *key, const char *value);
/* A new port that domain `remote` may bind. */
unsigned th_front_port(struct th_front *front, uint16_t remote);
/* Write a port as the disk's event channel. */
void th_front_port_write(struct th_front *front, unsigned port);
/* Wait for an event at `port`; the next one is then let in. */
void th_front_event(struct th_front *front, unsigned port);

/* Wait for state 2 of the backend, and take what it publishes with it. */
void th_front_offer(struct th_front *front);
/* From the backend's offer to state 4 on both sides. */
void th_front_connect(struct th_front *front);
/* Open the disk by the guest library, write a pattern of `seed`, read it back, and close it. */
void th_front_use(struct th_front *front, unsigned seed);

#endif
