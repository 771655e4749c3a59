/* SPDX-License-Identifier: MIT */
/*
 * Where the data of a request lies while the disk reads or writes it, and which bytes of the guest that data is.
 *
 * Threads: the queue's own.
 */
#ifndef GD_BUFFER_H
#define GD_BUFFER_H

#include "backend/blk/serve.h"

#define GD_BUFFER_HEADER ((uint32_t)sizeof(struct gio_virtio_blk_outhdr))

/*
 * Choose the buffer for a good chain's data, and find its segments in the guest, which are then to be copied. -ENOMEM:
 * there is no buffer now.
 */
int gd_buffer_get(struct gd_serve *serve, struct gd_request *r, const struct gd_chain *chain);

#endif
