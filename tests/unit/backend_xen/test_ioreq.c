/* SPDX-License-Identifier: MIT */
/* Answers to ioreqs: the bus, and the slots of the page that is shared with Xen. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/xen/ioreq.h"

#define BASE 0x2000000u
#define SIZE 0x200u

/* A device that notes what it is asked, and answers reads with all ones but the lowest bit. */
struct device {
	uint64_t offset, value;
	unsigned size, reads, writes;
};

struct fixture {
	struct gd_log log;
	struct gd_bus *bus;
	struct device device[2];
};

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
	struct device *device = opaque;

	device->offset = offset;
	device->size = size;
	device->reads++;
	return UINT64_MAX - 1;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct device *device = opaque;

	device->offset = offset;
	device->size = size;
	device->value = value;
	device->writes++;
}

static int add(struct fixture *f, unsigned index, uint64_t base)
{
	struct gd_bus_range range = {base, SIZE, device_read, device_write, &f->device[index]};

	return gd_bus_add(f->bus, &range);
}

static int fill(struct fixture *f, unsigned index, uint64_t base)
{
	struct gd_bus_range range = {base, SIZE, device_read, device_write, &f->device[index]};

	return gd_bus_fill(f->bus, &range);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	gd_log_level(GD_ERR);
	gd_log_init(&f->log, 1, "ioreq");
	*state = f;
	return gd_bus_open(&f->bus, &f->log) || add(f, 0, BASE) || add(f, 1, BASE + SIZE);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gd_bus_close(f->bus);
	free(f);
	return 0;
}

static struct ioreq access(uint64_t addr, uint32_t size, int dir, uint64_t data)
{
	return (struct ioreq){.addr = addr,
			      .data = data,
			      .count = 1,
			      .size = size,
			      .state = STATE_IOREQ_READY,
			      .dir = (uint8_t)(dir & 1),
			      .type = IOREQ_TYPE_COPY};
}

/* By a device that is there, or by nobody. */
static void answer(struct gd_bus *bus, struct ioreq *request)
{
	struct gd_bus_place *place;

	assert_true(gd_bus_hold(bus, request, &place));
	gd_bus_answer(bus, place, request);
}

static bool slot_answer(struct ioreq *slot, struct gd_bus *bus, bool left)
{
	return gd_ioreq_slot(slot, bus, &left);
}

static void reads_and_writes_reach_the_device(void **state)
{
	static const struct {
		unsigned size;
		uint64_t mask;
	} sizes[] = {{1, 0xff}, {2, 0xffff}, {4, 0xffffffff}, {8, UINT64_MAX}};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct ioreq read = access(BASE + 0x10, sizes[i].size, IOREQ_READ, 0);
		struct ioreq write = access(BASE + SIZE + 0x1f8, sizes[i].size, IOREQ_WRITE, 0xfedcba9876543210);

		answer(f->bus, &read);
		assert_int_equal(read.data, (UINT64_MAX - 1) & sizes[i].mask);
		assert_int_equal(f->device[0].offset, 0x10);
		assert_int_equal(f->device[0].size, sizes[i].size);
		answer(f->bus, &write);
		assert_int_equal(f->device[1].offset, 0x1f8);
		assert_int_equal(f->device[1].value, 0xfedcba9876543210 & sizes[i].mask);
	}
	assert_int_equal(f->device[0].reads, 4);
	assert_int_equal(f->device[0].writes, 0);
	assert_int_equal(f->device[1].writes, 4);
}

static void addresses_without_a_device_read_as_ones(void **state)
{
	static const uint64_t addresses[] = {0, BASE - 1, BASE + 2 * SIZE, UINT64_MAX};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct ioreq read = access(addresses[i], 4, IOREQ_READ, 0);
		struct ioreq write = access(addresses[i], 4, IOREQ_WRITE, 5);

		answer(f->bus, &read);
		assert_int_equal(read.data, 0xffffffff);
		answer(f->bus, &write);
	}
	assert_int_equal(f->device[0].reads + f->device[0].writes + f->device[1].reads + f->device[1].writes, 0);
}

