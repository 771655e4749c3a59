// SPDX-License-Identifier: GPL-2.0-only
#include <linux/err.h>
#include <linux/interrupt.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/virtio_ring.h>

#include "compat.h"
#include "dma_ops.h"
#include "reap.h"
#include "vqs.h"

#define NUM_MAX	 1024u /* entries of a ring: 6 pages */
#define NUM_DEAD 64u   /* of a ring that no device uses */

struct gk_vq {
	struct gk_link *link;
	struct virtqueue *vq;
	void *ring;
	gio_dma_t addr;
	size_t bytes;
};

/* The bytes that only the driver writes: descriptors and available ring, to the end of their last unit. */
static size_t driver_bytes(u32 num)
{
	return ALIGN(num * sizeof(struct vring_desc) + (3 + num) * sizeof(u16), GIO_PAGE_SIZE);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

bool gk_vqs_used(struct gk_vqs *vqs, unsigned int channel)
{
	bool news = false;
	unsigned int i;

	for (i = channel; i < GIO_MSG_QUEUES_MAX; i += vqs->link->channels) {
		struct gk_vq *q = READ_ONCE(vqs->vq[i]);

		if (q && vring_interrupt(0, q->vq) == IRQ_HANDLED)
			news = true;
	}
	return news;
}

/* With interrupts off, perhaps. False: the queue is broken from now on. */
static bool kick(struct virtqueue *vq)
{
	struct gk_vq *q = vq->priv;

	if (gk_link_dead(q->link))
		return false;
	gk_link_kick(q->link, vq->index);
	return true;
}

/* ---- one queue -------------------------------------------------------------------------------------------------- */

static void ring_free(struct gk_vq *q)
{
	gio_dma_free(&q->link->dma, q->ring, q->bytes, q->addr);
	gk_reap_schedule();
}

/* As many entries as there is memory for, `num` at most. 0: there is none. */
static u32 ring_alloc(struct gk_vq *q, u32 num)
{
	for (; num; num /= 2) {
		q->bytes = ALIGN(vring_size(num, GIO_PAGE_SIZE), GIO_PAGE_SIZE);
		q->ring = gio_dma_alloc(&q->link->dma, q->bytes, driver_bytes(num), &q->addr);
		if (q->ring)
			break;
	}
	return num;
}

/* How many entries the queue may have. Negative: there is no such queue. */
static int queue_ask(struct gk_link *link, unsigned int index)
{
	struct gio_msg_queue queue;
	int err;

	if (gk_link_dead(link))
		return NUM_DEAD;
	gk_link_lock(link);
	err = gio_msg_driver_queue_read(&link->driver, index, &queue);
	gk_link_unlock(link);
	if (gk_link_dead(link))
		return NUM_DEAD;
	if (err || !queue.max_size)
		return -ENOENT;
	return rounddown_pow_of_two(min(queue.max_size, NUM_MAX));
}

static int queue_enable(const struct gk_vq *q, unsigned int index, u32 num)
{
	const struct gio_msg_queue queue = {
		.index = index,
		.size = num,
		.desc = q->addr,
		.driver = q->addr + num * sizeof(struct vring_desc),
		.device = q->addr + driver_bytes(num),
	};
	int err;

	if (gk_link_dead(q->link))
		return 0;
	gk_link_lock(q->link);
	err = gio_msg_driver_queue_enable(&q->link->driver, &queue);
	gk_link_unlock(q->link);
	return gk_link_dead(q->link) ? 0 : err;
}

static struct virtqueue *queue_make(struct virtio_device *vdev, struct gk_vq *q, unsigned int index,
				    vq_callback_t *callback, const char *name, bool ctx)
{
	int max = queue_ask(q->link, index), err = -ENOMEM;
	u32 num;

	if (max < 0)
		return ERR_PTR(max);
	num = ring_alloc(q, max);
	if (!num)
		return ERR_PTR(-ENOMEM);
	q->vq = vring_new_virtqueue(index, num, GIO_PAGE_SIZE, vdev, true, ctx, q->ring, kick, callback, name);
	if (!q->vq)
		goto free_ring;
	q->vq->priv = q;
	gk_vq_num_max_set(q->vq, max);
	err = queue_enable(q, index, num);
	if (err)
		goto del_queue;
	return q->vq;

del_queue:
	vring_del_virtqueue(q->vq);
free_ring:
	ring_free(q);
	return ERR_PTR(err);
}

static struct virtqueue *queue_open(struct gk_vqs *vqs, struct virtio_device *vdev, unsigned int index,
				    vq_callback_t *callback, const char *name, bool ctx)
{
	struct gk_vq *q;
	struct virtqueue *vq;

	if (index >= GIO_MSG_QUEUES_MAX)
		return ERR_PTR(-ENOENT);
	q = kzalloc(sizeof(*q), GFP_KERNEL);
	if (!q)
		return ERR_PTR(-ENOMEM);
	q->link = vqs->link;
	vq = queue_make(vdev, q, index, callback, name, ctx);
	if (IS_ERR(vq))
		kfree(q);
	else
		smp_store_release(&vqs->vq[index], q); /* all of it is there before an interrupt finds it */
	return vq;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

/*
 * The device was reset before, or is given up: what it can still reach of a ring goes to quarantine. First no interrupt
 * finds a queue any more.
 */
void gk_vqs_del(struct gk_vqs *vqs)
{
	struct gk_vq *gone[GIO_MSG_QUEUES_MAX];
	unsigned int i;

	for (i = 0; i < GIO_MSG_QUEUES_MAX; i++) {
		gone[i] = vqs->vq[i];
		WRITE_ONCE(vqs->vq[i], NULL);
	}
	gk_link_sync(vqs->link);
	for (i = 0; i < GIO_MSG_QUEUES_MAX; i++) {
		if (!gone[i])
			continue;
		vring_del_virtqueue(gone[i]->vq);
		ring_free(gone[i]);
		kfree(gone[i]);
	}
}

int gk_vqs_find(struct gk_vqs *vqs, struct virtio_device *vdev, unsigned int n, struct virtqueue *found[],
		GK_FIND_VQS_WANTED)
{
	unsigned int i, index = 0;

	gk_dma_keep(vdev->dev.parent);
	for (i = 0; i < n; i++) {
		found[i] = NULL;
		if (!GK_VQ_NAME(i))
			continue;
		found[i] = queue_open(vqs, vdev, index++, GK_VQ_CALLBACK(i), GK_VQ_NAME(i), GK_VQ_CTX(i));
		if (IS_ERR(found[i])) {
			gk_vqs_del(vqs);
			return PTR_ERR(found[i]);
		}
	}
	if (gk_link_dead(vqs->link))
		virtio_break_device(vdev);
	return 0;
}
