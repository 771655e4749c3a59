/* SPDX-License-Identifier: MIT */
/* The NBD engine against a server that answers late, never, in another order, or comes back as another one. */
#include "tests/unit/disk/rig_peer.h"

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <string.h>

#include "backend/base/clock.h"
#include "backend/disk/nbd.h"

#define SIZE  (1u << 20)
#define DEPTH 32u

static struct peer peer;
static struct gd_disk_io ios[DEPTH];

static int setup(void **state)
{
	int result = rig_setup(state);

	if (!result)
		peer_start(&peer, *state, SIZE, PEER_FLUSH | PEER_FUA);
	return result;
}

static int teardown(void **state)
{
	rig_close(*state);
	peer_stop(&peer);
	return rig_teardown(state);
}

static void open_peer(struct disk_rig *rig)
{
	if (rig_open(rig, rig->uri, 0))
		fail_msg("%s", rig->error);
}

static void io_begin(struct disk_rig *rig, unsigned i, enum gd_disk_op op)
{
	ios[i] = (struct gd_disk_io){.op = op, .offset = i * 512u, .length = 512, .buf = rig->area + i * 512u};
	if (op == GD_DISK_FLUSH)
		ios[i].offset = ios[i].length = 0;
	rig_submit(rig, &ios[i]);
}

static void await_log(struct disk_rig *rig, const char *text)
{
	double end = rig_now() + RIG_LIMIT;

	while (!rig_logged(rig, text)) {
		rig_poll(rig, 50);
		if (rig_now() > end)
			fail_msg("not logged: %s", text);
	}
}

/* Answers that are there, in whatever order, are all taken when the thread wakes up once. */
static void test_one_wake(void **state)
{
	struct peer_request requests[DEPTH];
	struct disk_rig *rig = *state;
	unsigned i, wakes = 0;

	open_peer(rig);
	for (i = 0; i < DEPTH; i++)
		io_begin(rig, i, GD_DISK_READ);
	assert_int_equal(gd_disk_queue_events(rig->queue), 1);
	for (i = 0; i < DEPTH; i++)
		requests[i] = peer_next(&peer, 0);
	for (i = DEPTH; i-- > 0;)
		peer_reply(&peer, 0, &requests[i], 0, (int)i + 1);
	for (; gd_disk_queue_busy(rig->queue); wakes++)
		rig_poll(rig, RIG_LIMIT * 1000);
	assert_in_range(wakes, 1, 2);
	for (i = 0; i < DEPTH; i++) {
		assert_int_equal(ios[i].result, 0);
		assert_int_equal(rig->area[i * 512u], (char)(i + 1));
		assert_int_equal(rig->area[i * 512u + 511], (char)(i + 1));
	}
	assert_int_equal(gd_disk_queue_events(rig->queue), 0);
}

/* Said once, however many are silent; said again when all of them have been answered. */
static void test_silent_then_not(void **state)
{
	struct peer_request requests[3];
	struct disk_rig *rig = *state;
	unsigned i;

	rig->silent_ms = 200;
	open_peer(rig);
	for (i = 0; i < 3; i++)
		io_begin(rig, i, GD_DISK_WRITE);
	for (i = 0; i < 3; i++)
		requests[i] = peer_next(&peer, 0);
	await_log(rig, "s, with 3 requests in flight: they wait");
	peer_reply(&peer, 0, &requests[1], 0, 0);
	while (gd_disk_queue_busy(rig->queue) > 2)
		rig_poll(rig, RIG_LIMIT * 1000);
	assert_int_equal(rig_logged(rig, "answers again"), 0);
	for (i = 0; i < 3; i += 2)
		peer_reply(&peer, 0, &requests[i], 0, 0);
	rig_wait_idle(rig);
	assert_int_equal(rig_logged(rig, "the server answers again, after "), 1);
	for (i = 0; i < 3; i++)
		assert_int_equal(ios[i].result, 0);
	io_begin(rig, 0, GD_DISK_READ); /* and is said again of the next time */
	requests[0] = peer_next(&peer, 0);
	await_log(rig, "with 1 requests in flight: they wait");
	peer_reply(&peer, 0, &requests[0], 0, 7);
	rig_wait_idle(rig);
	assert_int_equal(rig_log_lines(rig), 4);
}

