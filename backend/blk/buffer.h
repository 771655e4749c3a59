/* SPDX-License-Identifier: MIT */
/*
 * Where the data of a request lies while the disk reads or writes it, and which bytes of the guest that data is.
 *
 * Threads: the queue's own.
 */
#ifndef GD_BUFFER_H
#define GD_BUFFER_H

#include "backend/blk/request.h"
#include "backend/guestmem/copy.h"
#include "backend/virtio/arena.h"

#define GD_BUFFER_HEADER ((uint32_t)sizeof(struct gio_virtio_blk_outhdr))

/* Note how long a good chain's data is, and which way it goes. Nothing of it is to be copied yet. */
void gd_buffer_describe(struct gd_request *r, const struct gd_chain *chain);
/*
 * Have the disk read or write the guest's pool itself, where gd_pool_straight() allows it and the data lies there in
 * one piece, aligned to `align`. It is for reads and writes alone: anything else that has data is decided by that data,
 * and so needs a copy of it. On success the header is copied as well, and must not be fetched again. False: nothing is
 * decided.
 */
bool gd_buffer_straight(struct gd_copy *copy, uint32_t align, struct gd_request *r, const struct gd_chain *chain);
/*
 * Or get a buffer of our own, and find the data's segments in the guest, which are to be copied. -ENOMEM: there is none
 * now.
 */
int gd_buffer_get(struct gd_arena *arena, uint32_t align, struct gd_request *r, const struct gd_chain *chain);

#endif
