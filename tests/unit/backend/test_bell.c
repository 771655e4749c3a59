/* SPDX-License-Identifier: MIT */
/* A queue's thread waits for its bell by its own io_uring: what is read from it and written to it, and how often. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/backend/fake.h"

#define NUMBER 0x1234u /* of the event channel */
#define ROUNDS 50u

/* A bell, and the end of its descriptor that the driver has. A driver rings it once, and not again before it is armed.
 */
static struct {
	struct gd_bell bell;
	int driver;
	bool by_number;			     /* the thread arms it by the number */
	bool armed;			     /* or by arm(); atomic */
	unsigned takes, takens, arms, wrong; /* atomic */
} rig;

static void count(unsigned *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_SEQ_CST);
}

static void take(struct gd_bell *bell)
{
	uint64_t event;

	if (read(bell->fd, &event, sizeof(event)) <= 0)
		count(&rig.wrong);
	count(&rig.takes);
}

static void taken(struct gd_bell *bell, uint32_t number)
{
	(void)bell;
	if (number != NUMBER)
		count(&rig.wrong);
	count(&rig.takens);
}

static void arm(struct gd_bell *bell)
{
	(void)bell;
	count(&rig.arms);
	__atomic_store_n(&rig.armed, true, __ATOMIC_SEQ_CST);
}

static void bell_use(struct gd_vdev_config *config)
{
	static struct gd_bell *bells[1] = {&rig.bell};

	config->bells = bells;
}

/* Ring, as soon as that is heard: when it was armed by arm(), or by the channel's number in the descriptor. */
static void kick(unsigned queue)
{
	const uint64_t event = 1;
	uint32_t number = NUMBER;

	(void)queue;
	if (rig.by_number) {
		struct pollfd pollfd = {.fd = rig.driver, .events = POLLIN};

		assert_int_equal(poll(&pollfd, 1, FAKE_WAIT_MS), 1);
		assert_int_equal(read(rig.driver, &number, sizeof(number)), sizeof(number));
		assert_int_equal(number, NUMBER);
	} else {
		fake_until(__atomic_exchange_n(&rig.armed, false, __ATOMIC_SEQ_CST));
	}
	if (rig.driver == rig.bell.fd)
		assert_int_equal(write(rig.driver, &event, sizeof(event)), sizeof(event));
	else
		assert_int_equal(write(rig.driver, &number, sizeof(number)), sizeof(number));
}

/* So many requests, one after the other, whose driver kicks by the bell alone. */
static void requests_work(int fd, int driver, bool written, bool by_number)
{
	const struct fake_setup setup = {.queues = 1, .opening = bell_use};
	const uint32_t number = NUMBER;
	struct fake_req req;

	memset(&rig, 0, sizeof(rig));
	rig.bell = (struct gd_bell){.fd = fd, .written = written, .take = take, .taken = taken, .arm = arm};
	rig.driver = driver;
	rig.by_number = by_number;
	rig.armed = true; /* a bell begins so: */
	if (by_number)
		assert_int_equal(write(fd, &number, sizeof(number)), sizeof(number));
	fake_start(&setup);
	fake_guest.kick = kick;
	for (unsigned i = 0; i < ROUNDS; i++) {
		req = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
		fake_kick(0);
		fake_used(&fake_guest.vq[0], 1);
		assert_int_equal(fake_status(&req), GIO_VIRTIO_BLK_S_OK);
	}
	fake_close();
	assert_int_equal(rig.wrong, 0);
}

static void pair_open(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
}

static void pair_close(const int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

/* As the kernel's device: neither the event nor its end costs a call of anybody's. */
static void test_read_and_written(void **state)
{
	int pair[2];

	(void)state;
	pair_open(pair);
	requests_work(pair[0], pair[1], true, true);
	assert_int_equal(rig.takens, ROUNDS);
	assert_int_equal(rig.takes, 0);
	assert_int_equal(rig.arms, 0);
	pair_close(pair);
}

/* As the model's: the event is read by the ring, and its end is a function's. */
static void test_read_and_armed(void **state)
{
	int pair[2];

	(void)state;
	pair_open(pair);
	requests_work(pair[0], pair[1], false, false);
	assert_int_equal(rig.takens, ROUNDS);
	assert_int_equal(rig.takes, 0);
	assert_in_range(rig.arms, ROUNDS - 1, ROUNDS);
	pair_close(pair);
}

/* What cannot be read so (an eventfd has eight bytes) is polled, and nothing is lost by that. */
static void test_polled(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	assert_true(fd >= 0);
	requests_work(fd, fd, false, false);
	assert_int_equal(rig.takens, 0);
	assert_int_equal(rig.takes, ROUNDS);
	assert_in_range(rig.arms, ROUNDS - 1, ROUNDS);
	close(fd);
}

/* The number cannot be written after all: arm() is called, and the bell is polled once the read has ended. */
static void test_write_refused(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0); /* its first end can only be read */
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	requests_work(ends[0], ends[1], true, false);
	assert_int_equal(rig.takens, 2);
	assert_int_equal(rig.takes, ROUNDS - 2);
	assert_in_range(rig.arms, ROUNDS - 1, ROUNDS);
	pair_close(ends);
}

int main(void)
{
#define BELL_TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		BELL_TEST(test_read_and_written),
		BELL_TEST(test_read_and_armed),
		BELL_TEST(test_polled),
		BELL_TEST(test_write_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
