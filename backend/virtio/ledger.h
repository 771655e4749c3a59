/* SPDX-License-Identifier: MIT */
/*
 * What a successor must know of a device if this process is killed: the registers as the driver wrote them, and which
 * requests were taken and not answered. The ledger is a mapped file, so that every store stays in it, at whatever
 * instruction the process ends. The next grantiod adopts the file, and the guest's driver notices nothing but a pause.
 *
 * The ledger copies nothing of a queue's ring, since descriptors stay as they are until their request is answered. It
 * has one byte for each request, at the index of the request's head, and the value of the used index:
 *
 *   FREE --gd_ledger_take()--> TAKEN --gd_ledger_answer()--> ANSWERED --gd_ledger_shown()--> FREE
 *                                \--gd_ledger_change()--> CHANGING --/
 *
 * gd_ledger_show() is called before the used index is stored, gd_ledger_shown() after that. If the process ends between
 * the two, only the guest's ring tells whether the answers were shown: they were if its used index is `next`. Requests
 * whose answers were not shown are done again. That is safe: the guest has no answer, so it cannot rely on their first
 * execution.
 *
 * It is safe only if the first execution is over. A CHANGING request is one that changes the disk and was given to it.
 * Where its I/O may outlive the process (an NBD server has it), that I/O may still take effect later: after the request
 * was done again, and after what the guest writes next. The same is true of `orphans`: I/Os that change the disk and
 * whose ring was taken away by a reset.
 *
 * Only the order of these stores matters. There is one writer, and after its end the successor sees all its stores.
 *
 * The file begins with its version and the length of each of its parts. A grantiod reads its own version and the one
 * before, so that an upgrade under a running guest needs no reset. It does not read a newer version.
 *
 * Only root can write to the file's folder, and no guest can write the file. Its content is checked before use anyway.
 *
 * Threads: the transport's thread writes the registers, and each queue's thread its queue. Opening and closing are done
 * while none of them is at work.
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
	uint16_t next;	/* the used index that is being stored; otherwise equal to `shown` */
	uint32_t orphans;
	uint8_t heads[GD_LEDGER_HEADS];
};

/* Bytes that a transport and a class may keep here. */
#define GD_LEDGER_TRANSPORT 3072u
#define GD_LEDGER_CLASS	    64u

/*
 * The registers have three parts: what all devices have (up to `queue`), the transport's part and the class's part. The
 * file says how long each is. Never change a field, since other versions read it: add new ones at the end of a part.
 */
struct gd_ledger_registers {
	uint64_t features;
	uint32_t status;
	uint32_t transport_id, class_id; /* of those that wrote the other parts; 0: nothing was saved yet */
	uint32_t reserved;
	struct {
		uint32_t num, ready;
		uint64_t desc, driver, device;
	} queue[GD_LEDGER_QUEUES];
	uint8_t transport[GD_LEDGER_TRANSPORT]; /* the transport's part (struct gd_transport_ops) */
	uint8_t class[GD_LEDGER_CLASS];		/* the class's part (struct gd_class_ops) */
};

struct gd_ledger;

/* A file of an older version is replaced by one that is made under its name with this behind it. */
#define GD_LEDGER_FRESH ".new"

/*
 * Make a new ledger in a file at `path`, which replaces a former one; with NULL the ledger is in memory only. -errno if
 * the file cannot be made, or the file system has no room for it.
 */
int gd_ledger_make(struct gd_ledger **ledger, const char *path);
/*
 * Adopt the ledger of a former process. -ENOENT: there is no file. -EINVAL: the file is no ledger, or has an unknown
 * version or another cookie. A ledger of an older version, or with shorter parts, is replaced by one of this version
 * with the same content.
 */
int gd_ledger_adopt(struct gd_ledger **ledger, const char *path, uint64_t cookie);
/* Close it and remove its file: no successor will go on by it. Takes NULL. */
void gd_ledger_close(struct gd_ledger *ledger);
/* Close it and keep its file, which may be adopted again. Takes NULL. */
void gd_ledger_leave(struct gd_ledger *ledger);

/* A number that names this ledger and no other; never 0. It is noted in xenstore, to recognize the file. */
uint64_t gd_ledger_cookie(const struct gd_ledger *ledger);

/* Save all registers in one step: a successor finds these, or those that were saved before, and no mixture. */
void gd_ledger_save(struct gd_ledger *ledger, const struct gd_ledger_registers *registers);
void gd_ledger_load(const struct gd_ledger *ledger, struct gd_ledger_registers *registers);

/* By which transport the device was reached (enum gd_transport_id); 0: nothing was saved yet. */
uint32_t gd_ledger_transport(const struct gd_ledger *ledger);
/* The features that the driver had chosen. */
uint64_t gd_ledger_features(const struct gd_ledger *ledger);

struct gd_ledger_queue *gd_ledger_queue(struct gd_ledger *ledger, unsigned index);

/* The disk keeps here whether it has writes that were not flushed (gd_disk_remember()). It is 0 in a new ledger. */
uint32_t *gd_ledger_unflushed(struct gd_ledger *ledger);

static inline void gd_ledger_mark(struct gd_ledger_queue *queue, uint16_t head, uint8_t mark)
{
	__atomic_store_n(&queue->heads[head], mark, __ATOMIC_RELEASE);
}

static inline void gd_ledger_take(struct gd_ledger_queue *queue, uint16_t head)
{
	gd_ledger_mark(queue, head, GD_LEDGER_TAKEN);
}

/* The request changes the disk, and is about to be given to it. */
static inline void gd_ledger_change(struct gd_ledger_queue *queue, uint16_t head)
{
	gd_ledger_mark(queue, head, GD_LEDGER_CHANGING);
}

/* Note how many I/Os are in flight that change the disk and whose ring was taken away. */
static inline void gd_ledger_orphans(struct gd_ledger_queue *queue, uint32_t count)
{
	__atomic_store_n(&queue->orphans, count, __ATOMIC_RELEASE);
}

static inline void gd_ledger_answer(struct gd_ledger_queue *queue, uint16_t head)
{
	gd_ledger_mark(queue, head, GD_LEDGER_ANSWERED);
}

/* All ANSWERED requests are about to be shown to the guest, by a store of `next` to the used index. */
static inline void gd_ledger_show(struct gd_ledger_queue *queue, uint16_t next)
{
	__atomic_store_n(&queue->next, next, __ATOMIC_RELEASE);
}

/* The used index was stored: the requests of `heads` are FREE again. */
static inline void gd_ledger_shown(struct gd_ledger_queue *queue, const uint16_t *heads, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		gd_ledger_mark(queue, heads[i], GD_LEDGER_FREE);
	__atomic_store_n(&queue->shown, queue->next, __ATOMIC_RELEASE);
}

/* Set a queue's part back for a new ring. Orphans of an earlier ring stay counted. */
void gd_ledger_begin(struct gd_ledger_queue *queue);

/*
 * How many I/Os that change the disk a former process left in flight: CHANGING requests of the queues that its
 * registers call ready, and orphans.
 */
unsigned gd_ledger_pending(const struct gd_ledger *ledger);
/* Forget the orphans, which are over or do not matter any more; with `all`, forget the requests as well. */
void gd_ledger_forget(struct gd_ledger *ledger, bool all);

/*
 * Settle what a former process left. `used` is the used index in the guest's ring, which has `size` entries. The heads
 * of the requests that must be done again are written to `heads`, which has room for `size`. Returns their number, or
 * -EINVAL where the ledger does not fit such a ring.
 */
int gd_ledger_settle(struct gd_ledger_queue *queue, uint16_t used, unsigned size, uint16_t *heads);

#endif
