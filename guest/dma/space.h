/* SPDX-License-Identifier: MIT */
/*
 * Space: the allocator of a pool's area. It gives out units (pages, or slots for small things) that follow one another.
 *
 * A bit stands for each unit, in words of 64; what is got lies within one word. A word is changed by compare-and-
 * exchange alone, so there is no lock, a caller that is interrupted holds up nobody, and interrupts may get and put as
 * well. Each word has a cache line of its own: callers with different hints begin at different words, and go on to the
 * others' only when theirs are full.
 *
 * Of each unit that is in use a slot is kept in private memory, so that nothing of the device's has to be believed when
 * it is put back.
 *
 * Memory: the caller's (gio_space_bytes()). Threads: get and put at once; space belongs to the caller that got it.
 */
#ifndef GRANTIO_GUEST_DMA_SPACE_H
#define GRANTIO_GUEST_DMA_SPACE_H

#include <grantio/types.h>

#define GIO_SPACE_WORD 64u /* units of a word */

/* Of the first unit: all of it. Of a later one: `len` is 0. Of a unit that nobody has got: all zero. */
struct gio_space_slot {
	uint64_t cookie; /* the caller's word, counted on by the bytes before this unit */
	uint32_t left;	 /* bytes from this unit on */
	uint32_t len;	 /* bytes that were got */
};

struct gio_space_word {
	_Alignas(64) uint64_t busy; /* a bit for each unit; atomic */
	gio_dma_t addr;		    /* of the first unit; the others follow it */
};

struct gio_space {
	struct gio_space_word *words;
	struct gio_space_slot *slots; /* one for each unit */
	uint32_t count;		      /* words */
	uint32_t shift;		      /* log2 of a unit's bytes */
	uint32_t stride;	      /* words from one hint's first to the next one's */
	uint32_t never;		      /* units that were taken at the start, for good */
};

/* Private memory for `units` units, to be given to gio_space_init(): a multiple of 64, to be aligned to 64. */
size_t gio_space_bytes(uint32_t units);

/*
 * Units [never, units) are free. `memory` is zeroed, and stays the caller's. The caller sets the words' addresses.
 * `units` may be 0: then there is never any.
 */
void gio_space_init(struct gio_space *space, void *memory, uint32_t units, uint32_t never, uint32_t shift,
		    unsigned shares);

/* Get units for `len` bytes (not 0, at most a word's): 0 and the first one, or -GIO_ENOMEM. */
int gio_space_get(struct gio_space *space, unsigned hint, uint32_t len, uint64_t cookie, uint32_t *unit);
/* Put what was got. -GIO_EINVAL: `unit` is not the first of so many bytes; nothing changed. */
int gio_space_put(struct gio_space *space, uint32_t unit, uint32_t len);

static inline gio_dma_t gio_space_addr(const struct gio_space *space, uint32_t unit)
{
	return space->words[unit / GIO_SPACE_WORD].addr + ((gio_dma_t)(unit % GIO_SPACE_WORD) << space->shift);
}

/* Now: units that are free; words of which all are; the most free ones that follow one another. */
uint32_t gio_space_idle(const struct gio_space *space);
uint32_t gio_space_whole(const struct gio_space *space);
uint32_t gio_space_longest(const struct gio_space *space);
/* Units in use now. */
uint32_t gio_space_used(const struct gio_space *space);

#endif
