/* SPDX-License-Identifier: MIT */
/* What a killed process leaves to its successor: right after every single instruction, and in every file that may be
 * there. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <abi/virtio_ring.h>

#include "backend/virtio/ledger.h"
#include "backend/virtio/ring.h"

#define SIZE	 8u
#define REQUESTS 6u

/* ---- a queue's requests ----------------------------------------------------------------------------------------- */

/* What outlives the process: the guest's rings, and the ledger. */
struct shared {
	struct gd_ledger_queue ledger;
	uint16_t avail[2 + SIZE + 1];
	struct {
		uint16_t flags, idx;
		struct gio_virtq_used_elem entry[SIZE];
		uint16_t event;
	} used;
};

/* The first index is near the end of its 16 bits, so that it wraps in the middle. */
#define FIRST 0xfffdu

static struct shared *shared_make(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(shared, MAP_FAILED);
	shared->ledger.shown = shared->ledger.next = FIRST;
	shared->used.idx = FIRST;
	for (unsigned i = 0; i < REQUESTS; i++) /* heads in no order */
		shared->avail[2 + ((FIRST + i) & (SIZE - 1))] = (uint16_t)((i * 3 + 1) % SIZE);
	shared->avail[1] = (uint16_t)(FIRST + REQUESTS);
	return shared;
}

static uint16_t head_at(const struct shared *shared, uint16_t position)
{
	return shared->avail[2 + (position & (SIZE - 1))];
}

static struct gd_ring queue_on(struct shared *shared)
{
	return (struct gd_ring){.avail = {.data = shared->avail},
				.used = {.data = &shared->used},
				.size = SIZE,
				.next_avail = FIRST,
				.next_used = FIRST,
				.published = FIRST,
				.ledger = &shared->ledger};
}

static void take(struct gd_ring *queue, unsigned n)
{
	uint16_t heads[REQUESTS];

	for (unsigned i = 0; i < n; i++) {
		heads[i] = (uint16_t)gd_ring_head(queue);
		gd_ring_advance(queue, 1);
	}
	for (unsigned i = 0; i < n; i++)
		gd_ring_keep(queue, heads[i]);
	for (unsigned i = 0; i < n; i += 2) /* some of them change the disk */
		gd_ring_change(queue, heads[i]);
}

/* Two batches; the second one is answered in two parts, not in its order. */
static void requests_serve(struct shared *shared)
{
	struct gd_ring queue = queue_on(shared);

	gd_ring_look(&queue);
	take(&queue, 2);
	gd_ring_use(&queue, head_at(shared, FIRST), 1);
	gd_ring_use(&queue, head_at(shared, FIRST + 1), 1);
	gd_ring_publish(&queue);
	take(&queue, 4);
	for (unsigned i = 5; i >= 3; i--)
		gd_ring_use(&queue, head_at(shared, (uint16_t)(FIRST + i)), 1);
	gd_ring_publish(&queue);
	gd_ring_use(&queue, head_at(shared, FIRST + 2), 1);
	gd_ring_publish(&queue);
}

static bool has(const uint16_t *heads, unsigned count, uint16_t head)
{
	for (unsigned i = 0; i < count; i++)
		if (heads[i] == head)
			return true;
	return false;
}

/*
 * A successor's view: what the guest has no answer to is either left, or still in the ring behind what was taken; and
 * nothing that it has an answer to is done again.
 */
static void successor_check(const struct shared *now, unsigned *answered, unsigned *taken)
{
	struct gd_ledger_queue ledger = now->ledger;
	uint16_t lefts[SIZE], done[REQUESTS];
	int left = gd_ledger_settle(&ledger, now->used.idx, SIZE, lefts);

	assert_in_range(left, 0, REQUESTS);
	assert_int_equal(ledger.shown, now->used.idx);
	*answered = (uint16_t)(now->used.idx - FIRST);
	*taken = *answered + (unsigned)left;
	assert_in_range(*taken, 0, REQUESTS);
	for (unsigned i = 0; i < *answered; i++)
		done[i] = (uint16_t)now->used.entry[(FIRST + i) & (SIZE - 1)].id;
	for (unsigned i = 0; i < *taken; i++) {
		uint16_t head = head_at(now, (uint16_t)(FIRST + i));

		assert_int_equal(has(done, *answered, head) + has(lefts, (unsigned)left, head), 1);
	}
	/* Settled is settled: a successor that is killed as well leaves the same. */
	assert_int_equal(gd_ledger_settle(&ledger, now->used.idx, SIZE, lefts), left);
}

