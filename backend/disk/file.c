/* SPDX-License-Identifier: MIT */
/* Files and block devices on the queue's io_uring. */
#include "backend/disk/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_MAX   (1u << 30) /* one read or write; the system's own limit is 2 GiB less a page */
#define RETRIES_MAX 16

#ifndef BLOCK_URING_CMD_DISCARD /* Linux 6.12, <linux/blkdev.h>: _IO(0x12, 0) */
#define BLOCK_URING_CMD_DISCARD 0x1200
#endif
#ifndef FALLOC_FL_NO_HIDE_STALE /* of older <linux/falloc.h>: on a block device it means to discard */
#define FALLOC_FL_NO_HIDE_STALE 0x04
#endif

/* What a submission does. A mode that the system refuses for good is noted in disk->bad_modes, and another is tried. */
enum mode { MODE_DATA, MODE_SYNC, MODE_DISCARD, MODE_PUNCH, MODE_UNMAP, MODE_ZERO_RANGE, MODE_WRITE_ZEROES };

struct file_disk {
	struct gd_disk disk;
	struct gd_image image;
	bool undirect; /* O_DIRECT was found not to work, and is off; atomic */
};

struct file_queue {
	struct gd_disk_queue queue;
	bool measured; /* `end` is the image's size, as it was when */
	unsigned head; /* so many SQEs of the ring had been submitted */
	uint64_t end;
};

static struct file_disk *file_of(struct gd_disk *disk)
{
	return (struct file_disk *)disk;
}

static bool mode_good(const struct gd_disk *disk, enum mode mode)
{
	return !(__atomic_load_n(&disk->bad_modes, __ATOMIC_RELAXED) & 1u << mode);
}

/* The mode in which to go on with this I/O; -EOPNOTSUPP: none is left. */
static int mode_choose(struct file_disk *file, const struct gd_disk_io *io)
{
	struct gd_disk *disk = &file->disk;

	if (!gd_io_unfinished(io))
		return MODE_SYNC;
	switch (io->op) {
	case GD_DISK_DISCARD:
		if (file->image.block && mode_good(disk, MODE_DISCARD))
			return MODE_DISCARD;
		if (mode_good(disk, MODE_PUNCH))
			return MODE_PUNCH;
		return file->image.block && mode_good(disk, MODE_UNMAP) ? MODE_UNMAP : -EOPNOTSUPP;
	case GD_DISK_WRITE_ZEROES:
		if (io->unmap && disk->discard && mode_good(disk, MODE_PUNCH))
			return MODE_PUNCH;
		return mode_good(disk, MODE_ZERO_RANGE) ? MODE_ZERO_RANGE : MODE_WRITE_ZEROES;
	default:
		return MODE_DATA;
	}
}

/* True for modes that read or write, whose result says how many bytes were moved. */
static bool transfers(enum mode mode)
{
	return mode == MODE_DATA || mode == MODE_WRITE_ZEROES;
}

static uint32_t chunk_length(const struct gd_disk_io *io, enum mode mode)
{
	uint64_t left = io->length - io->progress, most = mode == MODE_WRITE_ZEROES ? GD_DISK_ZEROES : CHUNK_MAX;

	return (uint32_t)(left < most ? left : most);
}

static void discard_prep(struct io_uring_sqe *sqe, int fd, uint64_t offset, uint64_t length)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = BLOCK_URING_CMD_DISCARD;
	sqe->addr = offset;
	sqe->addr3 = length;
}

static void data_prep(struct io_uring_sqe *sqe, int fd, const struct gd_disk_io *io, uint32_t chunk, uint64_t at)
{
	char *buf = (char *)io->buf + io->progress;

	if (io->op == GD_DISK_READ && io->fixed)
		io_uring_prep_read_fixed(sqe, fd, buf, chunk, at, (int)io->fixed - 1);
	else if (io->op == GD_DISK_READ)
		io_uring_prep_read(sqe, fd, buf, chunk, at);
	else if (io->fixed)
		io_uring_prep_write_fixed(sqe, fd, buf, chunk, at, (int)io->fixed - 1);
	else
		io_uring_prep_write(sqe, fd, buf, chunk, at);
	if (io->op == GD_DISK_WRITE)
		sqe->rw_flags = io->fua ? RWF_DSYNC : 0;
}