/* What a device does not have: nothing reaches it, reads give ones of their size, and by pointer nothing at all. */
static void odd_accesses_are_refused(void **state)
{
	struct fixture *f = *state;
	struct ioreq odd[] = {
		access(BASE, 3, IOREQ_READ, 0),	 access(BASE, 0, IOREQ_READ, 0),
		access(BASE, 16, IOREQ_READ, 0), access(BASE, UINT32_MAX, IOREQ_READ, 0),
		access(BASE, 4, IOREQ_READ, 0),	 access(BASE, 4, IOREQ_READ, 0),
		access(BASE, 4, IOREQ_READ, 0),	 access(BASE, 4, IOREQ_READ, 0),
		access(BASE, 4, IOREQ_READ, 0),
	};
	static const uint64_t expected[] = {0xffffff,	0,	    UINT64_MAX, UINT64_MAX, 0xffffffff,
					    0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};

	odd[4].count = 2;
	odd[5].count = 0;
	odd[6].type = IOREQ_TYPE_PIO;
	odd[7].type = IOREQ_TYPE_PCI_CONFIG;
	odd[8].type = 99;
	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		answer(f->bus, &odd[i]);
		assert_int_equal(odd[i].data, expected[i]);
		odd[i].dir = IOREQ_WRITE;
		answer(f->bus, &odd[i]);
	}
	odd[0] = access(BASE, 4, IOREQ_READ, 0x40000000);
	odd[0].data_is_ptr = 1;
	answer(f->bus, &odd[0]);
	assert_int_equal(odd[0].data, 0x40000000);
	assert_int_equal(f->device[0].reads + f->device[0].writes, 0);
}

static void invalidate_is_no_error(void **state)
{
	struct fixture *f = *state;
	struct ioreq request = access(0, 4, IOREQ_WRITE, 7);

	request.type = IOREQ_TYPE_INVALIDATE;
	answer(f->bus, &request);
	assert_int_equal(request.data, 7);
}

static void ranges_do_not_overlap(void **state)
{
	static const uint64_t taken[] = {BASE, BASE + SIZE, BASE - 1, BASE + 2 * SIZE - 1, BASE + 0x100};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(add(f, 0, taken[i]), -EADDRINUSE);
	assert_int_equal(add(f, 0, BASE - SIZE), 0);
	assert_int_equal(add(f, 0, BASE + 2 * SIZE), 0);
	assert_int_equal(add(f, 0, UINT64_MAX - SIZE + 2), -EINVAL); /* its end would wrap */
}

static void removed_devices_are_not_called(void **state)
{
	struct fixture *f = *state;
	struct ioreq first = access(BASE, 4, IOREQ_READ, 0), second = access(BASE + SIZE, 4, IOREQ_READ, 0);

	gd_bus_remove(f->bus, BASE);
	answer(f->bus, &first);
	assert_int_equal(first.data, 0xffffffff);
	assert_int_equal(f->device[0].reads, 0);
	answer(f->bus, &second);
	assert_int_equal(f->device[1].reads, 1);
	gd_bus_remove(f->bus, BASE + 4); /* no device's base */
	answer(f->bus, &second);
	assert_int_equal(f->device[1].reads, 2);
	assert_int_equal(add(f, 0, BASE), 0);
}

static void slots_are_answered_once(void **state)
{
	struct fixture *f = *state;
	struct ioreq slot = access(BASE + 4, 4, IOREQ_READ, 0);

	slot.vp_eport = 17;
	assert_true(slot_answer(&slot, f->bus, false));
	assert_int_equal(slot.state, STATE_IORESP_READY);
	assert_int_equal(slot.data, 0xfffffffe);
	assert_int_equal(slot.vp_eport, 17);
	assert_int_equal(slot.dir, IOREQ_READ);
	assert_int_equal(slot.type, IOREQ_TYPE_COPY);
	assert_false(slot_answer(&slot, f->bus, false));
	assert_int_equal(f->device[0].reads, 1);
}