/* Run `work` in a process that stands still after each instruction, and might as well be dead: then `check` looks. */
static void every_instruction(void (*work)(void *opaque), void (*check)(void *opaque), void *opaque)
{
	pid_t child = fork();
	unsigned steps = 0;
	int status;

	assert_true(child >= 0);
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		work(opaque);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	for (; WIFSTOPPED(status); steps++) {
		check(opaque);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_true(steps > 100);
}

struct requests {
	struct shared *shared;
	unsigned answered, taken; /* so far */
};

static void requests_work(void *opaque)
{
	requests_serve(((struct requests *)opaque)->shared);
}

static void requests_check(void *opaque)
{
	struct requests *requests = opaque;
	unsigned answered, taken;

	successor_check(requests->shared, &answered, &taken);
	assert_true(answered >= requests->answered && taken >= requests->taken);
	requests->answered = answered;
	requests->taken = taken;
}

static void test_requests(void **state)
{
	struct requests requests = {.shared = shared_make()};

	(void)state;
	every_instruction(requests_work, requests_check, &requests);
	assert_int_equal(requests.answered, REQUESTS);
	munmap(requests.shared, sizeof(*requests.shared));
}

/* Marks that no queue of that size can have, and an index that is neither: no harm is done, nothing is written beyond.
 */
static void test_nonsense(void **state)
{
	struct gd_ledger_queue ledger = {.heads = {[3] = GD_LEDGER_TAKEN, [SIZE] = GD_LEDGER_TAKEN}};
	uint16_t heads[GD_LEDGER_HEADS];

	(void)state;
	assert_int_equal(gd_ledger_settle(&ledger, 0, SIZE, heads), -EINVAL);
	ledger.heads[SIZE] = GD_LEDGER_FREE;
	ledger.heads[5] = 7;
	assert_int_equal(gd_ledger_settle(&ledger, 0, SIZE, heads), -EINVAL);
	ledger = (struct gd_ledger_queue){.shown = 10, .next = 12, .heads = {[1] = GD_LEDGER_ANSWERED}};
	assert_int_equal(gd_ledger_settle(&ledger, 999, SIZE, heads), 1);
	assert_int_equal(heads[0], 1);
	assert_int_equal(ledger.shown, 10);
	memset(&ledger.heads, GD_LEDGER_TAKEN, sizeof(ledger.heads));
	assert_int_equal(gd_ledger_settle(&ledger, 10, GD_LEDGER_HEADS, heads), GD_LEDGER_HEADS);
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static char path[64];

static int file_setup(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/gd-ledger-XXXXXX");
	return mkdtemp(path) ? (strcat(path, "/ledger"), 0) : -1;
}

static int file_teardown(void **state)
{
	(void)state;
	unlink(path);
	*strrchr(path, '/') = '\0';
	return rmdir(path);
}

/* As if the process had been killed: the file stays. */
static void ledger_leave(struct gd_ledger *ledger)
{
	char aside[80];

	snprintf(aside, sizeof(aside), "%s.aside", path);
	assert_int_equal(rename(path, aside), 0);
	gd_ledger_close(ledger);
	assert_int_equal(rename(aside, path), 0);
}

static void test_file(void **state)
{
	struct gd_ledger_registers in = {.status = 15, .features = 1}, out;
	struct gd_ledger *ledger, *next;
	uint64_t cookie;
	struct stat st;

	(void)state;
	assert_int_equal(gd_ledger_adopt(&ledger, path, 1), -ENOENT);
	assert_int_equal(gd_ledger_make(&ledger, path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	cookie = gd_ledger_cookie(ledger);
	assert_true(cookie != 0);
	for (unsigned i = 0; i < 5; i++) {
		in.queue[GD_LEDGER_QUEUES - 1].num = i;
		gd_ledger_save(ledger, &in);
	}
	gd_ledger_take(gd_ledger_queue(ledger, 2), 77);
	ledger_leave(ledger);
	assert_int_equal(gd_ledger_adopt(&next, path, cookie + 1), -EINVAL);
	assert_int_equal(gd_ledger_adopt(&next, path, cookie), 0);
	gd_ledger_load(next, &out);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_int_equal(gd_ledger_queue(next, 2)->heads[77], GD_LEDGER_TAKEN);
	assert_true(gd_ledger_cookie(next) == cookie);
	ledger_leave(next);
	/* A new one is another one, whatever was there. */
	assert_int_equal(gd_ledger_make(&next, path), 0);
	assert_true(gd_ledger_cookie(next) != cookie);
	assert_int_equal(gd_ledger_queue(next, 2)->heads[77], GD_LEDGER_FREE);
	gd_ledger_close(next);
	assert_int_equal(access(path, F_OK), -1);
}

static void registers_work(void *opaque)
{
	struct gd_ledger_registers r;

	for (unsigned i = 1; i <= 3; i++) {
		memset(&r, (int)i, sizeof(r));
		gd_ledger_save(opaque, &r);
	}
}

/* All from one saving. */
static void registers_check(void *opaque)
{
	struct gd_ledger_registers r;

	gd_ledger_load(opaque, &r);
	for (size_t i = 0; i < sizeof(r); i++)
		assert_int_equal(((const uint8_t *)&r)[i], *(const uint8_t *)&r);
}

static void test_registers(void **state)
{
	struct gd_ledger_registers r;
	struct gd_ledger *ledger;

	(void)state;
	assert_int_equal(gd_ledger_make(&ledger, path), 0);
	every_instruction(registers_work, registers_check, ledger);
	gd_ledger_load(ledger, &r);
	assert_int_equal(*(const uint8_t *)&r, 3);
	gd_ledger_close(ledger);
}

static void test_file_no_ledger(void **state)
{
	static const off_t lengths[] = {0, 1, 16, 4096, 1 << 20};
	struct gd_ledger *ledger;
	int fd;

	(void)state;
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(ftruncate(fd, lengths[i]), 0);
		close(fd);
		assert_int_equal(gd_ledger_adopt(&ledger, path, 0), -EINVAL);
	}
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0); /* does not wait for a writer */
	assert_int_equal(gd_ledger_adopt(&ledger, path, 0), -EINVAL);
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(gd_ledger_adopt(&ledger, path, 0), -ELOOP);
	assert_int_equal(gd_ledger_make(&ledger, path), 0); /* in the link's place */
	gd_ledger_close(ledger);
	assert_int_equal(gd_ledger_make(&ledger, "/nowhere/at/all"), -ENOENT);
}

/* ---- files of other versions ------------------------------------------------------------------------------------ */

#define SIZE_3 17888
#define COOKIE UINT64_C(0x1122334455667788)

static uint8_t image[32768];

static void put(size_t at, uint64_t value, unsigned bytes)
{
	memcpy(image + at, &value, bytes); /* little-endian, as everywhere here */
}

static void image_write(size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, image, size), size);
	close(fd);
}