static void sqe_prep(struct io_uring_sqe *sqe, int fd, const struct gd_disk_io *io, enum mode mode, uint32_t chunk)
{
	uint64_t at = io->offset + io->progress;

	switch (mode) {
	case MODE_DATA:
		data_prep(sqe, fd, io, chunk, at);
		break;
	case MODE_SYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case MODE_DISCARD:
		discard_prep(sqe, fd, at, chunk);
		break;
	case MODE_PUNCH:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, chunk);
		break;
	case MODE_UNMAP:
		/* Kernels without the command zero a block device by MODE_PUNCH, if it can do that without being
		 * written; this discards, and asks for no zeroes. */
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE | FALLOC_FL_NO_HIDE_STALE,
					(off_t)at, chunk);
		break;
	case MODE_ZERO_RANGE:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)at, chunk);
		break;
	case MODE_WRITE_ZEROES:
		io_uring_prep_write(sqe, fd, gd_disk_zeroes, chunk, at);
		break;
	}
}

/*
 * An image that was truncated must not grow again because its guest writes to it: the administrator who truncated it
 * wants the space. So a file is measured before it is written to, once for all writes that are submitted together. A
 * file that is truncated after that, while the kernel already has the writes, may still grow by them.
 */
static bool file_ends_before(struct gd_disk_queue *queue, const struct gd_disk_io *io, enum mode mode)
{
	struct file_queue *own = (struct file_queue *)queue;
	const struct gd_image *image = &file_of(queue->disk)->image;
	unsigned head = queue->ring->sq.sqe_head;
	struct statx stx;

	if (image->block || io->op == GD_DISK_READ || !(transfers(mode) || mode == MODE_ZERO_RANGE))
		return false;
	if (!own->measured || own->head != head) {
		/* A network file system answers from its cache: to ask its server would block the thread. */
		own->measured = !statx(image->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &stx) &&
				stx.stx_mask & STATX_SIZE;
		own->end = own->measured ? stx.stx_size : 0;
		own->head = head;
	}
	return own->measured && io->offset + io->length > own->end;
}

/* The I/O reaches beyond the image's end: the image has become shorter than the disk. */
static void file_end(struct gd_disk_queue *queue, struct gd_disk_slot *slot)
{
	uint64_t bytes = 0;
	char what[96];

	gd_image_measure(&file_of(queue->disk)->image, &bytes);
	snprintf(what, sizeof(what), "the image ends at %llu, it had %llu", (unsigned long long)bytes,
		 (unsigned long long)gd_disk_size(queue->disk));
	gd_io_complain(queue, slot->io, what);
	gd_queue_finish(queue, slot, -EIO);
}

static int file_start(struct gd_disk_queue *queue, struct gd_disk_slot *slot)
{
	struct file_disk *file = file_of(queue->disk);
	int mode = mode_choose(file, slot->io);
	struct io_uring_sqe *sqe;

	if (mode < 0)
		return mode;
	if (file_ends_before(queue, slot->io, (enum mode)mode)) {
		file_end(queue, slot);
		return 0;
	}
	sqe = gd_queue_sqe(queue);
	if (!sqe)
		return -EAGAIN;
	slot->mode = (uint8_t)mode;
	slot->chunk = chunk_length(slot->io, (enum mode)mode);
	sqe_prep(sqe, file->image.fd, slot->io, (enum mode)mode, slot->chunk);
	io_uring_sqe_set_data64(sqe, gd_queue_user_data(queue, GD_KIND_IO, slot->generation, slot->index));
	return 0;
}

static bool refused_for_good(enum mode mode, int result)
{
	switch (mode) {
	case MODE_DISCARD: /* kernels without the command say EINVAL or EOPNOTSUPP */
		return result == -EOPNOTSUPP || result == -EINVAL || result == -ENOTTY;
	case MODE_PUNCH:
	case MODE_UNMAP:
	case MODE_ZERO_RANGE:
		return result == -EOPNOTSUPP || result == -ENOSYS;
	default:
		return false;
	}
}

/*
 * Direct I/O in units of 512 bytes is refused, although the system had not said so: from here on the image is served
 * through the page cache. I/O that other queues have in flight fails, too, and comes here. False: the error has another
 * cause.
 */
static bool undirect(struct gd_disk_queue *queue, struct gd_disk_slot *slot)
{
	struct file_disk *file = file_of(queue->disk);

	if (!file->image.direct || file->image.block || file->image.told || slot->retries++ >= RETRIES_MAX)
		return false;
	if (gd_image_undirect(&file->image))
		return false;
	if (!__atomic_exchange_n(&file->undirect, true, __ATOMIC_RELAXED))
		gd_log(queue->disk->log, GD_NOTICE,
		       "%s: no O_DIRECT in units of 512 bytes here: served through the page cache",
		       queue->disk->target);
	return true;
}

