/* SPDX-License-Identifier: MIT */
#include "backend/virtio/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/error.h"

#define MAGIC(version) (UINT64_C(0x6f69746e61726700) | (version)) /* "\3grantio": the first byte is the version */
#define VERSION	       4u
#define FILE_MAX       (1 << 20) /* no ledger is longer, of whatever version */

/* The lengths of the file's parts, in their order: a header, two copies of three parts each, and the queues. */
struct sizes {
	uint32_t header, device, transport, class, queue, queues;
};

struct file {
	uint64_t magic, cookie;
	uint32_t current;   /* which copy of the registers is valid: 0 or 1 */
	uint32_t unflushed; /* the disk writes it: gd_ledger_unflushed() */
	struct sizes sizes;
	struct gd_ledger_registers registers[2];
	struct gd_ledger_queue queues[GD_LEDGER_QUEUES];
};

static const struct sizes our_sizes = {.header = offsetof(struct file, registers),
				       .device = offsetof(struct gd_ledger_registers, transport),
				       .transport = GD_LEDGER_TRANSPORT,
				       .class = GD_LEDGER_CLASS,
				       .queue = sizeof(struct gd_ledger_queue),
				       .queues = GD_LEDGER_QUEUES};

_Static_assert(sizeof(struct gd_ledger_registers) ==
		       offsetof(struct gd_ledger_registers, transport) + GD_LEDGER_TRANSPORT + GD_LEDGER_CLASS,
	       "the parts follow each other");

struct gd_ledger {
	struct file *file;
	char *path; /* NULL: in memory only */
};

static int file_map(struct gd_ledger *ledger, int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *data = mmap(NULL, sizeof(*ledger->file), PROT_READ | PROT_WRITE, flags, fd, 0);

	if (data == MAP_FAILED)
		return gd_errno_or(EIO);
	ledger->file = data;
	return 0;
}

/* Allocate all of the file before it is written: a store to a hole on a full file system would raise SIGBUS. */
static int file_make(struct gd_ledger *ledger)
{
	int fd, err;

	if (!ledger->path)
		return file_map(ledger, -1);
	if (unlink(ledger->path) && errno != ENOENT)
		return gd_errno_or(EIO);
	fd = open(ledger->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return gd_errno_or(EIO);
	err = -posix_fallocate(fd, 0, sizeof(*ledger->file));
	if (!err)
		err = file_map(ledger, fd);
	close(fd);
	if (err)
		unlink(ledger->path);
	return err;
}

static void file_unmap(struct gd_ledger *ledger)
{
	if (ledger->file)
		munmap(ledger->file, sizeof(*ledger->file));
}

static void ledger_free(struct gd_ledger *ledger)
{
	file_unmap(ledger);
	free(ledger->path);
	free(ledger);
}

static int ledger_new(struct gd_ledger **out, const char *path)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->path = path ? strdup(path) : NULL;
	if (!path || (*out)->path)
		return 0;
	free(*out);
	return -ENOMEM;
}

int gd_ledger_make(struct gd_ledger **out, const char *path)
{
	struct gd_ledger *ledger;
	int err = ledger_new(&ledger, path);

	if (err)
		return err;
	err = file_make(ledger);
	while (!err && !ledger->file->cookie)
		if (getrandom(&ledger->file->cookie, sizeof(ledger->file->cookie), 0) < 0 && errno != EINTR)
			err = gd_errno_or(EIO);
	if (err) {
		ledger_free(ledger);
		return err;
	}
	ledger->file->magic = MAGIC(VERSION);
	ledger->file->sizes = our_sizes;
	*out = ledger;
	return 0;
}

/* ---- a former process's file ------------------------------------------------------------------------------------ */

