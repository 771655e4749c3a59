/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest, and the host that it is a guest of: grantiod serves its disk, and that of an honest guest beside it.
 *
 * Concepts. The hostile guest has no driver. It writes grant entries, descriptors, rings and registers by hand, right
 * or wrong. Entry n of its grant table grants frame n to domain 0, from HG_FIRST to HG_GRANTS - 1, so that an offset
 * into its RAM is also the DMA address of that byte (hg_dma); a test breaks single entries. A *scene* is the whole: the
 * host, the hostile guest (domain 1), the honest one (domain 2). hg_scene_end() is the verdict on every attack: the
 * hostile guest's own device works again after a reset, the honest guest's disk serves I/O, grantiod is the same
 * process, nothing is left once the guest is destroyed, and grantiod ends in good order (under ASan that includes its
 * own leaks).
 *
 * Threads: the test's, but hg_access() is for any. Failures end the test. Waiting: for interrupts, with TH_SECONDS as
 * limit.
 */
#ifndef HOSTILE_GUEST_H
#define HOSTILE_GUEST_H

#include "tests/host/host.h"

#include <abi/dma_addr.h>
#include <abi/grant_table.h>
#include <abi/virtio.h>
#include <abi/virtio_blk.h>
#include <abi/virtio_mmio.h>
#include <abi/virtio_ring.h>

#include "model/guest.h"

#define HG_PAGE	   4096u
#define HG_FIRST   16u
#define HG_GRANTS  1024u
#define HG_QUEUES  4u
#define HG_ENTRIES 256u /* of a queue; grantiod's default */
#define HG_SLOTS   85u	/* requests of three descriptors in a queue of HG_ENTRIES */

/* Where things are in its RAM, in bytes. */
#define HG_HEADERS (64 * HG_PAGE) /* 16 bytes a slot */
#define HG_STATUS  (65 * HG_PAGE) /* a byte a slot */
#define HG_TABLES  (66 * HG_PAGE) /* indirect tables */
#define HG_DATA	   (128 * HG_PAGE)
#define HG_HOLE	   (2048 * HG_PAGE) /* never granted */

#define HG_UNTOLD 0xaau /* in a status byte that the device has not written */

#define HG_FEATURES (GIO_VIRTIO_F_VERSION_1 | (hg_dma_bit ? GIO_VIRTIO_F_ACCESS_PLATFORM : 0))

#define HG_NEXT	 GIO_VIRTQ_DESC_F_NEXT
#define HG_WRITE GIO_VIRTQ_DESC_F_WRITE
#define HG_TABLE GIO_VIRTQ_DESC_F_INDIRECT

struct hg_queue {
	unsigned size;
	uint32_t desc, avail, used; /* where, in RAM */
	uint16_t next, seen;	    /* our indices of the available and the used ring */
};

struct hg {
	struct gm_guest *guest;
	uint8_t *ram;
	struct gio_grant_entry_v1 *grants;
	uint64_t base;
	unsigned irq;
	struct hg_queue queue[HG_QUEUES];
};

/* ---- the guest -------------------------------------------------------------------------------------------------- */

/* Be the guest `domid`, whose disk xvda is served. Closed by gm_guest_close(hg->guest). */
void hg_open(struct hg *hg, struct th_host *host, uint16_t domid);

/* The same with a device of which the caller knows where its registers are. */
void hg_enter(struct hg *hg, struct th_host *host, uint16_t domid, uint64_t base, unsigned irq);

/* GIO_DMA_GRANT_BIT, or 0: the scene is one without grants (hg_options.foreign). */
extern uint64_t hg_dma_bit;

static inline uint64_t hg_dma(uint64_t ram)
{
	return hg_dma_bit | ram;
}

/* Grant frame `ref` by entry `ref` again, after a test broke it. */
void hg_grant(struct hg *hg, uint32_t ref, uint16_t flags);
/* Wait until nobody uses the entry, and end it. */
void hg_revoke(struct hg *hg, uint32_t ref);

