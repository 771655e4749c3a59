/* SPDX-License-Identifier: MIT */
/*
 * Scenarios that run on the model and on real Xen, from one source: what they print on either must be the same, line
 * by line (transcript.txt). So a line says nothing of numbers that a system chooses: ports, domains, addresses, times.
 *
 * A small guest (guest/os/xen, or model.c in its place) runs them; a *peer* (peer.c) in its backend's domain does what
 * the guest asks for by xenstore. Two disks: xvda, 4 MiB, may be written; xvdb, 1 MiB, may not.
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include <grantio/grant.h>
#include <grantio/virtio_blk.h>

#include "guest/os/xen/frontend.h"
#include "guest/os/xen/store.h"
#include "guest/os/xen/xen.h"

#define DISK_RW	     51712u
#define DISK_RO	     51728u
#define WAIT_MS	     60000u
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct world {
	struct gio_grants *grants;
	struct frontend rw, ro; /* connected while the disks' scenarios run */
};

/* Each prints its part of the transcript. */
void registers_run(struct world *world);
void disk_run(struct world *world);
void disk_life_run(struct world *world);
void grants_run(struct world *world);
void events_run(struct world *world);
void store_run(struct world *world);
/* The program of docs/small-guest.md: writes a page, and reads it back. */
int example_run(struct gio_grants *grants, unsigned number, void *page);

/*
 * Ask the peer: its result, a number that is 0 or negative when something failed; `data`, if not NULL, a second one.
 * The commands are in peer.c.
 */
int peer_ask(const char *what, unsigned a, unsigned b, unsigned c, int *data);

/* ---- disk.c: one disk, one request at a time -------------------------------------------------------------------- */

struct disk {
	struct gio_blk *blk;
	struct frontend *front;
	unsigned config_changes;
};

int disk_open(struct disk *disk, struct world *world, struct frontend *front, bool indirect, bool event_idx);
void disk_close(struct disk *disk);
/* Submit, kick, and wait for all of `count`; the first error. */
int disk_requests(struct disk *disk, struct gio_blk_req *reqs, unsigned count);
int disk_request(struct disk *disk, enum gio_blk_op op, uint64_t sector, void *va, size_t bytes);
/* Wait until `*flag` is not 0: an interrupt may make it so. */
int disk_wait(struct disk *disk, const unsigned *flag);

#endif
