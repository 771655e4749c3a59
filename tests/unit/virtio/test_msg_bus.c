/* SPDX-License-Identifier: MIT */
/* The driver's side of the two pages: what it writes where, what it takes, and which counters end the bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "guest/virtio/msg_bus.h"

#define AROUND 0xfffffffau /* counters that wrap within a test */

struct pages {
	struct gio_msg_page driver, device;
	struct gio_msg_bus bus;
};

/* Both sides have counted up to `count`. */
static void pages_init(struct pages *p, uint32_t count)
{
	memset(p, 0, sizeof(*p));
	gio_msg_bus_init(&p->bus, &p->driver, &p->device);
	p->bus.sent = p->bus.taken = count;
	p->driver.prod = p->driver.cons = p->device.prod = p->device.cons = count;
}

/* A message that no other is like: every byte of it follows from `number`. */
static struct gio_msg message(unsigned number)
{
	struct gio_msg msg;

	memset(&msg, (int)(number % 255 + 1), sizeof(msg));
	msg.header = (struct gio_msg_header){.id = (uint8_t)number, .token = (uint16_t)number, .bytes = GIO_MSG_MAX};
	return msg;
}

static void device_writes(struct pages *p, const struct gio_msg *msg)
{
	p->device.slots[p->device.prod % GIO_MSG_SLOTS].msg = *msg;
	p->device.prod++;
}

static void sends_into_the_next_slot(void **state)
{
	struct pages p;

	(void)state;
	pages_init(&p, AROUND);
	for (unsigned i = 0; i < 20; i++) {
		struct gio_msg msg = message(i);
		const struct gio_msg_slot *slot = &p.driver.slots[(AROUND + i) % 8];

		assert_int_equal(gio_msg_bus_send(&p.bus, &msg), 0);
		assert_int_equal(p.driver.prod, AROUND + i + 1);
		assert_memory_equal(&slot->msg, &msg, sizeof(msg));
		for (size_t at = 0; at < sizeof(slot->reserved); at++)
			assert_int_equal(slot->reserved[at], 0);
		p.device.cons++;
	}
	assert_int_equal(p.driver.cons, AROUND);
}

/* What a shorter message leaves of a longer one before it would be the device's to misread. */
static void leaves_nothing_behind_a_message(void **state)
{
	struct gio_msg shorter = {.header = {.bytes = sizeof(shorter.header)}}, longer = message(1);
	struct pages p;

	(void)state;
	pages_init(&p, 0);
	assert_int_equal(gio_msg_bus_send(&p.bus, &longer), 0);
	p.device.cons = p.bus.sent += 7;
	assert_int_equal(gio_msg_bus_send(&p.bus, &shorter), 0);
	assert_memory_equal(&p.driver.slots[0].msg, &shorter, sizeof(shorter));
}

static void takes_each_message_once(void **state)
{
	struct gio_msg got;
	struct pages p;

	(void)state;
	pages_init(&p, AROUND);
	assert_int_equal(gio_msg_bus_take(&p.bus, &got), -GIO_EAGAIN);
	for (unsigned i = 0; i < 20; i++) {
		struct gio_msg msg = message(i);

		device_writes(&p, &msg);
		assert_int_equal(gio_msg_bus_take(&p.bus, &got), 0);
		assert_memory_equal(&got, &msg, sizeof(msg));
		assert_int_equal(p.driver.cons, AROUND + i + 1);
		assert_int_equal(gio_msg_bus_take(&p.bus, &got), -GIO_EAGAIN);
	}
	assert_int_equal(p.driver.prod, AROUND);
}

static void takes_a_full_page(void **state)
{
	struct gio_msg got;
	struct pages p;

	(void)state;
	pages_init(&p, AROUND);
	for (unsigned i = 0; i < 8; i++) {
		struct gio_msg msg = message(i);

		device_writes(&p, &msg);
	}
	for (unsigned i = 0; i < 8; i++) {
		struct gio_msg msg = message(i);

		assert_int_equal(gio_msg_bus_take(&p.bus, &got), 0);
		assert_memory_equal(&got, &msg, sizeof(msg));
	}
	assert_int_equal(gio_msg_bus_take(&p.bus, &got), -GIO_EAGAIN);
}

/* A counter that has run ahead, stands behind, or jumped: nothing is taken or written, whatever lies in the slots. */
static void refuses_impossible_counters(void **state)
{
	static const uint32_t unread[] = {9, 10, 0x80000000, 0xffffffff};
	static const uint32_t unseen[] = {8, 9, 0x80000000, 0xffffffff};
	struct gio_msg msg = message(1);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct pages p, before;

		pages_init(&p, AROUND);
		p.device.prod = AROUND + unread[i];
		before = p;
		assert_int_equal(gio_msg_bus_take(&p.bus, &msg), -GIO_EPROTO);
		assert_memory_equal(&p.driver, &before.driver, sizeof(p.driver));

		pages_init(&p, AROUND);
		p.device.cons = AROUND - unseen[i];
		before = p;
		assert_int_equal(gio_msg_bus_send(&p.bus, &msg), -GIO_EPROTO);
		assert_memory_equal(&p.driver, &before.driver, sizeof(p.driver));
	}
}

/* The device cannot bend our own counters: they are never read from the page. */
static void does_not_read_its_own_page(void **state)
{
	struct gio_msg msg = message(1), got;
	struct pages p;

	(void)state;
	pages_init(&p, 0);
	memset(&p.driver, 0xff, sizeof(p.driver));
	assert_int_equal(gio_msg_bus_send(&p.bus, &msg), 0);
	assert_int_equal(p.driver.prod, 1);
	device_writes(&p, &msg);
	assert_int_equal(gio_msg_bus_take(&p.bus, &got), 0);
	assert_int_equal(p.driver.cons, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_into_the_next_slot),    cmocka_unit_test(leaves_nothing_behind_a_message),
		cmocka_unit_test(takes_each_message_once),     cmocka_unit_test(takes_a_full_page),
		cmocka_unit_test(refuses_impossible_counters), cmocka_unit_test(does_not_read_its_own_page),
	};
	return cmocka_run_group_tests_name("msg_bus", tests, NULL, NULL);
}