/* One request without an answer among many that have one is silence, too: its connection is given up. */
static void test_one_without_answer(void **state)
{
	struct peer_request first, other;
	struct disk_rig *rig = *state;

	rig->timeout_ms = 500;
	open_peer(rig);
	io_begin(rig, 0, GD_DISK_WRITE);
	first = peer_next(&peer, 0);
	assert_int_equal(first.type, PEER_WRITE);
	while (!rig_logged(rig, "connection lost")) {
		io_begin(rig, 1, GD_DISK_READ);
		other = peer_next(&peer, 0);
		peer_reply(&peer, 0, &other, 0, 1);
		while (gd_disk_queue_busy(rig->queue) > 1)
			rig_poll(rig, RIG_LIMIT * 1000);
		rig_poll(rig, 50);
	}
	rig_wait_idle(rig);
	assert_int_equal(ios[0].result, -EIO);
	assert_int_equal(rig_logged(rig, " requests failed, 0 are done again"), 1);
	await_log(rig, "connected again");
	io_begin(rig, 0, GD_DISK_WRITE); /* the disk goes on */
	first = peer_next(&peer, 1);
	peer_reply(&peer, 1, &first, 0, 0);
	rig_wait_idle(rig);
	assert_int_equal(ios[0].result, 0);
}

/* The connection ends in the middle of an answer: what changes the disk fails, what does not is done again. */
static void test_torn_answer(void **state)
{
	static const enum gd_disk_op ops[] = {GD_DISK_READ, GD_DISK_WRITE, GD_DISK_FLUSH, GD_DISK_READ};
	struct peer_request requests[4], torn;
	struct disk_rig *rig = *state;
	unsigned i;

	open_peer(rig);
	for (i = 0; i < 4; i++)
		io_begin(rig, i, ops[i]);
	for (i = 0; i < 4; i++)
		requests[i] = peer_next(&peer, 0);
	torn = requests[0];
	torn.length = 100; /* of 512 */
	peer_reply(&peer, 0, &torn, 0, 5);
	peer_hang_up(&peer, 0);
	peer_await(&peer, rig, 2, 2);
	await_log(rig, "connected again");
	assert_int_equal(rig_logged(rig, "1 requests failed, 3 are done again; connecting again"), 1);
	assert_int_equal(rig_done_count, 1);
	assert_int_equal(ios[1].result, -EIO);
	for (i = 0; i < 3; i++) {
		requests[0] = peer_next(&peer, 1);
		assert_int_not_equal(requests[0].type, PEER_WRITE);
		peer_reply(&peer, 1, &requests[0], 0, 9);
	}
	rig_wait_idle(rig);
	for (i = 0; i < 4; i++)
		assert_int_equal(ios[i].result, i == 1 ? -EIO : 0);
	assert_int_equal(rig->area[0] & rig->area[511], 9);
}

/* A server that hangs up on each read does not have it for ever. */
static void test_hangs_up_each_time(void **state)
{
	struct disk_rig *rig = *state;
	unsigned i;

	open_peer(rig);
	io_begin(rig, 0, GD_DISK_READ);
	for (i = 0; i < 4; i++) {
		peer_await(&peer, rig, i + 1, i + 1);
		assert_int_equal(gd_disk_queue_busy(rig->queue), 1);
		while (rig_logged(rig, "connected again") < i)
			rig_poll(rig, 20);
		io_uring_submit(&rig->ring);
		peer_next(&peer, i);
		peer_hang_up(&peer, i);
	}
	rig_wait_idle(rig);
	assert_int_equal(ios[0].result, -EIO);
	assert_int_equal(rig_done_count, 1);
	assert_int_equal(rig_logged(rig, "1 requests failed, 0 are done again"), 1);
}

