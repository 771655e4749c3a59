/* SPDX-License-Identifier: MIT */
/*
 * What the tests of guest/virtio stand on: a fake system, its grants, a fake device, and a driver or not. rig_close()
 * is the leak oracle: everything that was allocated or granted must be gone, and neither side may have made a mistake.
 */
#ifndef TESTS_VIRTIO_RIG_H
#define TESTS_VIRTIO_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <grantio/virtio_blk.h>

#include "guest/virtio/transports.h"
#include "tests/unit/virtio/fake_dev.h"
#include "tests/unit/virtio/fake_msg.h"

#define RIG_SEGMENTS 128u

struct blk_rig {
	struct gio_os *os;
	struct gio_grants *grants;
	struct gio_pool *pool; /* by rig_pool() */
	struct fake_dev *dev;
	struct gio_msg_connection *connection; /* NULL: the device is reached by registers */
	struct fake_msg msg;		       /* its other side */
	struct gio_blk *blk;
	struct gio_blk_config config; /* changed before rig_open, if at all */
};

struct rig_req {
	struct gio_blk_req req;
	struct gio_sg sg[RIG_SEGMENTS];
	unsigned done;	/* times that it was called */
	unsigned order; /* of completion among all requests of the process, from 1 */
	struct blk_rig *rig;
};

/* True where the device is reached by messages: RIG_TRANSPORT=msg in the environment, which runs a test once more. */
bool rig_by_messages(void);
/* Leave a test out that is about registers. */
#define RIG_REGISTERS_ONLY()           \
	do {                           \
		if (rig_by_messages()) \
			skip();        \
	} while (0)

/* Everything but the driver. `grant_version` 1 or 2. */
void rig_init(struct blk_rig *rig, uint32_t grant_version);
/* Give the driver a pool, before rig_open(): `pages` in each area. */
void rig_pool(struct blk_rig *rig, uint32_t pages);
/* Open the driver, which must work. */
void rig_open(struct blk_rig *rig);
/* Close the driver if it is open, then check for leaks and mistakes, of which `faults` are the device's. */
void rig_close_with(struct blk_rig *rig, unsigned faults);
void rig_close(struct blk_rig *rig);

/*
 * Run `test` on an open rig with both versions of the grant table, indirect on and off, event index on and off, with a
 * pool and without; the rig is closed after each.
 */
void rig_over_modes(void (*test)(struct blk_rig *rig));

/* Pages for data, filled with `fill`. Given back before rig_close. */
uint8_t *rig_pages(struct blk_rig *rig, size_t pages, int fill);
void rig_pages_free(struct blk_rig *rig, uint8_t *p, size_t pages);

/* A request without data; then data is added to it. */
void rig_req_init(struct blk_rig *rig, struct rig_req *r, enum gio_blk_op op, uint64_t sector);
void rig_req_data(struct rig_req *r, void *p, size_t len);
/* Submit, kick, take interrupts until it is done; returns its result. Submitting must work. */
int rig_run(struct blk_rig *rig, struct rig_req *r);
/* The same with one data segment. */
int rig_io(struct blk_rig *rig, enum gio_blk_op op, uint64_t sector, void *p, size_t len);
/* Submit to queue 0 only. */
int rig_submit(struct blk_rig *rig, struct rig_req *r);
/* Take the interrupt while there is one; returns the causes. */
unsigned rig_interrupt(struct blk_rig *rig);

/* Where the device is. */
struct gio_transports_place rig_place(const struct blk_rig *rig);

/*
 * References in use now, those in quarantine included, but for those of the connection; of a pool those whose pages are
 * in use.
 */
uint32_t rig_grants(struct blk_rig *rig);

#endif
