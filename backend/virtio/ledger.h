/* SPDX-License-Identifier: MIT */
/*
 * What a device's successor must know, should this process end without a word: the registers as the driver wrote them,
 * and which requests were taken and not answered. It is a file that is mapped, so that what was stored stays, whatever
 * instruction the process ended at. The next grantiod adopts it, and the guest's driver notices nothing but a pause.
 *
 * Of a queue's ring nothing needs to be copied: descriptors stay as they are until their request is answered. So a
 * request is one byte here, by its head, and one number says how far the used index is:
 *
 *   FREE --gd_ledger_take()--> TAKEN --gd_ledger_answer()--> ANSWERED --gd_ledger_shown()--> FREE
 *                                \--gd_ledger_change()--> CHANGING --/
 *
 * gd_ledger_show() comes before the used index is stored, gd_ledger_shown() after. In between only the guest's ring
 * tells whether they were shown: then its index is `next`. Requests that were not are done again: the guest, which has
 * no answer, cannot have built on what they did, so twice is as good as once.
 *
 * That holds if the first time is over. CHANGING are those that the disk got and that change it: where their I/O may
 * outlive the process (an NBD server has it), they may be done at any time yet, after a second time and after whatever
 * the guest writes next. So may `orphans`: I/Os of that kind whose ring is gone, by a reset.
 *
 * The order of these stores is all that counts, and there is one writer: after its end the successor sees them all.
 *
 * The file begins with its version and the length of each of its parts. A grantiod reads its own version and the one
 * before, so that an upgrade under a running guest needs no reset; it does not read what a newer one wrote.
 *
 * The file is ours (its folder is root's alone), but nothing in it is used unchecked; a guest cannot write it.
 *
 * Threads: registers by the transport's thread, a queue by its own; opening and closing while neither is at work.
 * Errors: 0 or -errno.
 */
#ifndef GD_LEDGER_H
#define GD_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#define GD_LEDGER_QUEUES 16u
#define GD_LEDGER_HEADS	 1024u

enum { GD_LEDGER_FREE, GD_LEDGER_TAKEN, GD_LEDGER_ANSWERED, GD_LEDGER_CHANGING };

struct gd_ledger_queue {
	uint16_t shown; /* the used index that the guest sees */
	uint16_t next;	/* and the one that is being shown: else the same */
	uint32_t orphans;
	uint8_t heads[GD_LEDGER_HEADS];
};

/* Bytes that a transport and a class may keep here. */
#define GD_LEDGER_TRANSPORT 64u
#define GD_LEDGER_CLASS	    64u

/*
 * Three parts, each of which has its length in the file: what all devices have, up to `queue`; the transport's, and the
 * class's. Never change a field; a longer part has new fields behind its end.
 */
struct gd_ledger_registers {
	uint64_t features;
	uint32_t status;
	uint32_t transport_id, class_id; /* who wrote the other parts; 0: nothing was saved yet */
	uint32_t reserved;
	struct {
		uint32_t num, ready;
		uint64_t desc, driver, device;
	} queue[GD_LEDGER_QUEUES];
	uint8_t transport[GD_LEDGER_TRANSPORT]; /* its own (struct gd_transport_ops) */
	uint8_t class[GD_LEDGER_CLASS];		/* and its class's (struct gd_class_ops) */
};

struct gd_ledger;

/*
 * A new one, in a file at `path` that replaces what was there; NULL: in memory only. -errno where the file cannot be
 * made, or its size not be had.
 */
int gd_ledger_make(struct gd_ledger **ledger, const char *path);
/*
 * The one of a former process: -ENOENT, or -EINVAL where the file is no ledger, of a version that is not known here, or
 * not `cookie`'s. One of an older version, or with shorter parts, is replaced by one of ours with the same content.
 */
int gd_ledger_adopt(struct gd_ledger **ledger, const char *path, uint64_t cookie);
/* The file goes, too: who comes next has nothing to go on with. Takes NULL. */
void gd_ledger_close(struct gd_ledger *ledger);
/* The file stays as it is: it may be adopted again. Takes NULL. */
void gd_ledger_leave(struct gd_ledger *ledger);

/* What names this ledger and no other; never 0. */
uint64_t gd_ledger_cookie(const struct gd_ledger *ledger);

/* All at once: a successor finds these, or those that were saved before. */
void gd_ledger_save(struct gd_ledger *ledger, const struct gd_ledger_registers *registers);
void gd_ledger_load(const struct gd_ledger *ledger, struct gd_ledger_registers *registers);

/* The features that the driver had chosen. */
uint64_t gd_ledger_features(const struct gd_ledger *ledger);

struct gd_ledger_queue *gd_ledger_queue(struct gd_ledger *ledger, unsigned index);

/* Where the disk remembers that it has writes which were not flushed (gd_disk_remember()); 0 in a new ledger. */
uint32_t *gd_ledger_unflushed(struct gd_ledger *ledger);

static inline void gd_ledger_mark(struct gd_ledger_queue *queue, uint16_t head, uint8_t mark)
{
	__atomic_store_n(&queue->heads[head], mark, __ATOMIC_RELEASE);
}

static inline void gd_ledger_take(struct gd_ledger_queue *queue, uint16_t head)
{
	gd_ledger_mark(queue, head, GD_LEDGER_TAKEN);
}

/* The disk is about to get it, and it changes the disk. */
static inline void gd_ledger_change(struct gd_ledger_queue *queue, uint16_t head)
{
	gd_ledger_mark(queue, head, GD_LEDGER_CHANGING);
}

/* How many I/Os that change the disk are in flight, of rings that are gone. */
static inline void gd_ledger_orphans(struct gd_ledger_queue *queue, uint32_t count)
{
	__atomic_store_n(&queue->orphans, count, __ATOMIC_RELEASE);
}

static inline void gd_ledger_answer(struct gd_ledger_queue *queue, uint16_t head)
{
	gd_ledger_mark(queue, head, GD_LEDGER_ANSWERED);
}

/* All that are ANSWERED are about to be shown, by storing `next` to the used index. */
static inline void gd_ledger_show(struct gd_ledger_queue *queue, uint16_t next)
{
	__atomic_store_n(&queue->next, next, __ATOMIC_RELEASE);
}

/* They are: `heads` are free again. */
static inline void gd_ledger_shown(struct gd_ledger_queue *queue, const uint16_t *heads, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		gd_ledger_mark(queue, heads[i], GD_LEDGER_FREE);
	__atomic_store_n(&queue->shown, queue->next, __ATOMIC_RELEASE);
}

/* Of a ring that begins. Orphans of an earlier one stay. */
void gd_ledger_begin(struct gd_ledger_queue *queue);

/*
 * How many I/Os that change the disk a former process left in flight: of the rings that its registers call ready, and
 * orphans.
 */
unsigned gd_ledger_pending(const struct gd_ledger *ledger);
/* They are over, or nobody will ask any more: no orphans, and where `all`, no requests either. */
void gd_ledger_forget(struct gd_ledger *ledger, bool all);

/*
 * Settle what a former process left: `used` is the index in the guest's ring of `size` entries. The heads that are to
 * be done again go to `heads`, which has room for `size`; how many, or -EINVAL: this is no ledger of such a ring.
 */
int gd_ledger_settle(struct gd_ledger_queue *queue, uint16_t used, unsigned size, uint16_t *heads);

#endif