/* Whether parts of these lengths make up a file of `size` bytes, and none is longer than the part that we know. */
static bool sizes_valid(const struct sizes *s, size_t size)
{
	uint64_t copy = (uint64_t)s->device + s->transport + s->class;

	if (s->header != our_sizes.header || s->queue != our_sizes.queue || s->queues > our_sizes.queues)
		return false;
	if (s->device > our_sizes.device || s->transport > our_sizes.transport || s->class > our_sizes.class)
		return false;
	return s->header + 2 * copy + (uint64_t)s->queue * s->queues == size;
}

/* Read a file of version 3 or 4. Its parts may be shorter than ours: then our new fields keep their zeroes. */
static int file_read(struct file *to, const struct file *from, size_t size)
{
	const struct sizes *s = &from->sizes;
	struct gd_ledger_registers *r = &to->registers[0];
	size_t copy = (size_t)s->device + s->transport + s->class;
	const uint8_t *at = (const uint8_t *)from + s->header;

	if (size < our_sizes.header || !sizes_valid(s, size) || from->current > 1)
		return -EINVAL;
	to->unflushed = from->unflushed;
	memcpy(to->queues, at + 2 * copy, (size_t)s->queue * s->queues);
	at += from->current * copy;
	memcpy(r, at, s->device);
	memcpy(r->transport, at + s->device, s->transport);
	memcpy(r->class, at + s->device + s->transport, s->class);
	return 0;
}

/* Read what a former process left, `size` bytes, into a file of ours that is all zeroes. */
static int image_read(struct file *to, const void *from, size_t size, uint64_t cookie)
{
	const struct file *file = from; /* magic and cookie have one place in all versions */

	if (size < offsetof(struct file, current) || file->cookie != cookie)
		return -EINVAL;
	/* Version 3 had a shorter part for the transport, which a grantiod of that time must not take for its own. */
	if (file->magic != MAGIC(VERSION) && file->magic != MAGIC(3))
		return -EINVAL;
	to->magic = MAGIC(VERSION);
	to->cookie = cookie;
	to->sizes = our_sizes;
	return file_read(to, file, size);
}

/* Replace the old file by ours, which has the same content. After a kill in this function one of the two is there. */
static int file_replace(struct gd_ledger *ledger, const struct file *image)
{
	struct gd_ledger fresh = {0};
	int err;

	if (asprintf(&fresh.path, "%s" GD_LEDGER_FRESH, ledger->path) < 0)
		return -ENOMEM;
	err = file_make(&fresh);
	if (!err) {
		memcpy(fresh.file, image, sizeof(*image));
		err = rename(fresh.path, ledger->path) ? gd_errno_or(EIO) : 0;
	}
	if (err && fresh.file) {
		unlink(fresh.path);
		munmap(fresh.file, sizeof(*fresh.file));
	}
	ledger->file = err ? NULL : fresh.file;
	free(fresh.path);
	return err;
}

/* Use the file itself if its version and its lengths are ours; otherwise replace it. */
static int data_adopt(struct gd_ledger *ledger, int fd, const void *data, size_t size, uint64_t cookie)
{
	struct file *image = calloc(1, sizeof(*image));
	const struct file *file = data;
	int err = image ? image_read(image, data, size, cookie) : -ENOMEM;

	if (!err && file->magic == MAGIC(VERSION) && !memcmp(&file->sizes, &our_sizes, sizeof(our_sizes)))
		err = file_map(ledger, fd);
	else if (!err)
		err = file_replace(ledger, image);
	free(image);
	return err;
}

static int file_adopt(struct gd_ledger *ledger, uint64_t cookie)
{
	int fd = open(ledger->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), err = -EINVAL;
	struct stat st;
	void *data;

	if (fd < 0)
		return gd_errno_or(EIO);
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= FILE_MAX) {
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		err = data == MAP_FAILED ? gd_errno_or(EIO) : data_adopt(ledger, fd, data, (size_t)st.st_size, cookie);
		if (data != MAP_FAILED)
			munmap(data, (size_t)st.st_size);
	}
	close(fd);
	return err;
}

