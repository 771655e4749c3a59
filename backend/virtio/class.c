/* SPDX-License-Identifier: MIT */
#include "backend/virtio/class.h"

#include "backend/base/count.h"

unsigned gd_class_held(const struct gd_class_queue *queue)
{
	uint64_t settled = gd_count_read(&queue->settled), taken = gd_count_read(&queue->taken);

	return taken > settled ? (unsigned)(taken - settled)
			       : 0; /* another thread may see a newer `settled` with an older `taken` */
}