/* One of version 3 byte by byte: its second copy is the valid one. 664 bytes for each copy, 1032 for each queue. */
static void image_of_version_3(void)
{
	static const uint32_t sizes[] = {48, 536, 64, 64, 1032, 16};
	const size_t copy = 48 + 664, queue = 48 + 2 * 664 + 3 * 1032;

	memset(image, 0, sizeof(image));
	put(0, UINT64_C(0x6f69746e61726703), 8);
	put(8, COOKIE, 8);
	put(16, 1, 4); /* the second copy */
	put(20, 7, 4); /* unflushed */
	memcpy(image + 24, sizes, sizeof(sizes));
	put(48, 99, 8); /* features of the copy that is not valid */
	put(copy, 0x130000240, 8);
	put(copy + 8, 15, 4);
	put(copy + 12, 1, 4);		 /* virtio-mmio, */
	put(copy + 16, 2, 4);		 /* virtio-blk */
	put(copy + 24 + 3 * 32, 256, 4); /* queue 3: size, ready, three addresses */
	put(copy + 24 + 3 * 32 + 4, 1, 4);
	put(copy + 24 + 3 * 32 + 8, 0xa000, 8);
	put(copy + 24 + 3 * 32 + 16, 0xb000, 8);
	put(copy + 24 + 3 * 32 + 24, 0xc000, 8);
	put(copy + 536, 11, 4); /* three selectors */
	put(copy + 540, 12, 4);
	put(copy + 544, 13, 4);
	put(copy + 600, 1, 4); /* writeback */
	put(copy + 604, 4096, 4);
	put(queue, 500, 2);
	put(queue + 2, 501, 2);
	put(queue + 4, 2, 4); /* orphans */
	put(queue + 8 + 77, GD_LEDGER_CHANGING, 1);
}