static void file_fail(struct gd_disk_queue *queue, struct gd_disk_slot *slot, int result)
{
	if (refused_for_good((enum mode)slot->mode, result)) {
		__atomic_fetch_or(&queue->disk->bad_modes, (uint8_t)(1u << slot->mode), __ATOMIC_RELAXED);
		gd_queue_run(queue, slot);
	} else if (result == -EINVAL && transfers((enum mode)slot->mode) && undirect(queue, slot)) {
		gd_queue_run(queue, slot);
	} else if (result == -EFAULT && slot->io->fixed) { /* the buffer is not registered any more */
		slot->io->fixed = 0;
		gd_queue_run(queue, slot);
	} else if (result == -EINTR && slot->retries++ < RETRIES_MAX) { /* fallocate on tmpfs */
		gd_queue_run(queue, slot);
	} else {
		gd_io_complain(queue, slot->io, gd_log_errno(result));
		gd_queue_finish(queue, slot, result);
	}
}

static void file_cqe(struct gd_disk_queue *queue, enum gd_disk_kind kind, uint32_t generation,
		     struct gd_disk_slot *slot, int result)
{
	struct gd_disk_io *io;

	(void)generation;
	if (kind != GD_KIND_IO)
		return;
	io = slot->io;
	if (result < 0) {
		file_fail(queue, slot, result);
		return;
	}
	if (slot->mode == MODE_SYNC) {
		gd_queue_finish(queue, slot, 0);
		return;
	}
	if (transfers((enum mode)slot->mode)) {
		/* A direct transfer can go on at a block only, and the end of a file may lie within one. */
		uint32_t whole = (uint32_t)result & ~(queue->disk->info.block_size - 1);

		if (!whole) {
			file_end(queue, slot);
			return;
		}
		io->progress += whole < slot->chunk ? whole : slot->chunk;
	} else {
		io->progress += slot->chunk;
	}
	if (gd_io_unfinished(io) || (io->fua && io->op == GD_DISK_WRITE_ZEROES))
		gd_queue_run(queue, slot);
	else
		gd_queue_finish(queue, slot, 0);
}

static uint64_t file_measure(struct gd_disk *disk)
{
	uint64_t bytes, size = gd_disk_size(disk);
	int result = gd_image_measure(&file_of(disk)->image, &bytes);

	if (result) {
		gd_log(disk->log, GD_ERR, "%s: cannot ask for the size: %s", disk->target, gd_log_errno(result));
		return size;
	}
	return bytes & ~(uint64_t)(disk->info.block_size - 1);
}

static void file_close(struct gd_disk *disk)
{
	gd_image_close(&file_of(disk)->image);
	free(disk);
}

static const struct gd_disk_engine file_engine = {
	.queue_bytes = sizeof(struct file_queue),
	.close = file_close,
	.measure = file_measure,
	.start = file_start,
	.cqe = file_cqe,
};

static int file_size(struct file_disk *file, const struct gd_disk_opening *opening)
{
	uint64_t bytes, odd;
	int result = gd_image_measure(&file->image, &bytes);

	if (result)
		return gd_disk_refuse(opening, result, "cannot ask for the size: %s", gd_log_errno(result));
	odd = bytes & (file->image.block_size - 1);
	if (bytes == odd)
		return gd_disk_refuse(opening, -EINVAL, "size %llu is less than one block of %u",
				      (unsigned long long)bytes, file->image.block_size);
	if (odd)
		gd_log(opening->log, GD_WARN, "%s: size %llu is not a multiple of %u: the last %llu bytes are left out",
		       opening->config->target, (unsigned long long)bytes, file->image.block_size,
		       (unsigned long long)odd);
	file->disk.info.size = bytes - odd;
	return 0;
}

static void file_describe(struct file_disk *file)
{
	struct gd_disk_info *info = &file->disk.info;
	const struct gd_image *image = &file->image;

	info->block_size = image->block_size;
	info->physical_size = image->physical_size;
	info->align = image->align;
	info->max_transfer = 0;
	info->max_discard = image->punches ? GD_DISK_MAX_DISCARD : 0;
	info->discard_align = image->discard_align;
	info->max_write_zeroes = GD_DISK_MAX_DISCARD;
	info->flush = true;
	info->multi_queue = true;
	info->fenced = image->locked;
	info->fixed = true;
	gd_disk_serial(info, image->path);
}

int gd_file_open(struct gd_disk **disk, const struct gd_disk_opening *opening)
{
	struct file_disk *file = calloc(1, sizeof(*file));
	int result;

	if (!file)
		return gd_disk_refuse(opening, -ENOMEM, "%s", gd_log_errno(ENOMEM));
	result = gd_image_open(&file->image, opening);
	if (result)
		goto free_file;
	result = file_size(file, opening);
	if (result)
		goto close_image;
	file->disk.engine = &file_engine;
	file_describe(file);
	*disk = &file->disk;
	return 0;

close_image:
	gd_image_close(&file->image);
free_file:
	free(file);
	return result;
}
