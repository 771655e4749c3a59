/* SPDX-License-Identifier: MIT */
/*
 * The data buffers of one queue: a bounded piece of our own memory, handed out in runs of pages.
 *
 * Lowest address first, so that a queue that is not deep keeps using the same few pages, which stay in the cache and
 * are all that the kernel ever gives us. Pages are looked up 64 at a time; the usual run (one to eight pages) is found
 * in the first word that is not full. One thread.
 */
#ifndef GD_ARENA_H
#define GD_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define GD_ARENA_PAGE 4096u

struct gd_arena;

int gd_arena_open(struct gd_arena **arena, unsigned pages); /* a multiple of 64. 0 or -errno */
void gd_arena_close(struct gd_arena *arena);		    /* takes NULL */

/* `pages` (not 0) adjacent pages, page-aligned; NULL when there is no such run now. */
void *gd_arena_get(struct gd_arena *arena, unsigned pages);
void gd_arena_put(struct gd_arena *arena, void *run, unsigned pages);

unsigned gd_arena_used(const struct gd_arena *arena); /* pages */

#endif