static void version_3_check(struct gd_ledger *ledger)
{
	static const uint32_t transport[] = {11, 12, 13, 0}, class[] = {1, 4096, 0};
	struct gd_ledger_registers r;

	gd_ledger_load(ledger, &r);
	assert_int_equal(r.features, 0x130000240);
	assert_int_equal(r.status, 15);
	assert_int_equal(r.transport_id, 1);
	assert_int_equal(r.class_id, 2);
	assert_memory_equal(r.transport, transport, sizeof(transport));
	assert_memory_equal(r.class, class, sizeof(class));
	assert_int_equal(r.queue[3].num, 256);
	assert_int_equal(r.queue[3].ready, 1);
	assert_int_equal(r.queue[3].desc, 0xa000);
	assert_int_equal(r.queue[3].driver, 0xb000);
	assert_int_equal(r.queue[3].device, 0xc000);
	assert_int_equal(r.queue[2].ready, 0);
	assert_int_equal(*gd_ledger_unflushed(ledger), 7);
	assert_int_equal(gd_ledger_queue(ledger, 3)->shown, 500);
	assert_int_equal(gd_ledger_queue(ledger, 3)->next, 501);
	assert_int_equal(gd_ledger_queue(ledger, 3)->heads[77], GD_LEDGER_CHANGING);
	assert_int_equal(gd_ledger_pending(ledger), 3);
	assert_true(gd_ledger_cookie(ledger) == COOKIE);
}

/* A running system's file of the version before: read, and from then on one of this version. */
static void test_version_3(void **state)
{
	struct gd_ledger *ledger;
	struct stat st;

	(void)state;
	image_of_version_3();
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE + 1), -EINVAL);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), 0);
	version_3_check(ledger);
	gd_ledger_leave(ledger);
	assert_int_equal(stat(path, &st), 0);
	assert_int_not_equal(st.st_size, SIZE_3);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), 0);
	version_3_check(ledger);
	gd_ledger_close(ledger);
	put(16, 2, 4); /* there are two copies */
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), -EINVAL);
	put(16, 1, 4);
	put(0, UINT64_C(0x6f69746e61726702), 8); /* too old, and a version to come */
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), -EINVAL);
	put(0, UINT64_C(0x6f69746e61726705), 8);
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), -EINVAL);
	put(0, UINT64_C(0x6f69746e61726703), 8);
	put(32, 65, 4); /* lengths that lie */
	image_write(SIZE_3);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), -EINVAL);
}

/* A file as it stands at `path`, and what may stand there while one of version 3 is replaced. */
struct replaced {
	uint8_t old[32768], ours[32768], now[32768];
	ssize_t size;
};

static ssize_t image_load(uint8_t *to)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, to, sizeof(image));

	close(fd);
	return size;
}

static void replace_work(void *opaque)
{
	struct gd_ledger *ledger;

	(void)opaque;
	if (gd_ledger_adopt(&ledger, path, COOKIE))
		_exit(1);
}

/* The old file as it was, or ours with all that is in it. */
static void replace_check(void *opaque)
{
	struct replaced *files = opaque;
	ssize_t size = image_load(files->now);

	if (size == SIZE_3)
		assert_memory_equal(files->now, files->old, size);
	else
		assert_memory_equal(files->now, files->ours, files->size);
}

/* A process that is killed while it replaces a file of version 3 leaves one that its successor can adopt. */
static void test_version_3_replaced_at_once(void **state)
{
	static struct replaced files;
	struct gd_ledger *ledger;

	(void)state;
	image_of_version_3();
	image_write(SIZE_3);
	image_load(files.old);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), 0);
	gd_ledger_leave(ledger);
	files.size = image_load(files.ours);
	image_write(SIZE_3);
	every_instruction(replace_work, replace_check, &files);
	assert_int_equal(image_load(files.now), files.size);
}