/* An access of the device, any offset and size; fails the test only if it is not answered. */
uint64_t hg_access(struct hg *hg, uint64_t offset, unsigned size, bool write, uint64_t value);
uint32_t hg_read(struct hg *hg, uint64_t offset);
void hg_write(struct hg *hg, uint64_t offset, uint32_t value);

void hg_reset(struct hg *hg);
/* Reset, acknowledge, and negotiate these features, which the device must take. */
void hg_probe(struct hg *hg, uint64_t features);
/* Tell the device where queue `q` is (hg->queue[q]), empty the rings, and make it ready. */
void hg_queue_ready(struct hg *hg, unsigned q);
/* The usual place, for a queue of `size`. */
void hg_queue_place(struct hg *hg, unsigned q, unsigned size);
void hg_driver_ok(struct hg *hg);
/* All of it: HG_FEATURES and `features`, `queues` queues of HG_ENTRIES. */
void hg_start(struct hg *hg, uint64_t features, unsigned queues);

/* ---- rings ------------------------------------------------------------------------------------------------------ */

struct gio_virtq_desc *hg_desc(struct hg *hg, unsigned q, unsigned index);
struct gio_virtq_avail *hg_avail(struct hg *hg, unsigned q);
struct gio_virtq_used *hg_used(struct hg *hg, unsigned q);
void hg_desc_set(struct hg *hg, unsigned q, unsigned index, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
/* Make a head available; the device may not look before hg_kick(). */
void hg_push(struct hg *hg, unsigned q, uint16_t head);
void hg_kick(struct hg *hg, unsigned q);
/* Wait until `count` more chains are used, in the queue's order; `seen` goes on. */
void hg_used_wait(struct hg *hg, unsigned q, unsigned count);
/* Wait until some are, `most` at the most: how many. */
unsigned hg_used_some(struct hg *hg, unsigned q, unsigned most);
/* Wait until the device says that it needs a reset, and a driver that was at work is told by an interrupt. */
void hg_broken_wait(struct hg *hg);
/*
 * Acknowledge all interrupts but those bits, until they alone are left: a queue's thread may be late with the bit of
 * what it has put into the used ring. They must stand: whoever lost them waits in vain.
 */
void hg_interrupts_end(struct hg *hg, uint32_t stays);

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* Fill in slot `slot`: header, data of `length` bytes at `data` (DMA address; length 0: none), status. Its head. */
uint16_t hg_request(struct hg *hg, unsigned q, unsigned slot, uint32_t type, uint64_t sector, uint64_t data,
		    uint32_t length);
void hg_header(struct hg *hg, unsigned slot, uint32_t type, uint64_t sector);
volatile uint8_t *hg_status(struct hg *hg, unsigned slot);
/* A request in slot 0 of queue 0 with its data at HG_DATA, from begin to end: its status. */
uint8_t hg_io(struct hg *hg, uint32_t type, uint64_t sector, uint32_t length);

/* ---- the scene -------------------------------------------------------------------------------------------------- */

struct hg_scene {
	struct th_host *host;
	struct hg hg;
	const char *image, *honest_image;
	struct gp_disk *honest;
	pid_t pid;
	unsigned rounds; /* of hg_scene_check() */
};

struct hg_options {
	const char *const *arguments; /* of grantiod */
	const struct th_key *keys;    /* of the hostile guest's disk */
	unsigned vcpus;		      /* of the hostile guest; 0: 2 */
	bool foreign;		      /* it uses no grants: say so in arguments and keys */
};

#define HG_IMAGE (4u * TH_MIB)

/* `options` may be NULL. The hostile guest's device is not touched yet. */
void hg_scene_begin(struct hg_scene *scene, void **state, const struct hg_options *options);
/* The honest guest's disk works, and grantiod is the same process. */
void hg_scene_check(struct hg_scene *scene);
void hg_scene_end(struct hg_scene *scene);
/* grantiod's threads now; wait until there are at most so many (one that has ended is seen for a moment longer). */
unsigned hg_threads(const struct hg_scene *scene);
void hg_threads_expect(const struct hg_scene *scene, unsigned most);

#define HG_TEST(name) cmocka_unit_test_setup_teardown(name, th_setup, th_teardown)

#endif
