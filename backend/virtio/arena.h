/* SPDX-License-Identifier: MIT */
/*
 * The data buffers of one queue: a bounded piece of our own memory, given out in runs of pages.
 *
 * The run with the lowest address comes first, so that a queue that is not deep keeps using the same few pages: they
 * stay in the cache, and the kernel provides no others. Pages are looked up 64 at a time; the usual run (one to eight
 * pages) is found in the first word that is not full.
 *
 * Threads: one.
 */
#ifndef GD_ARENA_H
#define GD_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define GD_ARENA_PAGE 4096u

struct gd_arena;

/* `pages` is a multiple of 64. 0 or -errno. */
int gd_arena_open(struct gd_arena **arena, unsigned pages);
void gd_arena_close(struct gd_arena *arena); /* takes NULL */

/* Get `pages` (not 0) adjacent pages, page-aligned; NULL: there is no such run now. */
void *gd_arena_get(struct gd_arena *arena, unsigned pages);
void gd_arena_put(struct gd_arena *arena, void *run, unsigned pages);

/* The memory of all pages. */
void *gd_arena_memory(const struct gd_arena *arena);
/* How many pages are given out. */
unsigned gd_arena_used(const struct gd_arena *arena);

#endif
