/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk device for unit tests of guest/virtio, behind the register hooks of the fake system. It is written from
 * the device's side of virtio 1.2 and shares no code with the driver: it keeps its rings mapped from QUEUE_READY to
 * reset, and reaches everything else by copies through the grant table, so that whatever is not granted, or granted
 * read-only and then written, fails here (and is counted in `faults`).
 *
 * A test can take over: read_hook lies about registers, serve_hook about statuses, and the *_used functions write the
 * used ring as they like.
 */
#ifndef TESTS_FAKE_DEV_H
#define TESTS_FAKE_DEV_H

#include <abi/virtio_blk.h>
#include <abi/virtio_mmio.h>
#include <abi/virtio_ring.h>

#include "tests/unit/guest/fake_os.h"

#define FAKE_DEV_BASE	 UINT64_C(0x02000000)
#define FAKE_DEV_QUEUES	 4u
#define FAKE_DEV_DOMID	 7u
#define FAKE_DEV_SECTORS 2048u /* that really exist */
#define FAKE_DEV_BUFS	 1100u /* longest chain that is understood */
#define FAKE_DEV_TRACE	 4096u

/* A part of a ring, mapped page by page. */
struct fake_part {
	uint64_t addr;
	unsigned pages;
	uint8_t *page[160];
	bool write;
};

struct fake_queue {
	uint32_t num, ready;
	uint64_t desc, driver, device; /* as the registers have them */
	struct fake_part part[3];      /* descriptor table, available ring, used ring */
	uint16_t avail_idx, used_idx;  /* consumed, produced */
};

/* An available chain, its table flattened. */
struct fake_chain {
	uint16_t head;
	bool indirect;
	unsigned count;
	struct gio_virtq_desc buf[FAKE_DEV_BUFS];
};

struct fake_access {
	bool write;
	unsigned offset, size;
	uint32_t value;
};

struct fake_dev {
	struct gio_os *os;
	gio_domid_t domid;

	/* What it offers; set before the driver opens it. */
	uint64_t features;
	uint32_t num_max;
	struct gio_virtio_blk_config config;
	char id[GIO_VIRTIO_BLK_ID_BYTES];
	bool lazy;	  /* serve nothing on a notify: the test calls fake_dev_run */
	bool keep_mapped; /* do not let go of the rings at reset */

	/* Its state. */
	uint32_t status, features_sel, driver_features_sel, queue_sel, interrupt, generation;
	uint64_t driver_features;
	struct fake_queue queue[FAKE_DEV_QUEUES];
	uint8_t disk[FAKE_DEV_SECTORS * GIO_VIRTIO_BLK_SECTOR];

	/* What it has seen. */
	bool irq; /* raised, until the test takes it */
	unsigned irqs, notifies, resets, served, flushes;
	unsigned faults; /* grants refused and chains that make no sense: 0 for a driver that does its work */
	uint32_t last_type, last_range_flags;
	struct fake_access trace[FAKE_DEV_TRACE];
	unsigned accesses;

	/* Called with the causes of each interrupt, before it is raised: what tells the driver where there are no
	 * registers. */
	void (*raise_hook)(struct fake_dev *dev, uint32_t causes);
	void *raise_opaque;
	/* Called with the value that a register read is about to return; returns the value to return instead. */
	uint32_t (*read_hook)(struct fake_dev *dev, unsigned offset, uint32_t value);
	/* Called with the status that a request is about to get. 0x100: do not write one. */
	unsigned (*serve_hook)(struct fake_dev *dev, const struct fake_chain *chain, unsigned status);
	unsigned hooked; /* for the hooks' own use */
};

/* A device with all features that grantio knows but those of the ring; plugs itself into `os`. Freed by _delete. */
struct fake_dev *fake_dev_new(struct gio_os *os);
void fake_dev_delete(struct fake_dev *dev);  /* lets go of all it has mapped */
void fake_dev_release(struct fake_dev *dev); /* the same, and goes on */

/* Its register hooks, for a test that stands between them and the system. */
void fake_dev_mmio(struct fake_dev *dev, struct fake_os_mmio *out);

/* What registers and messages have in common: the status, a queue that becomes ready, a notification, a mistake. */
void fake_dev_status_write(struct fake_dev *dev, uint32_t value);
void fake_dev_queue_ready(struct fake_dev *dev, struct fake_queue *q);
void fake_dev_notify(struct fake_dev *dev, unsigned queue);
void fake_dev_fault(struct fake_dev *dev, const char *what);

/* Take the next available chain; false when there is none. */
bool fake_dev_take(struct fake_dev *dev, unsigned queue, struct fake_chain *chain);
/* Do what a chain asks for and write its status; returns the bytes written. */
uint32_t fake_dev_serve(struct fake_dev *dev, const struct fake_chain *chain);
/* Put a used element and raise an interrupt, if the driver wants one. */
void fake_dev_complete(struct fake_dev *dev, unsigned queue, uint32_t id, uint32_t len);
/* All three for up to `max` chains, and ask for a kick when the ring is empty. Returns how many were served. */
unsigned fake_dev_run(struct fake_dev *dev, unsigned queue, unsigned max);

/* Write the used ring without regard for anything. */
void fake_dev_put_used(struct fake_dev *dev, unsigned queue, uint16_t at, uint32_t id, uint32_t len);
void fake_dev_set_used_idx(struct fake_dev *dev, unsigned queue, uint16_t idx);
/* What the driver wrote into its ring. */
uint16_t fake_dev_used_event(struct fake_dev *dev, unsigned queue);
uint16_t fake_dev_avail_flags(struct fake_dev *dev, unsigned queue);
void fake_dev_set_avail_event(struct fake_dev *dev, unsigned queue, uint16_t event);
void fake_dev_set_used_flags(struct fake_dev *dev, unsigned queue, uint16_t flags);

/* A new configuration: another generation, and an interrupt. */
void fake_dev_config_changed(struct fake_dev *dev);
void fake_dev_raise(struct fake_dev *dev, uint32_t causes);

#endif
