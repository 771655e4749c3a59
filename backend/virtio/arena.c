/* SPDX-License-Identifier: MIT */
#include "backend/virtio/arena.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WORD 64u

struct gd_arena {
	char *memory;
	unsigned pages, words, used;
	unsigned first;	  /* no word before this one has a free page */
	uint64_t taken[]; /* one bit per page */
};

int gd_arena_open(struct gd_arena **arena, unsigned pages)
{
	unsigned words = pages / WORD;
	struct gd_arena *a;

	if (pages == 0 || pages % WORD)
		return -EINVAL;
	a = calloc(1, sizeof(*a) + words * sizeof(a->taken[0]));
	if (!a)
		return -ENOMEM;
	a->memory = mmap(NULL, (size_t)pages * GD_ARENA_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->memory == MAP_FAILED) {
		free(a);
		return -ENOMEM;
	}
	a->pages = pages;
	a->words = words;
	*arena = a;
	return 0;
}

void gd_arena_close(struct gd_arena *arena)
{
	if (!arena)
		return;
	munmap(arena->memory, (size_t)arena->pages * GD_ARENA_PAGE);
	free(arena);
}

/* The first page from `page` on whose bit is `taken`; `pages`: there is none. */
static unsigned page_find(const struct gd_arena *arena, unsigned page, bool taken)
{
	unsigned word = page / WORD;
	uint64_t hidden = (UINT64_C(1) << page % WORD) - 1; /* the bits before `page` in its word */

	for (; word < arena->words; word++, hidden = 0) {
		uint64_t bits = (taken ? arena->taken[word] : ~arena->taken[word]) & ~hidden;

		if (bits)
			return word * WORD + (unsigned)__builtin_ctzll(bits);
	}
	return arena->pages;
}

/* Set or clear the bits of a run, a word at a time. */
static void run_mark(struct gd_arena *arena, unsigned page, unsigned pages, bool taken)
{
	while (pages > 0) {
		unsigned room = WORD - page % WORD;
		unsigned n = pages < room ? pages : room;
		uint64_t bits = (n == WORD ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << page % WORD;

		if (taken)
			arena->taken[page / WORD] |= bits;
		else
			arena->taken[page / WORD] &= ~bits;
		page += n;
		pages -= n;
	}
}

void *gd_arena_get(struct gd_arena *arena, unsigned pages)
{
	unsigned start = page_find(arena, arena->first * WORD, false);

	if (start < arena->pages)
		arena->first = start / WORD;
	while (start < arena->pages && pages <= arena->pages - start) {
		unsigned end = page_find(arena, start, true);

		if (end - start >= pages) {
			run_mark(arena, start, pages, true);
			arena->used += pages;
			return arena->memory + (size_t)start * GD_ARENA_PAGE;
		}
		start = page_find(arena, end, false);
	}
	return NULL;
}

void gd_arena_put(struct gd_arena *arena, void *run, unsigned pages)
{
	unsigned start = (unsigned)(((char *)run - arena->memory) / GD_ARENA_PAGE);

	run_mark(arena, start, pages, false);
	arena->used -= pages;
	if (start / WORD < arena->first)
		arena->first = start / WORD;
}

void *gd_arena_memory(const struct gd_arena *arena)
{
	return arena->memory;
}

unsigned gd_arena_used(const struct gd_arena *arena)
{
	return arena->used;
}