/* A server that is gone again before the first request reaches it is no answer to that: it waits for the next. */
static void test_gone_at_once(void **state)
{
	struct peer_request request;
	struct disk_rig *rig = *state;

	mallopt(M_PERTURB, 0xff); /* what is read from freed memory is not what stood there */
	open_peer(rig);
	io_begin(rig, 0, GD_DISK_READ);
	peer_next(&peer, 0);
	peer_deaf(&peer, true);
	peer_hang_up(&peer, 0);
	peer_await(&peer, rig, 2, 2);
	peer_deaf(&peer, false);
	while (rig_logged(rig, "connection lost") < 2)
		rig_poll(rig, 20);
	peer_await(&peer, rig, 3, 3);
	while (rig_logged(rig, "connected again") < 2)
		rig_poll(rig, 20);
	assert_int_equal(rig_done_count, 0);
	io_uring_submit(&rig->ring);
	request = peer_next(&peer, 2);
	peer_reply(&peer, 2, &request, 0, 3);
	rig_wait_idle(rig);
	assert_int_equal(ios[0].result, 0);
	assert_int_equal(rig->area[0] & rig->area[511], 3);
	mallopt(M_PERTURB, 0);
}

/* Lose the connection, and be told this by the next one. */
static void come_back(struct disk_rig *rig, unsigned connection, uint64_t size, uint16_t flags)
{
	peer_export(&peer, size, flags);
	peer_hang_up(&peer, connection);
	peer_await(&peer, rig, connection + 2, connection + 2);
}

/* Back with fewer bytes, or for reading only: a line, errors for what cannot be done, and the rest goes on. */
static void test_back_smaller_and_readonly(void **state)
{
	struct peer_request request;
	struct disk_rig *rig = *state;

	open_peer(rig);
	come_back(rig, 0, SIZE / 2, PEER_FLUSH | PEER_READ_ONLY);
	await_log(rig, "the export has 524288 bytes now, not 1048576: requests beyond its end fail");
	assert_int_equal(rig_logged(rig, "the export is read-only now: writes fail"), 1);
	assert_true(gd_disk_refresh(rig->disk));
	gd_disk_info(rig->disk, &rig->info);
	assert_int_equal(rig->info.size, SIZE / 2);
	assert_true(rig_io(rig, GD_DISK_WRITE, 0, 512, rig->area) < 0);
	assert_true(rig_io(rig, GD_DISK_READ, SIZE / 2, 512, rig->area) < 0);
	io_begin(rig, 0, GD_DISK_READ);
	request = peer_next(&peer, 1);
	peer_reply(&peer, 1, &request, 0, 3);
	rig_wait_idle(rig);
	assert_int_equal(ios[0].result, 0);
}

/* Back without what the guest was promised: not served, and the line says why; served when it is right again. */
static void test_back_without_flush(void **state)
{
	struct disk_rig *rig = *state;

	rig->reconnect_ms = 200;
	open_peer(rig);
	come_back(rig, 0, SIZE, 0);
	await_log(rig, "no server for 0 s (the export can no longer be flushed): requests fail until it is back");
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 512, rig->area), -EIO);
	peer_export(&peer, SIZE, PEER_FLUSH);
	await_log(rig, "connected again");
}

/* A second queue of the disk; the rig's is the first. */
static int second_open(struct disk_rig *rig, struct disk_rig *second)
{
	memset(second, 0, sizeof(*second));
	assert_int_equal(io_uring_queue_init(8, &second->ring, 0), 0);
	return gd_disk_queue_open(&second->queue, rig->disk, &second->ring, RIG_TAG, 8);
}

static void test_back_without_multi_conn(void **state)
{
	struct disk_rig *rig = *state, other;

	rig->reconnect_ms = 200;
	peer_export(&peer, SIZE, PEER_FLUSH | PEER_MULTI_CONN);
	open_peer(rig);
	assert_true(rig->info.multi_queue);
	assert_int_equal(second_open(rig, &other), 0);
	come_back(rig, 0, SIZE, PEER_FLUSH); /* the other queue's is the next connection: then this one's again */
	peer_await(&peer, rig, 3, 3);
	await_log(rig, "no server for 0 s (the export no longer allows more than one connection (multi-conn)): ");
	gd_disk_queue_close(other.queue);
	io_uring_queue_exit(&other.ring);
	await_log(rig, "connected again"); /* alone it is right */
}

