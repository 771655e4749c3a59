/* SPDX-License-Identifier: MIT */
/*
 * A process that handles messages is killed at every instruction: each request counts once, and what the driver has
 * seen stays true. It is one thread that is led step by step, which ThreadSanitizer would only make ten times as many.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/msg/bus.h"
#include "backend/virtio/ledger.h"
#include "backend/virtio/transport.h"
#include "tests/unit/backend/ledger_rig.h"

static uint64_t cookie;

/* A device that counts its requests: how many took effect is in the ledger, with the bus. */
struct counter {
	struct gio_msg_page *driver, *device; /* shared by all processes */
	struct gio_msg_page saved[2];
	struct gd_ledger *ledger;
	unsigned requests;
};

static void commit(struct gd_ledger *ledger, const struct gd_msgbus *bus, uint64_t count)
{
	struct gd_ledger_registers r = {.features = count, .transport_id = GD_TRANSPORT_MSG};

	memcpy(r.transport, &bus->state, sizeof(bus->state));
	gd_ledger_save(ledger, &r);
}

/* Handle what is there, as the transport does: commit, then show. */
static uint64_t handle_all(struct gd_ledger *ledger, struct gd_msgbus *bus, uint64_t count)
{
	struct gio_msg msg;

	while (gd_msgbus_take(bus, &msg) == 1) {
		msg.header.type = GIO_MSG_TYPE_RESPONSE;
		msg.status.status = (uint32_t)++count;
		if (gd_msgbus_put(bus, &msg))
			abort();
		commit(ledger, bus, count);
		gd_msgbus_show(bus);
	}
	return count;
}

static void counter_work(void *opaque)
{
	const struct gd_msgbus_state begin = {0};
	struct counter *c = opaque;
	struct gd_msgbus bus;

	gd_msgbus_resume(&bus, c->driver, c->device, &begin);
	handle_all(c->ledger, &bus, 0);
}

/* The driver may have seen any part of the device page. Whatever it has seen must stay true with the successor. */
static void counter_check(void *opaque)
{
	struct counter *c = opaque;
	uint32_t seen = __atomic_load_n(&c->device->prod, __ATOMIC_ACQUIRE);
	struct gd_msgbus_state state;
	struct gd_ledger_registers r;
	struct gd_ledger *ledger;
	struct gd_msgbus bus;

	c->saved[0] = *c->driver;
	c->saved[1] = *c->device;
	assert_int_equal(gd_ledger_adopt(&ledger, ledger_rig_path, cookie), 0);
	gd_ledger_load(ledger, &r);
	memcpy(&state, r.transport, sizeof(state));
	assert_true(state.prod - seen <= 1); /* nothing is shown that is not committed */
	for (uint32_t i = 0; i < seen; i++) {
		assert_int_equal(c->device->slots[i].msg.header.token, i + 1);
		assert_int_equal(c->device->slots[i].msg.status.status, i + 1);
	}
	gd_msgbus_resume(&bus, &c->saved[0], &c->saved[1], &state);
	gd_msgbus_show_again(&bus);
	assert_int_equal(handle_all(ledger, &bus, r.features), c->requests);
	assert_int_equal(c->saved[1].prod, c->requests);
	assert_int_equal(c->saved[1].cons, c->requests);
	for (uint32_t i = 0; i < c->requests; i++) { /* each one has one response, with the effect of one */
		assert_int_equal(c->saved[1].slots[i].msg.header.token, i + 1);
		assert_int_equal(c->saved[1].slots[i].msg.status.status, i + 1);
	}
	gd_ledger_save(ledger, &r); /* as the process left it: its two copies are then the same */
	gd_ledger_leave(ledger);
}

/* Saved copies are two, and the child's next save goes to the other one: so the file is put back as it was. */
static void counter_check_file(void *opaque)
{
	static uint8_t image[65536];
	int fd = open(ledger_rig_path, O_RDWR | O_CLOEXEC);
	ssize_t size = pread(fd, image, sizeof(image), 0);

	assert_true(size > 0);
	counter_check(opaque);
	assert_int_equal(pwrite(fd, image, (size_t)size, 0), size);
	close(fd);
}

static void test_killed_at_every_instruction(void **state)
{
	struct counter c = {.requests = 3};
	struct gio_msg_page *pages =
		mmap(NULL, 2 * sizeof(*pages), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(pages != MAP_FAILED);
	c.driver = &pages[0];
	c.device = &pages[1];
	for (unsigned i = 0; i < c.requests; i++)
		c.driver->slots[i].msg = (struct gio_msg){
			.header = {.id = GIO_MSG_GET_DEVICE_STATUS, .token = (uint16_t)(i + 1), .bytes = 8}};
	assert_int_equal(gd_ledger_make(&c.ledger, ledger_rig_path), 0);
	cookie = gd_ledger_cookie(c.ledger);
	c.driver->prod = c.requests;
	ledger_rig_steps(counter_work, counter_check_file, &c);
	gd_ledger_close(c.ledger);
	munmap(pages, 2 * sizeof(*pages));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_killed_at_every_instruction, ledger_rig_setup,
						ledger_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
