/* SPDX-License-Identifier: MIT */
/*
 * The NBD engine's requests as a server sees them, which answers wrongly, too early, or not at all: how many system
 * calls they take, and what becomes of I/O whose bytes were sent, in part or not at all.
 */
#include "tests/unit/disk/rig_peer.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/disk/nbd_queue.h"

#define SIZE (4u << 20)
#define MIB  (1u << 20)

static struct peer peer;
static unsigned sends; /* calls of sendmsg() */

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	sends++;
	return __real_sendmsg(fd, message, flags);
}

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

static struct gd_disk_io io_of(struct disk_rig *rig, enum gd_disk_op op, uint64_t offset, uint64_t length)
{
	return (struct gd_disk_io){
		.op = op, .offset = offset, .length = length, .buf = rig->area + offset, .done = rig_done};
}

/* Whatever a batch has in it is sent by one call, once it is complete. */
static void test_one_send(void **state)
{
	struct peer_request requests[32];
	struct disk_rig *rig = *state;
	struct gd_disk_io ios[32];

	rig_open_uri(rig, 0);
	sends = 0;
	for (unsigned i = 0; i < 32; i++) {
		ios[i] = io_of(rig, i % 2 ? GD_DISK_READ : GD_DISK_WRITE, i * 4096u, 4096);
		gd_disk_submit(rig->queue, &ios[i]);
	}
	assert_int_equal(sends, 0);
	gd_disk_queue_send(rig->queue);
	assert_int_equal(sends, 1);
	for (unsigned i = 0; i < 32; i++)
		requests[i] = peer_next(&peer, 0);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(requests[i].offset, i * 4096u);
		assert_int_equal(requests[i].type, i % 2 ? PEER_READ : PEER_WRITE);
		peer_reply(&peer, 0, &requests[i], 0, 5);
		rig_poll(rig, 0);
	}
	rig_wait_idle(rig);
	assert_int_equal(sends, 1);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(ios[i].result, 0);
	assert_int_equal(rig->area[31 * 4096u], 5);
}

struct answer {
	uint32_t magic, error;
	uint64_t cookie;
} __attribute__((packed));

/* What a server may not say: the connection ends, memory is as it was, and reads find another one. */
static void test_wrong_answers(void **state)
{
	static const struct {
		uint32_t magic;
		uint64_t cookie; /* added to that of the write */
		const char *why;
	} lies[] = {
		{0x58585858, 0, "the server sent 0x58585858 where a reply begins"},
		{0x668e33ef, 0, "the server sent a structured reply, which was not agreed on"},
		{0x67446698, 0xdeadbeef, "the server answered a request that is not in flight (cookie 0x"},
	};
	struct disk_rig *rig = *state;

	rig_open_uri(rig, 0);
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct gd_disk_io write = io_of(rig, GD_DISK_WRITE, 0, 512), read = io_of(rig, GD_DISK_READ, 512, 512);
		struct peer_request request;
		struct answer answer;
		char line[160];

		rig_submit(rig, &write);
		rig_submit(rig, &read);
		request = peer_next(&peer, i);
		peer_next(&peer, i);
		answer = (struct answer){htobe32(lies[i].magic), 0, htobe64(be64toh(request.cookie) + lies[i].cookie)};
		peer_write(&peer, i, &answer, sizeof(answer));
		snprintf(line, sizeof(line), "connection lost (%s", lies[i].why);
		rig_log_await(rig, line);
		assert_int_equal(rig_logged(rig, "1 requests failed, 1 are done again"), i + 1);
		peer_await(&peer, rig, i + 2, i + 2);
		while (rig_logged(rig, "connected again") < i + 1)
			rig_poll(rig, 20);
		request = peer_next(&peer, i + 1);
		assert_int_equal(request.type, PEER_READ);
		peer_reply(&peer, i + 1, &request, 0, 'r');
		rig_wait_idle(rig);
		assert_int_equal(write.result, -EIO);
		assert_int_equal(read.result, 0);
	}
}

/* The second answer to a request is none to the slot's next one, nor a success of it. */
static void test_answered_twice(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = io_of(rig, GD_DISK_WRITE, 0, 512);
	struct peer_request request;

	rig_open_uri(rig, 0);
	rig_submit(rig, &io);
	request = peer_next(&peer, 0);
	peer_reply(&peer, 0, &request, 0, 0);
	rig_wait_idle(rig);
	assert_int_equal(io.result, 0);
	rig_submit(rig, &io);
	peer_next(&peer, 0);
	peer_reply(&peer, 0, &request, 0, 0);
	rig_wait_idle(rig);
	assert_int_equal(io.result, -EIO);
	assert_int_equal(rig_logged(rig, "connection lost (the server answered a request that is not in flight"), 1);
}

/* A write of which the socket takes only a part, as the server reads nothing. Its header is read, and returned. */
static struct gd_nbd_request write_stuck(struct disk_rig *rig, struct gd_disk_io *io)
{
	struct gd_nbd_request header;

	*io = io_of(rig, GD_DISK_WRITE, 0, MIB);
	memset(rig->area, 0x77, MIB);
	rig_submit(rig, io);
	peer_read(&peer, rig, 0, &header, sizeof(header));
	assert_int_equal(be32toh(header.length), MIB);
	return header;
}