/* Version 3 with shorter parts (24 bytes of the device, 4 and 8) and one queue; and with one that is longer than ours.
 */
static void test_other_lengths(void **state)
{
	static const uint32_t sizes[] = {48, 24, 4, 8, 1032, 1};
	const size_t copy = 48 + 36, queue = 48 + 2 * 36;
	struct gd_ledger_registers r;
	struct gd_ledger *ledger;

	(void)state;
	memset(image, 0, sizeof(image));
	put(0, UINT64_C(0x6f69746e61726703), 8);
	put(8, COOKIE, 8);
	put(16, 1, 4);
	memcpy(image + 24, sizes, sizeof(sizes));
	put(copy, 5, 8);
	put(copy + 8, 3, 4);
	put(copy + 24, 21, 4);
	put(copy + 28, 22, 4);
	put(queue, 9, 2);
	image_write(queue + 1032);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), 0);
	gd_ledger_load(ledger, &r);
	assert_int_equal(r.features, 5);
	assert_int_equal(r.status, 3);
	assert_int_equal(r.transport[0], 21);
	assert_int_equal(r.transport[4], 0);
	assert_int_equal(r.class[0], 22);
	assert_int_equal(gd_ledger_queue(ledger, 0)->shown, 9);
	gd_ledger_close(ledger);
	image_write(queue + 1031);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), -EINVAL);
	put(36, GD_LEDGER_CLASS + 8, 4);
	image_write(queue + 1032 + 2 * GD_LEDGER_CLASS);
	assert_int_equal(gd_ledger_adopt(&ledger, path, COOKIE), -EINVAL);
}

/* What may still change the disk: of rings that are ready, and of those that are gone. */
static void test_pending(void **state)
{
	struct gd_ledger_registers r = {.queue = {[3] = {.ready = 1}}};
	struct gd_ledger *ledger;

	(void)state;
	assert_int_equal(gd_ledger_make(&ledger, NULL), 0);
	gd_ledger_save(ledger, &r);
	gd_ledger_take(gd_ledger_queue(ledger, 3), 1);
	gd_ledger_answer(gd_ledger_queue(ledger, 3), 2);
	gd_ledger_change(gd_ledger_queue(ledger, 2), 7);
	assert_int_equal(gd_ledger_pending(ledger), 0);
	gd_ledger_change(gd_ledger_queue(ledger, 3), GD_LEDGER_HEADS - 1);
	assert_int_equal(gd_ledger_pending(ledger), 1);
	gd_ledger_orphans(gd_ledger_queue(ledger, 2), 5);
	assert_int_equal(gd_ledger_pending(ledger), 6);
	gd_ledger_begin(gd_ledger_queue(ledger, 2));
	assert_int_equal(gd_ledger_pending(ledger), 6);
	gd_ledger_forget(ledger, false);
	assert_int_equal(gd_ledger_pending(ledger), 1);
	gd_ledger_forget(ledger, true);
	assert_int_equal(gd_ledger_pending(ledger), 0);
	gd_ledger_close(ledger);
}

static void test_memory_only(void **state)
{
	struct gd_ledger *ledger;

	(void)state;
	assert_int_equal(gd_ledger_make(&ledger, NULL), 0);
	gd_ledger_take(gd_ledger_queue(ledger, GD_LEDGER_QUEUES - 1), GD_LEDGER_HEADS - 1);
	gd_ledger_close(ledger);
	gd_ledger_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test_setup_teardown(test_registers, file_setup, file_teardown),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test_setup_teardown(test_file, file_setup, file_teardown),
		cmocka_unit_test_setup_teardown(test_file_no_ledger, file_setup, file_teardown),
		cmocka_unit_test_setup_teardown(test_version_3, file_setup, file_teardown),
		cmocka_unit_test_setup_teardown(test_version_3_replaced_at_once, file_setup, file_teardown),
		cmocka_unit_test_setup_teardown(test_other_lengths, file_setup, file_teardown),
		cmocka_unit_test(test_memory_only),
		cmocka_unit_test(test_pending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
