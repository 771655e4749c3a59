/* SPDX-License-Identifier: MIT */
/*
 * A server that ends may lose writes that it has acknowledged, but not flushed. When a connection is lost while there
 * are such writes, the next flush on any queue fails, once.
 *
 * All of this is kept in one word: a number that changes with each write, and two flags. The word can be in memory that
 * outlives this process (gd_disk_remember()), and it is right at whatever instruction the process ends.
 */
#include "backend/disk/nbd.h"

#define LOST	  1u /* writes may be lost, and no flush has failed for that yet */
#define UNFLUSHED 2u /* a write was acknowledged, and no flush that began later has succeeded */
#define WRITE	  4u /* added by each write */
#define FLAGS	  (WRITE - 1)

static bool word_change(struct gd_nbd_disk *disk, uint32_t *from, uint32_t to)
{
	return __atomic_compare_exchange_n(disk->doubt, from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint32_t word_read(const struct gd_nbd_disk *disk)
{
	return __atomic_load_n(disk->doubt, __ATOMIC_SEQ_CST);
}

void gd_nbd_doubt_write(struct gd_nbd_disk *disk)
{
	uint32_t word = word_read(disk);

	while (!word_change(disk, &word, (word + WRITE) | UNFLUSHED))
		;
}

void gd_nbd_doubt_begin(struct gd_nbd_disk *disk)
{
	uint32_t word = word_read(disk);

	while (word & UNFLUSHED && !word_change(disk, &word, (word & ~UNFLUSHED) | LOST))
		;
}

bool gd_nbd_doubt_fails(struct gd_nbd_disk *disk, bool take)
{
	uint32_t word = take ? __atomic_fetch_and(disk->doubt, ~LOST, __ATOMIC_SEQ_CST) : word_read(disk);

	return word & LOST;
}

uint32_t gd_nbd_doubt_mark(const struct gd_nbd_disk *disk)
{
	return word_read(disk) & ~FLAGS;
}

/* This changes nothing if there was a write since the flush began, which is not covered. */
void gd_nbd_doubt_covered(struct gd_nbd_disk *disk, uint32_t mark)
{
	uint32_t word = word_read(disk);

	while (word & UNFLUSHED && (word & ~FLAGS) == mark && !word_change(disk, &word, word & ~UNFLUSHED))
		;
}

void gd_nbd_doubt_remember(struct gd_disk *base, uint32_t *unflushed)
{
	struct gd_nbd_disk *disk = (struct gd_nbd_disk *)base;

	disk->doubt = unflushed ? unflushed : &disk->doubt_own;
	gd_nbd_doubt_begin(disk); /* the former process's connections are gone */
}

bool gd_nbd_doubt_unflushed(const struct gd_disk *base)
{
	return (word_read((const struct gd_nbd_disk *)base) & FLAGS) == UNFLUSHED;
}