/* An answer to a request of which a part is still here, and would be read from memory that is somebody else's by then.
 */
static void test_answered_too_early(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_nbd_request header;
	struct answer answer;
	struct gd_disk_io io;

	rig_open_uri(rig, 0);
	header = write_stuck(rig, &io);
	answer = (struct answer){htobe32(GD_NBD_REPLY_MAGIC), 0, header.cookie};
	peer_write(&peer, 0, &answer, sizeof(answer));
	rig_wait_idle(rig);
	assert_int_equal(io.result, -EIO);
	assert_int_equal(rig_logged(rig, "(the server answered a request before all of it was sent (cookie 0x"), 1);
}

/* While the socket takes no more, answers are received; and the rest goes when there is room. */
static void test_full_socket(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io read = io_of(rig, GD_DISK_READ, 2 * MIB, 65536), write;
	struct peer_request request;
	struct gd_nbd_request header;
	struct answer answer;

	rig_open_uri(rig, 0);
	rig_submit(rig, &read);
	request = peer_next(&peer, 0);
	header = write_stuck(rig, &write);
	peer_reply(&peer, 0, &request, 0, 'r');
	while (gd_disk_queue_busy(rig->queue) > 1)
		rig_poll(rig, RIG_LIMIT * 1000);
	assert_int_equal(read.result, 0);
	assert_int_equal(rig->area[2 * MIB + 65535], 'r');
	peer_read(&peer, rig, 0, rig->area + 3 * MIB, MIB);
	assert_memory_equal(rig->area, rig->area + 3 * MIB, MIB);
	answer = (struct answer){htobe32(GD_NBD_REPLY_MAGIC), 0, header.cookie};
	peer_write(&peer, 0, &answer, sizeof(answer));
	rig_wait_idle(rig);
	assert_int_equal(write.result, 0);
}

/* A server that reads nothing is as silent as one that answers nothing. */
static void test_full_socket_for_good(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io;

	rig->timeout_ms = 500;
	rig_open_uri(rig, 0);
	write_stuck(rig, &io);
	rig_wait_idle(rig);
	assert_int_equal(io.result, -EIO);
	assert_int_equal(rig_logged(rig, "connection lost (no answer for "), 1);
}

/* It ends within a request: no other one is sent behind that, which the server would take for its data. */
static void test_cancelled_within_a_request(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io;
	unsigned char last = 0;

	rig_open_uri(rig, 0);
	write_stuck(rig, &io);
	peer_read(&peer, rig, 0, rig->area + 2 * MIB, 65536); /* there would be room for a goodbye */
	gd_disk_queue_cancel(rig->queue);
	assert_int_equal(gd_disk_queue_busy(rig->queue), 0);
	assert_int_equal(io.result, -ECANCELED);
	assert_in_range(peer_read_rest(&peer, 0, &last), 1, MIB - 1);
	assert_int_equal(last, 0x77);
}

/* Between requests the server is told that the connection ends. */
static void test_goodbye(void **state)
{
	struct disk_rig *rig = *state;

	rig_open_uri(rig, 0);
	rig_close(rig);
	assert_int_equal(peer_next(&peer, 0).type, PEER_DISCONNECT);
}

/* A connection that takes not a byte of a write has not written it: the next one does. */
static void test_nothing_sent(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = io_of(rig, GD_DISK_WRITE, 0, 512);
	struct peer_request request;

	peer_deaf(&peer, true);
	rig_open_uri(rig, 0);
	peer_deaf(&peer, false);
	rig_submit(rig, &io);
	assert_int_equal(rig_logged(rig, "connection lost (send: Broken pipe): 0 requests failed, 1 are done again"),
			 1);
	rig_log_await(rig, "connected again");
	request = peer_next(&peer, 1);
	assert_int_equal(request.type, PEER_WRITE);
	peer_reply(&peer, 1, &request, 0, 0);
	rig_wait_idle(rig);
	assert_int_equal(io.result, 0);
}

/* A receive that was not submitted before its socket was closed takes nothing from what has that number now. */
static void test_descriptor_used_again(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = io_of(rig, GD_DISK_READ, 0, 512);
	int pair[2], fd;
	char bytes[8];

	peer_deaf(&peer, true);
	rig_open_uri(rig, 0);
	peer_deaf(&peer, false);
	fd = ((struct gd_nbd_queue *)rig->queue)->link.fd;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	gd_disk_submit(rig->queue, &io);
	gd_disk_queue_send(rig->queue); /* the connection is lost by this */
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(dup3(pair[0], fd, O_CLOEXEC), fd);
	assert_int_equal(write(pair[1], "another", 8), 8);
	assert_true(io_uring_submit(&rig->ring) >= 0);
	rig_poll(rig, 0);
	assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT), 8);
	assert_string_equal(bytes, "another");
	close(fd);
	close(pair[0]);
	close(pair[1]);
	rig_log_await(rig, "connected again");
	io_uring_submit(&rig->ring);
	peer_next(&peer, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_one_send),
		TEST(test_wrong_answers),
		TEST(test_answered_twice),
		TEST(test_answered_too_early),
		TEST(test_full_socket),
		TEST(test_full_socket_for_good),
		TEST(test_cancelled_within_a_request),
		TEST(test_goodbye),
		TEST(test_nothing_sent),
		TEST(test_descriptor_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