static void other_states_are_left_alone(void **state)
{
	struct fixture *f = *state;

	for (uint8_t s = 0; s < 16; s++) {
		struct ioreq slot = access(BASE, 4, IOREQ_READ, 9);

		if (s == STATE_IOREQ_READY)
			continue;
		slot.state = s & 0xf;
		assert_false(slot_answer(&slot, f->bus, false));
		assert_int_equal(slot.state, s);
		assert_int_equal(slot.data, 9);
	}
}

/* After a crash in the middle of an answer. */
static void half_done_slots_are_answered_by_the_successor(void **state)
{
	struct fixture *f = *state;
	struct ioreq slot = access(BASE, 4, IOREQ_WRITE, 9);

	slot.state = STATE_IOREQ_INPROCESS;
	assert_true(slot_answer(&slot, f->bus, true));
	assert_int_equal(slot.state, STATE_IORESP_READY);
	assert_int_equal(f->device[0].value, 9);
}

/* After a crash between the answer and the word of it: the vCPU sleeps until it is told, which is done once. */
static void answered_slots_are_told_by_the_successor(void **state)
{
	struct fixture *f = *state;
	struct ioreq slot = access(BASE, 4, IOREQ_READ, 9);
	bool left = true;

	slot.state = STATE_IORESP_READY;
	assert_true(gd_ioreq_slot(&slot, f->bus, &left));
	assert_int_equal(slot.state, STATE_IORESP_READY);
	assert_int_equal(slot.data, 9);
	assert_int_equal(f->device[0].reads, 0);
	assert_false(gd_ioreq_slot(&slot, f->bus, &left));
}

/* Every combination of flags, type and size is answered, with the other fields as they were. */
static void everything_is_answered(void **state)
{
	struct fixture *f = *state;

	for (unsigned flags = 0; flags < 16; flags++)
		for (unsigned type = 0; type < 256; type++)
			for (unsigned size = 0; size < 10; size++) {
				struct ioreq slot = access(BASE, size, (int)(flags & 1), 1);

				slot.data_is_ptr = flags >> 1 & 1;
				slot.df = flags >> 2 & 1;
				slot.count = flags >> 3 ? 1 : 3;
				slot.type = (uint8_t)type;
				assert_true(slot_answer(&slot, f->bus, false));
				assert_int_equal(slot.state, STATE_IORESP_READY);
				assert_int_equal(slot.data_is_ptr, flags >> 1 & 1);
				assert_int_equal(slot.df, flags >> 2 & 1);
				assert_int_equal(slot.type, type);
			}
}

/* A device that notes calls which are still running after it was removed. */
struct guarded {
	bool inside, gone; /* atomic */
	unsigned late;
};

static uint64_t guarded_read(void *opaque, uint64_t offset, unsigned size)
{
	struct guarded *guarded = opaque;

	(void)offset;
	(void)size;
	__atomic_store_n(&guarded->inside, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 3; i++)
		sched_yield(); /* let the main thread remove it now, if it can */
	if (__atomic_load_n(&guarded->gone, __ATOMIC_RELAXED))
		guarded->late++;
	return 0;
}

struct reader {
	struct gd_bus *bus;
	bool stop; /* atomic */
};

static void *reader_thread(void *opaque)
{
	struct reader *reader = opaque;

	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED)) {
		struct ioreq request = access(0x4000, 4, IOREQ_READ, 0);

		answer(reader->bus, &request);
	}
	return NULL;
}