int gd_ledger_adopt(struct gd_ledger **out, const char *path, uint64_t cookie)
{
	struct gd_ledger *ledger;
	int err = ledger_new(&ledger, path);

	if (err)
		return err;
	err = file_adopt(ledger, cookie);
	if (err)
		ledger_free(ledger);
	else
		*out = ledger;
	return err;
}

void gd_ledger_close(struct gd_ledger *ledger)
{
	if (!ledger)
		return;
	if (ledger->path)
		unlink(ledger->path); /* an error does not matter: it is gone already */
	ledger_free(ledger);
}

void gd_ledger_leave(struct gd_ledger *ledger)
{
	if (ledger)
		ledger_free(ledger);
}

uint64_t gd_ledger_cookie(const struct gd_ledger *ledger)
{
	return ledger->file->cookie;
}

void gd_ledger_save(struct gd_ledger *ledger, const struct gd_ledger_registers *registers)
{
	uint32_t other = !ledger->file->current;

	ledger->file->registers[other] = *registers;
	__atomic_store_n(&ledger->file->current, other, __ATOMIC_RELEASE);
}

void gd_ledger_load(const struct gd_ledger *ledger, struct gd_ledger_registers *registers)
{
	*registers = ledger->file->registers[ledger->file->current];
}

uint32_t *gd_ledger_unflushed(struct gd_ledger *ledger)
{
	return &ledger->file->unflushed;
}

uint32_t gd_ledger_transport(const struct gd_ledger *ledger)
{
	return ledger->file->registers[ledger->file->current].transport_id;
}

uint64_t gd_ledger_features(const struct gd_ledger *ledger)
{
	return ledger->file->registers[ledger->file->current].features;
}

struct gd_ledger_queue *gd_ledger_queue(struct gd_ledger *ledger, unsigned index)
{
	return &ledger->file->queues[index];
}

void gd_ledger_begin(struct gd_ledger_queue *queue)
{
	queue->shown = queue->next = 0;
	memset(queue->heads, GD_LEDGER_FREE, sizeof(queue->heads));
}

unsigned gd_ledger_pending(const struct gd_ledger *ledger)
{
	const struct gd_ledger_registers *r = &ledger->file->registers[ledger->file->current];
	unsigned count = 0;

	for (unsigned i = 0; i < GD_LEDGER_QUEUES; i++) {
		const struct gd_ledger_queue *queue = &ledger->file->queues[i];

		count += queue->orphans;
		for (unsigned head = 0; r->queue[i].ready && head < GD_LEDGER_HEADS; head++)
			count += queue->heads[head] == GD_LEDGER_CHANGING;
	}
	return count;
}

void gd_ledger_forget(struct gd_ledger *ledger, bool all)
{
	for (unsigned i = 0; i < GD_LEDGER_QUEUES; i++) {
		gd_ledger_orphans(&ledger->file->queues[i], 0);
		if (all)
			gd_ledger_begin(&ledger->file->queues[i]);
	}
}

int gd_ledger_settle(struct gd_ledger_queue *queue, uint16_t used, unsigned size, uint16_t *heads)
{
	bool shown = queue->next != queue->shown && used == queue->next;
	int count = 0;

	for (unsigned head = 0; head < GD_LEDGER_HEADS; head++) {
		uint8_t *mark = &queue->heads[head];

		if (*mark > GD_LEDGER_CHANGING || (*mark && head >= size))
			return -EINVAL;
		if (*mark == GD_LEDGER_CHANGING)
			gd_ledger_mark(queue, (uint16_t)head, GD_LEDGER_TAKEN);
		if (*mark == GD_LEDGER_ANSWERED)
			gd_ledger_mark(queue, (uint16_t)head, shown ? GD_LEDGER_FREE : GD_LEDGER_TAKEN);
		if (*mark == GD_LEDGER_TAKEN)
			heads[count++] = (uint16_t)head;
	}
	if (shown)
		queue->shown = queue->next;
	else
		queue->next = queue->shown;
	return count;
}
