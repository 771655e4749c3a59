/* SPDX-License-Identifier: MIT */
/*
 * What a killed process leaves to its successor: right after every single instruction, and in every file that may be
 * there. Files that another version wrote are in test_ledger_versions.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <abi/virtio_ring.h>

#include "backend/virtio/ledger.h"
#include "backend/virtio/ring.h"
#include "tests/unit/backend/ledger_rig.h"

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
	ledger_rig_steps(requests_work, requests_check, &requests);
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

/* As if the process had been killed: the file stays. */
static void ledger_leave(struct gd_ledger *ledger)
{
	char aside[80];

	snprintf(aside, sizeof(aside), "%s.aside", ledger_rig_path);
	assert_int_equal(rename(ledger_rig_path, aside), 0);
	gd_ledger_close(ledger);
	assert_int_equal(rename(aside, ledger_rig_path), 0);
}

static void test_file(void **state)
{
	struct gd_ledger_registers in = {.status = 15, .features = 1}, out;
	struct gd_ledger *ledger, *next;
	uint64_t cookie;
	struct stat st;

	(void)state;
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, 1), -ENOENT);
	assert_int_equal(gd_ledger_make(&ledger, ledger_rig_path), 0);
	assert_int_equal(stat(ledger_rig_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	cookie = gd_ledger_cookie(ledger);
	assert_true(cookie != 0);
	for (unsigned i = 0; i < 5; i++) {
		in.queue[GD_LEDGER_QUEUES - 1].num = i;
		gd_ledger_save(ledger, &in);
	}
	gd_ledger_take(gd_ledger_queue(ledger, 2), 77);
	ledger_leave(ledger);
	assert_int_equal(gd_ledger_adopt(&next, ledger_rig_path, cookie + 1), -EINVAL);
	assert_int_equal(gd_ledger_adopt(&next, ledger_rig_path, cookie), 0);
	gd_ledger_load(next, &out);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_int_equal(gd_ledger_queue(next, 2)->heads[77], GD_LEDGER_TAKEN);
	assert_true(gd_ledger_cookie(next) == cookie);
	ledger_leave(next);
	/* A new one is another one, whatever was there. */
	assert_int_equal(gd_ledger_make(&next, ledger_rig_path), 0);
	assert_true(gd_ledger_cookie(next) != cookie);
	assert_int_equal(gd_ledger_queue(next, 2)->heads[77], GD_LEDGER_FREE);
	gd_ledger_close(next);
	assert_int_equal(access(ledger_rig_path, F_OK), -1);
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
	assert_int_equal(gd_ledger_make(&ledger, ledger_rig_path), 0);
	ledger_rig_steps(registers_work, registers_check, ledger);
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
		fd = open(ledger_rig_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		assert_int_equal(ftruncate(fd, lengths[i]), 0);
		close(fd);
		assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, 0), -EINVAL);
	}
	unlink(ledger_rig_path);
	assert_int_equal(mkfifo(ledger_rig_path, 0600), 0); /* does not wait for a writer */
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, 0), -EINVAL);
	unlink(ledger_rig_path);
	assert_int_equal(symlink("/etc/passwd", ledger_rig_path), 0);
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, 0), -ELOOP);
	assert_int_equal(gd_ledger_make(&ledger, ledger_rig_path), 0); /* in the link's place */
	gd_ledger_close(ledger);
	assert_int_equal(gd_ledger_make(&ledger, "/nowhere/at/all"), -ENOENT);
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
		cmocka_unit_test_setup_teardown(test_registers, ledger_rig_setup, ledger_rig_teardown),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test_setup_teardown(test_file, ledger_rig_setup, ledger_rig_teardown),
		cmocka_unit_test_setup_teardown(test_file_no_ledger, ledger_rig_setup, ledger_rig_teardown),
		cmocka_unit_test(test_memory_only),
		cmocka_unit_test(test_pending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
