/* SPDX-License-Identifier: MIT */
#include "space.h"

size_t gio_space_bytes(uint32_t units)
{
	uint32_t words = (units + GIO_SPACE_WORD - 1) / GIO_SPACE_WORD;

	return words * (sizeof(struct gio_space_word) + GIO_SPACE_WORD * sizeof(struct gio_space_slot));
}

/* Bits [from, to) of the word that begins with unit `base`, as far as they lie in it. */
static uint64_t bits_between(uint32_t base, uint32_t from, uint32_t to)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; i < GIO_SPACE_WORD; i++)
		if (base + i >= from && base + i < to)
			bits |= UINT64_C(1) << i;
	return bits;
}

/* As far as the hints' first words can lie apart. Without a division, which is a call of libgcc's on some processors.
 */
static uint32_t stride_of(uint32_t count, unsigned shares)
{
	uint32_t stride = 1;

	while (shares && shares <= count && (uint64_t)(stride + 1) * shares <= count)
		stride++;
	return stride;
}

void gio_space_init(struct gio_space *space, void *memory, uint32_t units, uint32_t never, uint32_t shift,
		    unsigned shares)
{
	uint32_t count = (units + GIO_SPACE_WORD - 1) / GIO_SPACE_WORD;

	*space = (struct gio_space){.words = memory, .count = count, .shift = shift};
	space->slots = (void *)(space->words + count);
	space->stride = stride_of(count, shares);
	space->never = count * GIO_SPACE_WORD - (units - never);
	for (uint32_t i = 0; i < count; i++)
		space->words[i].busy = ~bits_between(i * GIO_SPACE_WORD, never, units);
}

/* By halves, since a 64-bit count may be a call of libgcc's where registers have 32 bits. `bits` is not 0. */
static uint32_t lowest(uint64_t bits)
{
	uint32_t low = (uint32_t)bits;

	return low ? (uint32_t)__builtin_ctz(low) : 32u + (uint32_t)__builtin_ctz((uint32_t)(bits >> 32));
}

/* The bits of `idle` at which `count` set bits begin: each step looks twice as far. */
static uint64_t starts(uint64_t idle, uint32_t count)
{
	for (uint32_t have = 1; have < count && idle;) {
		uint32_t step = have < count - have ? have : count - have;

		idle &= idle >> step;
		have += step;
	}
	return idle;
}

static uint64_t mask_of(uint32_t count)
{
	return ~UINT64_C(0) >> (GIO_SPACE_WORD - count);
}

/* Take the first `count` idle units that follow one another in the word: true, and where they begin. */
static bool word_take(struct gio_space_word *word, uint32_t count, uint32_t *bit)
{
	uint64_t busy = __atomic_load_n(&word->busy, __ATOMIC_RELAXED), found;

	do {
		found = starts(~busy, count);
		if (!found)
			return false;
		*bit = lowest(found);
		/*
		 * Acquire: the former owner's accesses to the space and its slots, before its release in word_give(),
		 * happen before ours. A failed exchange loads the word anew.
		 */
	} while (!__atomic_compare_exchange_n(&word->busy, &busy, busy | mask_of(count) << *bit, false,
					      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
	return true;
}

static void word_give(struct gio_space_word *word, uint32_t count, uint32_t bit)
{
	/* Release: our accesses before it; pairs with the acquire in word_take(). */
	__atomic_fetch_and(&word->busy, ~(mask_of(count) << bit), __ATOMIC_RELEASE);
}

static uint32_t units_of(const struct gio_space *space, uint32_t len)
{
	return (len + (1u << space->shift) - 1) >> space->shift;
}

/* Note what was got in its slots. */
static void slots_fill(const struct gio_space *space, uint32_t unit, uint32_t len, uint64_t cookie)
{
	struct gio_space_slot *slot = &space->slots[unit];

	*slot = (struct gio_space_slot){.cookie = cookie, .left = len, .len = len};
	while (slot->left > 1u << space->shift) {
		slot[1] = (struct gio_space_slot){.cookie = slot->cookie + (1u << space->shift),
						  .left = slot->left - (1u << space->shift)};
		slot++;
	}
}

/* Hints beyond the shares wrap around, in the largest power of two of words that there is. */
static uint32_t word_first(const struct gio_space *space, unsigned hint)
{
	uint32_t first = hint * space->stride;

	return first < space->count ? first : first & ((1u << (31 - __builtin_clz(space->count))) - 1);
}

int gio_space_get(struct gio_space *space, unsigned hint, uint32_t len, uint64_t cookie, uint32_t *unit)
{
	uint32_t count = units_of(space, len), word, bit;

	if (!space->count)
		return -GIO_ENOMEM;
	word = word_first(space, hint);
	for (uint32_t i = 0; i < space->count; i++) {
		if (word_take(&space->words[word], count, &bit)) {
			*unit = word * GIO_SPACE_WORD + bit;
			slots_fill(space, *unit, len, cookie);
			return 0;
		}
		word = word + 1 == space->count ? 0 : word + 1;
	}
	return -GIO_ENOMEM;
}

int gio_space_put(struct gio_space *space, uint32_t unit, uint32_t len)
{
	uint32_t count = units_of(space, len);

	if (!len || space->slots[unit].len != len)
		return -GIO_EINVAL;
	for (uint32_t i = 0; i < count; i++)
		space->slots[unit + i] = (struct gio_space_slot){0};
	word_give(&space->words[unit / GIO_SPACE_WORD], count, unit % GIO_SPACE_WORD);
	return 0;
}

static uint32_t bits_count(uint64_t bits)
{
	uint32_t count = 0;

	for (; bits; bits &= bits - 1)
		count++;
	return count;
}

static uint64_t idle_bits(const struct gio_space *space, uint32_t word)
{
	return ~__atomic_load_n(&space->words[word].busy, __ATOMIC_RELAXED);
}

uint32_t gio_space_idle(const struct gio_space *space)
{
	uint32_t idle = 0;

	for (uint32_t i = 0; i < space->count; i++)
		idle += bits_count(idle_bits(space, i));
	return idle;
}

uint32_t gio_space_whole(const struct gio_space *space)
{
	uint32_t whole = 0;

	for (uint32_t i = 0; i < space->count; i++)
		whole += !~idle_bits(space, i);
	return whole;
}

uint32_t gio_space_longest(const struct gio_space *space)
{
	uint32_t longest = 0;

	for (uint32_t i = 0; i < space->count; i++)
		while (longest < GIO_SPACE_WORD && starts(idle_bits(space, i), longest + 1))
			longest++;
	return longest;
}

uint32_t gio_space_used(const struct gio_space *space)
{
	return space->count * GIO_SPACE_WORD - space->never - gio_space_idle(space);
}