static void removal_waits_for_calls(void **state)
{
	struct fixture *f = *state;
	struct reader reader = {f->bus, false};
	struct guarded guarded = {false, false, 0};
	struct gd_bus_range range = {0x4000, SIZE, guarded_read, device_write, &guarded};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, reader_thread, &reader), 0);
	for (unsigned i = 0; i < 100; i++) {
		__atomic_store_n(&guarded.gone, false, __ATOMIC_RELAXED);
		__atomic_store_n(&guarded.inside, false, __ATOMIC_RELAXED);
		assert_int_equal(gd_bus_add(f->bus, &range), 0);
		while (!__atomic_load_n(&guarded.inside, __ATOMIC_RELAXED))
			sched_yield(); /* ends: the reader calls the device over and over */
		gd_bus_remove(f->bus, 0x4000);
		__atomic_store_n(&guarded.gone, true, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(guarded.late, 0);
}

/* A device that does not come back from a call before it may. */
struct slow {
	bool inside, go; /* atomic */
};

static uint64_t slow_read(void *opaque, uint64_t offset, unsigned size)
{
	struct slow *slow = opaque;

	(void)offset;
	(void)size;
	__atomic_store_n(&slow->inside, true, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&slow->go, __ATOMIC_SEQ_CST))
		sched_yield(); /* ends: the test lets it go */
	return 5;
}

static void *slow_thread(void *opaque)
{
	struct fixture *f = opaque;
	struct ioreq request = access(0x4000, 4, IOREQ_READ, 0);

	answer(f->bus, &request);
	assert_int_equal(request.data, 5);
	return NULL;
}

static void a_slow_device_holds_up_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct slow slow = {false, false};
	struct gd_bus_range range = {0x4000, SIZE, slow_read, device_write, &slow};
	struct ioreq other = access(BASE, 4, IOREQ_READ, 0);
	pthread_t thread;

	assert_int_equal(gd_bus_add(f->bus, &range), 0);
	assert_int_equal(pthread_create(&thread, NULL, slow_thread, f), 0);
	while (!__atomic_load_n(&slow.inside, __ATOMIC_SEQ_CST))
		sched_yield(); /* ends: the thread asks the device */
	answer(f->bus, &other);
	assert_int_equal(f->device[0].reads, 1);
	assert_int_equal(add(f, 0, 0x5000), 0);
	assert_int_equal(gd_bus_reserve(f->bus, 0x6000, SIZE), 0);
	gd_bus_remove(f->bus, 0x5000);
	gd_bus_remove(f->bus, 0x6000);
	__atomic_store_n(&slow.go, true, __ATOMIC_SEQ_CST);
	gd_bus_remove(f->bus, 0x4000);
	pthread_join(thread, NULL);
}

#define AWAY 0x7000u

static void only_accesses_to_the_device_that_is_away_wait(void **state)
{
	struct fixture *f = *state;
	struct ioreq away = access(AWAY + 4, 4, IOREQ_WRITE, 77), here = access(BASE, 4, IOREQ_READ, 0);

	assert_int_equal(gd_bus_reserve(f->bus, AWAY, SIZE), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(slot_answer(&away, f->bus, false));
		assert_int_equal(away.state, STATE_IOREQ_READY);
		here.state = STATE_IOREQ_READY;
		assert_true(slot_answer(&here, f->bus, false));
	}
	assert_int_equal(fill(f, 1, AWAY), 0); /* it is back */
	assert_true(slot_answer(&away, f->bus, false));
	assert_false(slot_answer(&away, f->bus, false));
	assert_int_equal(away.state, STATE_IORESP_READY);
	assert_int_equal(f->device[1].writes, 1);
	assert_int_equal(f->device[1].value, 77);
}

/* What no device could answer is refused at once, as ever. */
static void odd_accesses_do_not_wait(void **state)
{
	struct fixture *f = *state;
	struct ioreq odd = access(AWAY, 4, IOREQ_READ, 0);

	odd.count = 2;
	assert_int_equal(gd_bus_reserve(f->bus, AWAY, SIZE), 0);
	assert_true(slot_answer(&odd, f->bus, false));
	assert_int_equal(odd.data, 0xffffffff);
}

