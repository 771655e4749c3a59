/* SPDX-License-Identifier: MIT */
#include "backend/virtio/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/base/error.h"

#define MAGIC UINT64_C(0x6f69746e61726702) /* "\2grantio", the first byte is the layout's version */

struct file {
	uint64_t magic, cookie;
	uint32_t current;   /* which of the two is valid */
	uint32_t unflushed; /* the disk's: gd_ledger_unflushed() */
	struct gd_ledger_registers registers[2];
	struct gd_ledger_queue queues[GD_LEDGER_QUEUES];
};

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

/* All of its size is there before it is written: a store to a full file system would be a SIGBUS. */
static int file_make(struct gd_ledger *ledger)
{
	int fd, ret;

	if (!ledger->path)
		return file_map(ledger, -1);
	if (unlink(ledger->path) && errno != ENOENT)
		return gd_errno_or(EIO);
	fd = open(ledger->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return gd_errno_or(EIO);
	ret = -posix_fallocate(fd, 0, sizeof(*ledger->file));
	if (!ret)
		ret = file_map(ledger, fd);
	close(fd);
	if (ret)
		unlink(ledger->path);
	return ret;
}

static int file_open(struct gd_ledger *ledger)
{
	int fd = open(ledger->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), ret = -EINVAL;
	struct stat st;

	if (fd < 0)
		return gd_errno_or(EIO);
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size == sizeof(*ledger->file))
		ret = file_map(ledger, fd);
	close(fd);
	return ret;
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
	int ret = ledger_new(&ledger, path);

	if (ret)
		return ret;
	ret = file_make(ledger);
	while (!ret && !ledger->file->cookie)
		if (getrandom(&ledger->file->cookie, sizeof(ledger->file->cookie), 0) < 0 && errno != EINTR)
			ret = gd_errno_or(EIO);
	if (ret) {
		ledger_free(ledger);
		return ret;
	}
	ledger->file->magic = MAGIC;
	*out = ledger;
	return 0;
}

int gd_ledger_adopt(struct gd_ledger **out, const char *path, uint64_t cookie)
{
	struct gd_ledger *ledger;
	int ret = ledger_new(&ledger, path);

	if (ret)
		return ret;
	ret = file_open(ledger);
	if (!ret && (ledger->file->magic != MAGIC || ledger->file->cookie != cookie || ledger->file->current > 1))
		ret = -EINVAL;
	if (ret)
		ledger_free(ledger);
	else
		*out = ledger;
	return ret;
}

void gd_ledger_close(struct gd_ledger *ledger)
{
	if (!ledger)
		return;
	if (ledger->path)
		unlink(ledger->path); /* gone already: as well */
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
