/* SPDX-License-Identifier: MIT */
/* Messages from one process to the next: what its driver has seen, the successor knows; and each request counts once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include "backend/virtio/ledger.h"
#include "tests/unit/backend/fake_msg.h"
#include "tests/unit/backend/ledger_rig.h"

static uint64_t cookie;

static int setup(void **state)
{
	return ledger_rig_setup(state) ? -1 : fake_msg_setup(state);
}

static int teardown(void **state)
{
	return fake_msg_teardown(state) | ledger_rig_teardown(state);
}

static void first(void)
{
	struct fake_setup what = {.queues = 2};

	assert_int_equal(gd_ledger_make(&what.ledger, ledger_rig_path), 0);
	cookie = gd_ledger_cookie(what.ledger);
	fake_disk.info.fenced = true;
	fake_msg_open(&what, 2);
	assert_int_equal(fake_msg_connect(), 0);
}

/* The process is killed here: its ledger and the guest's memory are as they were. */
static void killed(void)
{
	const size_t bytes = 256 * FAKE_PAGE;
	void *ram = malloc(bytes), *ledger;
	struct stat st;
	int fd = open(ledger_rig_path, O_RDONLY | O_CLOEXEC);

	assert_non_null(ram);
	assert_true(fake_guest.next_page <= 256);
	assert_int_equal(fstat(fd, &st), 0);
	ledger = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, ledger, (size_t)st.st_size), st.st_size);
	close(fd);
	assert_int_equal(pread(fake_xen.ram_fd, ram, bytes, 0), bytes);
	fake_disk_release();
	fake_msg_close();
	assert_int_equal(pwrite(fake_xen.ram_fd, ram, bytes, 0), bytes);
	fd = open(ledger_rig_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, ledger, (size_t)st.st_size), st.st_size);
	close(fd);
	free(ledger);
	free(ram);
}

/* The device of the next process, with its own idea of the guest's answer. */
static int successor(void)
{
	struct fake_setup what = {.queues = 2, .opening = NULL};
	struct gd_msg_answer answer = fake_msg.answer;
	struct fake_msg before = fake_msg;

	assert_int_equal(gd_ledger_adopt(&what.ledger, ledger_rig_path, cookie), 0);
	assert_int_equal(gd_ledger_transport(what.ledger), GD_TRANSPORT_MSG);
	fake_msg_open(&what, 2);
	before.msg = fake_msg.msg;
	fake_msg = before; /* the driver is as it was */
	fake_msg.answer = answer;
	return fake_msg_resume();
}

/* The driver notices nothing: neither its requests nor its messages. */
static void test_goes_on(void **state)
{
	unsigned before;

	(void)state;
	first();
	fake_msg_start(2);
	fake_still_works();
	killed();
	before = fake_port_got(fake_msg.answer.ports[1]);
	assert_int_equal(successor(), 0);
	assert_int_equal(fake_port_got(fake_msg.answer.ports[1]), before + 1); /* each port is sent to */
	assert_int_equal(fake_msg_wait().header.id, GIO_MSG_EVENT_CONFIG);
	assert_int_equal(fake_msg_status(0xf), 0xf);
	assert_int_equal(fake_msg_queue(1).flags, GIO_MSG_QUEUE_ENABLED);
	fake_still_works();
	killed();
	assert_int_equal(successor(), 0);
	assert_int_equal(fake_msg_wait().header.id, GIO_MSG_EVENT_CONFIG);
	fake_still_works();
}

/* A request that was sent to a process which did not see it any more, and one whose event was lost. */
static void test_requests_in_between(void **state)
{
	struct gio_msg msg = {.header = {.id = GIO_MSG_GET_DEVICE_STATUS, .token = 77, .bytes = 8}};
	struct fake_req req;

	(void)state;
	first();
	fake_msg_start(2);
	killed();
	fake_msg_send(&msg); /* nobody has bound the port */
	req = fake_request(1, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	assert_int_equal(successor(), 0);
	fake_used(&fake_guest.vq[1], 1);
	assert_int_equal(fake_status(&req), GIO_VIRTIO_BLK_S_OK);
	do
		msg = fake_msg_wait();
	while (msg.header.id == GIO_MSG_EVENT_CONFIG);
	assert_int_equal(msg.header.token, 77);
	assert_int_equal(msg.status.status, 0xf);
}

/* An EVENT_CONFIG that the driver had not taken is there again, and no other takes its slot. */
static void test_unread_event(void **state)
{
	struct gio_msg event;

	(void)state;
	first();
	fake_msg_start(2);
	fake_disk.next_size = 2 << 20;
	gd_vdev_refresh(fake_guest.vdev);
	fake_until(__atomic_load_n(&fake_msg.device->prod, __ATOMIC_ACQUIRE) == fake_msg.cons + 1);
	killed();
	memset(fake_msg.device->slots, 0, sizeof(fake_msg.device->slots));
	assert_int_equal(successor(), 0);
	event = fake_msg_wait();
	assert_true(gio_msg_event_valid(&event));
	assert_int_equal(event.event.length, 8);
	event = fake_msg_wait(); /* the successor's own */
	assert_true(gio_msg_event_valid(&event));
	assert_int_equal(fake_msg_status(0xf), 0xf);
}

/* Any other answer is not this connection; then the device is as new, and so is its ledger. */
static void test_other_answers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		struct gd_msg_answer *answer = &fake_msg.answer;

		if (!i)
			first();
		fake_msg_start(2);
		killed();
		switch (i) {
		case 0:
			answer->connection++;
			break;
		case 1:
			answer->only = !answer->only;
			break;
		case 2:
			answer->port = fake_port_new();
			break;
		case 3:
			answer->ports[1] = fake_port_new();
			break;
		case 4:
			answer->channels = 1;
			break;
		case 5:
			answer->runs = 1;
			answer->run[0] = (struct gd_pool_run){FAKE_GREF_BASE + 5000, 1, false};
			break;
		default:
			fake_xen.grants[fake_msg.device_at] = FAKE_READONLY; /* it cannot be mapped any more */
		}
		assert_int_equal(successor(), i < 6 ? -EINVAL : -EFAULT);
		fake_xen.grants[fake_msg.device_at] = FAKE_WRITABLE;
		if (i < 6)
			fake_msg_end();
		gd_vdev_abandon(fake_guest.vdev);
		fake_msg.answer.channels = 2;
		fake_msg.answer.ports[1] = fake_port_new();
		fake_msg.answer.runs = 0;
		fake_msg.answer.only = false;
		fake_msg_answer_again();
		memset(fake_guest.vq, 0, sizeof(fake_guest.vq));
		assert_int_equal(fake_msg_connect(), 0);
	}
	fake_msg_start(2);
	fake_still_works();
}

int main(void)
{
#define MSG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		MSG_TEST(test_goes_on),
		MSG_TEST(test_requests_in_between),
		MSG_TEST(test_unread_event),
		MSG_TEST(test_other_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