/* Left half done, for a device that comes back late: that it was left is remembered for as long. */
static void half_done_accesses_wait_as_well(void **state)
{
	struct fixture *f = *state;
	struct ioreq slot = access(AWAY, 4, IOREQ_WRITE, 9);
	bool left = true;

	slot.state = STATE_IOREQ_INPROCESS;
	assert_int_equal(gd_bus_reserve(f->bus, AWAY, SIZE), 0);
	assert_false(gd_ioreq_slot(&slot, f->bus, &left));
	assert_true(left);
	assert_int_equal(slot.state, STATE_IOREQ_INPROCESS);
	assert_int_equal(fill(f, 0, AWAY), 0);
	assert_true(gd_ioreq_slot(&slot, f->bus, &left));
	assert_false(left);
	assert_int_equal(f->device[0].value, 9);
	slot.state = STATE_IOREQ_INPROCESS;
	assert_false(gd_ioreq_slot(&slot, f->bus, &left));
	assert_int_equal(f->device[0].writes, 1);
}

static void a_device_that_does_not_come_is_nobody(void **state)
{
	struct fixture *f = *state;
	struct ioreq slot = access(AWAY, 4, IOREQ_READ, 0), second = access(AWAY + SIZE, 4, IOREQ_READ, 0);

	assert_int_equal(gd_bus_reserve(f->bus, AWAY, SIZE), 0);
	assert_int_equal(gd_bus_reserve(f->bus, AWAY + SIZE, SIZE), 0);
	assert_false(slot_answer(&slot, f->bus, false));
	gd_bus_remove(f->bus, AWAY);
	assert_true(slot_answer(&slot, f->bus, false));
	assert_int_equal(slot.data, 0xffffffff);
	assert_false(slot_answer(&second, f->bus, false));
	gd_bus_unreserve(f->bus);
	assert_true(slot_answer(&second, f->bus, false));
	assert_int_equal(second.data, 0xffffffff);
	second.state = STATE_IOREQ_READY;
	second.addr = BASE + SIZE;
	assert_true(slot_answer(&second, f->bus, false)); /* devices stay */
	assert_int_equal(f->device[1].reads, 1);
}

static void reservations_are_taken_by_their_device_alone(void **state)
{
	struct fixture *f = *state;
	struct gd_bus_range longer = {AWAY, 2 * SIZE, device_read, device_write, &f->device[0]};

	assert_int_equal(gd_bus_reserve(f->bus, AWAY, SIZE), 0);
	assert_int_equal(gd_bus_reserve(f->bus, AWAY, SIZE), -EADDRINUSE);
	assert_int_equal(gd_bus_reserve(f->bus, BASE, SIZE), -EADDRINUSE);
	assert_int_equal(gd_bus_fill(f->bus, &longer), -EADDRINUSE);
	assert_int_equal(fill(f, 0, AWAY - 0x100), -EADDRINUSE);
	assert_int_equal(add(f, 0, AWAY), -EADDRINUSE); /* it would be taken away with the reservation */
	assert_int_equal(fill(f, 0, AWAY), 0);
	assert_int_equal(fill(f, 1, AWAY), -EADDRINUSE);
	assert_int_equal(gd_bus_reserve(f->bus, 0, 0), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_and_writes_reach_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(addresses_without_a_device_read_as_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(invalidate_is_no_error, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges_do_not_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(removed_devices_are_not_called, setup, teardown),
		cmocka_unit_test_setup_teardown(slots_are_answered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(other_states_are_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(half_done_slots_are_answered_by_the_successor, setup, teardown),
		cmocka_unit_test_setup_teardown(answered_slots_are_told_by_the_successor, setup, teardown),
		cmocka_unit_test_setup_teardown(everything_is_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_waits_for_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_device_holds_up_nobody_else, setup, teardown),
		cmocka_unit_test_setup_teardown(only_accesses_to_the_device_that_is_away_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_accesses_do_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(half_done_accesses_wait_as_well, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_that_does_not_come_is_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(reservations_are_taken_by_their_device_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