/* A server that tells the second connection less than the first one: that queue cannot be had. */
static void test_second_connection_is_less(void **state)
{
	static const struct {
		uint16_t flags;
		const char *line;
	} lies[] = {
		{PEER_MULTI_CONN, ": the export can no longer be flushed"},
		{PEER_FLUSH, ": the export no longer allows more than one connection (multi-conn)"},
	};
	struct disk_rig *rig = *state, second;

	peer_export(&peer, SIZE, PEER_FLUSH | PEER_MULTI_CONN);
	open_peer(rig);
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		peer_export(&peer, SIZE, lies[i].flags);
		assert_int_equal(second_open(rig, &second), -ENOTCONN);
		assert_int_equal(rig_logged(rig, lies[i].line), 1);
		io_uring_queue_exit(&second.ring);
	}
	peer_export(&peer, SIZE / 2, PEER_FLUSH | PEER_MULTI_CONN);
	assert_int_equal(second_open(rig, &second), 0);
	assert_int_equal(rig_logged(rig, "the export has 524288 bytes now, not 1048576: "), 1);
	gd_disk_queue_close(second.queue);
	io_uring_queue_exit(&second.ring);
}

/* Until when the connections of opening have to be there: before xl and the command line give up, after 10 s. */
static void test_connecting_has_a_limit(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_nbd_disk *disk;
	struct gd_nbd_link link;

	_Static_assert(GD_NBD_FIRST_MS + GD_NBD_LATER_MS <= GD_NBD_CONNECT_MS && GD_NBD_CONNECT_MS <= 8000,
		       "connecting takes 8 s at the most");
	assert_int_equal(rig_disk_open(rig, rig->uri, 0), 0);
	disk = (struct gd_nbd_disk *)rig->disk;
	assert_true(disk->open_until <= gd_clock_ms() + GD_NBD_CONNECT_MS);
	assert_true(gd_nbd_queue_ms(disk) <= GD_NBD_CONNECT_MS);
	disk->open_until = gd_clock_ms() + 200;
	peer_silent(&peer, true);
	link = gd_nbd_spare_take(disk);
	gd_nbd_link_end(&link, true);
	assert_int_equal(io_uring_queue_init(8, &rig->ring, 0), 0);
	assert_int_equal(gd_disk_queue_open(&rig->queue, rig->disk, &rig->ring, RIG_TAG, 8), -ENOTCONN);
	assert_int_equal(rig_logged(rig, "no answer in time"), 1);
	rig->queue = NULL;
	io_uring_queue_exit(&rig->ring);
	disk->open_until = 1;
	assert_int_equal(gd_nbd_queue_ms(disk), GD_NBD_LATER_MS);
}

/* Names are looked up here: "moves.test" is where `moved_to` says. */
static const char *moved_to;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
	if (strcmp(host, "moves.test"))
		return __real_getaddrinfo(host, port, hints, out);
	if (hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	return __real_getaddrinfo(__atomic_load_n(&moved_to, __ATOMIC_SEQ_CST), port, hints, out);
}

/* A server that has moved is found where its name leads now. */
static void test_moved(void **state)
{
	struct disk_rig *rig = *state;
	struct peer before, after;
	unsigned port;
	char uri[64];

	__atomic_store_n(&moved_to, "127.0.0.1", __ATOMIC_SEQ_CST);
	port = peer_start_tcp(&before, moved_to, 0, SIZE, PEER_FLUSH);
	snprintf(uri, sizeof(uri), "nbd://moves.test:%u/", port);
	if (rig_open(rig, uri, 0))
		fail_msg("%s", rig->error);
	__atomic_store_n(&moved_to, "127.0.0.2", __ATOMIC_SEQ_CST);
	assert_int_equal(peer_start_tcp(&after, moved_to, port, SIZE, PEER_FLUSH), port);
	peer_stop(&before);
	await_log(rig, "connected again");
	peer_await(&after, rig, 1, 1);
	rig_close(rig);
	peer_stop(&after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_one_wake),
		TEST(test_silent_then_not),
		TEST(test_one_without_answer),
		TEST(test_torn_answer),
		TEST(test_hangs_up_each_time),
		TEST(test_gone_at_once),
		TEST(test_back_smaller_and_readonly),
		TEST(test_back_without_flush),
		TEST(test_back_without_multi_conn),
		TEST(test_second_connection_is_less),
		TEST(test_connecting_has_a_limit),
		TEST(test_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
