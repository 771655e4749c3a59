/* SPDX-License-Identifier: MIT */
/* The bytes of NBD's requests and replies, without a connection: exact, in pieces of any size, and from a liar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/disk/nbd_frame.h"

#define DEPTH 8u
#define BASE  0xfedcba9876543210u
#define DATA  64u /* bytes of a slot's data */
#define GUARD 16u /* bytes around it, which nobody may touch */

static struct gd_nbd_frame frame;
static char area[DEPTH][GUARD + DATA + GUARD];
static char stream[1 << 16]; /* what a server would send */
static size_t stream_bytes;
static int errors[DEPTH]; /* of the answers that came; -1: none */
static unsigned answers;

static char *data_of(unsigned slot)
{
	return area[slot] + GUARD;
}

static int setup(void **state)
{
	(void)state;
	memset(area, '#', sizeof(area));
	memset(errors, 0xff, sizeof(errors));
	stream_bytes = 0;
	answers = 0;
	if (gd_nbd_frame_open(&frame, DEPTH))
		return -1;
	gd_nbd_frame_reset(&frame, BASE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gd_nbd_frame_close(&frame);
	return 0;
}

static void ask(unsigned slot, enum gd_nbd_command type, uint32_t length)
{
	gd_nbd_frame_ask(&frame, slot,
			 &(struct gd_nbd_ask){.type = type, .length = length, .offset = slot, .data = data_of(slot)});
}

/* Send at most `most` bytes, to `out`; how many were sent. */
static size_t send_some(char *out, size_t most)
{
	struct iovec pieces[4];
	unsigned count = gd_nbd_frame_unsent(&frame, pieces, 4);
	size_t sent = 0;

	assert_true(count <= 4);
	for (unsigned i = 0; i < count && sent < most; i++) {
		size_t part = pieces[i].iov_len < most - sent ? pieces[i].iov_len : most - sent;

		assert_true(part > 0);
		memcpy(out + sent, pieces[i].iov_base, part);
		sent += part;
	}
	gd_nbd_frame_sent(&frame, sent);
	return sent;
}

static size_t send_all(char *out, size_t piece)
{
	size_t total = 0, sent;

	while ((sent = send_some(out + total, piece)))
		total += sent;
	return total;
}

static void ask_and_send(unsigned slot, enum gd_nbd_command type, uint32_t length)
{
	char out[256];

	ask(slot, type, length);
	send_all(out, sizeof(out));
}

static void put(const void *bytes, size_t n)
{
	assert_true(stream_bytes + n <= sizeof(stream));
	memcpy(stream + stream_bytes, bytes, n);
	stream_bytes += n;
}

static void put_reply(uint32_t magic, uint32_t error, uint64_t cookie)
{
	const struct gd_nbd_reply reply = {htobe32(magic), htobe32(error), htobe64(cookie)};

	put(&reply, sizeof(reply));
}

/* The right answer to what the slot asks for; a read gets bytes of `fill`. */
static void put_answer(unsigned slot, uint32_t error, char fill)
{
	char data[DATA];

	put_reply(GD_NBD_REPLY_MAGIC, error, frame.asked[slot].cookie);
	memset(data, fill, sizeof(data));
	if (frame.asked[slot].type == GD_NBD_READ && !error)
		put(data, frame.asked[slot].length);
}

static void note(const struct gd_nbd_answer *answer)
{
	assert_true(answer->slot < DEPTH);
	assert_int_equal(errors[answer->slot], -1);
	errors[answer->slot] = answer->error;
	answers++;
}

/* Receive bytes as the ring does. 0 or -EPROTO. */
static int receive(const char *bytes, size_t n)
{
	char copy[512]; /* so that what lies behind it is not the stream */
	const char *at = copy;
	struct gd_nbd_answer answer;
	int result;

	assert_true(n <= sizeof(copy));
	memcpy(copy, bytes, n);
	while ((result = gd_nbd_frame_take(&frame, &at, &n, &answer)) > 0)
		note(&answer);
	assert_true(result || n == 0);
	return result;
}

/* Receive straight into its place, as recvmsg() does, if data is to come; how much of `n` was taken so. */
static size_t receive_straight(const char *bytes, size_t n)
{
	struct gd_nbd_answer answer;
	size_t room;
	char *to = gd_nbd_frame_room(&frame, &room);
	size_t part = room < n ? room : n;

	if (!to || !part)
		return 0;
	memcpy(to, bytes, part);
	if (gd_nbd_frame_filled(&frame, part, &answer))
		note(&answer);
	return part;
}

static void guards_check(void)
{
	for (unsigned i = 0; i < DEPTH; i++)
		for (unsigned j = 0; j < GUARD; j++)
			assert_true(area[i][j] == '#' && area[i][GUARD + DATA + j] == '#');
}

static void filled_check(unsigned slot, char fill, uint32_t length)
{
	for (unsigned i = 0; i < DATA; i++)
		assert_int_equal(data_of(slot)[i], i < length ? fill : '#');
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

/* Byte by byte, as the protocol has it: magic, flags, type, cookie, offset, length. */
static void test_request_bytes(void **state)
{
	static const unsigned char read[] = {0x25, 0x60, 0x95, 0x13, 0,	   0,	 0,    0,    0xfe, 0xdc,
					     0xba, 0x98, 0x76, 0x54, 0x32, 0x13, 0x01, 0x02, 0x03, 0x04,
					     0x05, 0x06, 0x07, 0x08, 0,	   0,	 0x10, 0};
	static const unsigned char zero[] = {0x25, 0x60, 0x95, 0x13, 0, 3, 0, 6, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x55,
					     0x32, 0x11, 0,    0,    0, 0, 0, 0, 0,    0,    0x40, 0,	 0,    0};
	char out[256];

	(void)state;
	gd_nbd_frame_ask(&frame, 3, &(struct gd_nbd_ask){GD_NBD_READ, 0, 4096, 0x0102030405060708u, NULL});
	assert_int_equal(send_some(out, sizeof(out)), 28);
	assert_memory_equal(out, read, 28);
	gd_nbd_frame_ask(&frame, 1,
			 &(struct gd_nbd_ask){GD_NBD_ZERO, GD_NBD_FLAG_FUA | GD_NBD_FLAG_NO_HOLE, 1u << 30, 0, NULL});
	assert_int_equal(send_some(out, sizeof(out)), 28);
	assert_memory_equal(out, zero, 28);
	assert_int_equal(be64toh(*(uint64_t *)(void *)(out + 8)), BASE + (1u << 16 | 1));
}

/* A batch without data is one piece; data lies between the headers, and is sent from its own place. */
static void test_pieces(void **state)
{
	struct iovec pieces[64];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		ask(i, GD_NBD_READ, DATA);
	assert_int_equal(gd_nbd_frame_unsent(&frame, pieces, 64), 1);
	assert_int_equal(pieces[0].iov_len, 4 * 28);
	ask(4, GD_NBD_WRITE, DATA);
	ask(5, GD_NBD_WRITE, 10);
	assert_int_equal(gd_nbd_frame_unsent(&frame, pieces, 64), 4);
	assert_int_equal(pieces[0].iov_len, 5 * 28);
	assert_ptr_equal(pieces[1].iov_base, data_of(4));
	assert_ptr_equal(pieces[3].iov_base, data_of(5));
	assert_int_equal(pieces[3].iov_len, 10);
	assert_int_equal(gd_nbd_frame_unsent(&frame, pieces, 3), 2); /* only whole requests */
}

/* Whatever the socket takes at a time, the stream is the same; and the ring of requests goes round. */
static void test_sent_in_pieces(void **state)
{
	char whole[512], pieces[512];
	size_t total = 0;

	(void)state;
	for (size_t piece = 1; piece <= 2 * 28 + DATA + 10; piece++) {
		gd_nbd_frame_reset(&frame, BASE);
		for (unsigned turn = 0; turn < piece % DEPTH; turn++) { /* begin at another place each time */
			ask_and_send(0, GD_NBD_FLUSH, 0);
			frame.asked[0].due = GD_NBD_IDLE;
		}
		frame.count = 0;
		ask(2, GD_NBD_READ, DATA);
		ask(5, GD_NBD_WRITE, DATA);
		ask(1, GD_NBD_WRITE, 10);
		ask(0, GD_NBD_TRIM, DATA);
		if (piece == 1)
			total = send_all(whole, sizeof(whole));
		else
			assert_int_equal(send_all(pieces, piece), total);
		assert_int_equal(total, 4 * 28 + DATA + 10);
		assert_true(piece == 1 || !memcmp(whole, pieces, total));
		assert_true(gd_nbd_frame_between(&frame));
	}
}

/* Which requests a server cannot have seen, and whether another one could be sent. */
static void test_untouched(void **state)
{
	char out[256];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		ask(i, GD_NBD_WRITE, 10);
	assert_true(gd_nbd_frame_untouched(&frame, 0));
	assert_true(gd_nbd_frame_between(&frame));
	send_some(out, 38 + 1);
	assert_false(gd_nbd_frame_untouched(&frame, 0));
	assert_false(gd_nbd_frame_untouched(&frame, 1));
	assert_true(gd_nbd_frame_untouched(&frame, 2));
	assert_false(gd_nbd_frame_between(&frame));
	assert_false(gd_nbd_frame_idle(&frame));
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static void answers_prepare(void)
{
	gd_nbd_frame_reset(&frame, BASE);
	memset(area, '#', sizeof(area));
	memset(errors, 0xff, sizeof(errors));
	stream_bytes = 0;
	ask_and_send(0, GD_NBD_READ, DATA);
	ask_and_send(1, GD_NBD_WRITE, DATA);
	ask_and_send(2, GD_NBD_READ, 5);
	ask_and_send(3, GD_NBD_FLUSH, 0);
	ask_and_send(4, GD_NBD_READ, DATA);
	put_answer(2, 0, 'c');
	put_answer(1, 0, 0);
	put_answer(4, GD_NBD_EIO, 0);
	put_answer(0, 0, 'a');
	put_answer(3, GD_NBD_ENOSPC, 0);
}

static void answers_check(void)
{
	static const int expected[DEPTH] = {0, 0, 0, ENOSPC, EIO, -1, -1, -1};

	assert_memory_equal(errors, expected, sizeof(errors));
	filled_check(0, 'a', DATA);
	filled_check(2, 'c', 5);
	filled_check(4, 0, 0);
	guards_check();
	assert_true(gd_nbd_frame_idle(&frame));
}

/* Cut in two at every place, and into pieces of every size. */
static void test_split_everywhere(void **state)
{
	size_t size = 1;

	(void)state;
	for (size_t cut = 0; cut <= stream_bytes; cut++) {
		answers_prepare();
		assert_int_equal(receive(stream, cut), 0);
		assert_int_equal(receive(stream + cut, stream_bytes - cut), 0);
		answers_check();
	}
	assert_true(stream_bytes > 5 * 16);
	for (; size <= stream_bytes; size++) {
		answers_prepare();
		for (size_t at = 0; at < stream_bytes; at += size)
			assert_int_equal(receive(stream + at, at + size < stream_bytes ? size : stream_bytes - at), 0);
		answers_check();
	}
}

/* The same with the data received straight to its place. */
static void test_straight(void **state)
{
	size_t n;

	(void)state;
	answers_prepare();
	for (size_t size = 1; size <= stream_bytes; size++) {
		answers_prepare();
		for (size_t at = 0; at < stream_bytes; at += n) {
			size_t left = stream_bytes - at < size ? stream_bytes - at : size;

			n = receive_straight(stream + at, left);
			if (n)
				continue;
			n = left;
			assert_int_equal(receive(stream + at, n), 0);
		}
		answers_check();
	}
}

/* Values that are no errno of the protocol's are EINVAL. */
static void test_error_values(void **state)
{
	static const struct {
		uint32_t wire;
		int error;
	} values[] = {{1, EPERM},     {5, EIO},		{12, ENOMEM},	     {22, EINVAL},
		      {28, ENOSPC},   {75, EOVERFLOW},	{95, ENOTSUP},	     {2, EINVAL},
		      {9999, EINVAL}, {108, ESHUTDOWN}, {UINT32_MAX, EINVAL}};

	(void)state;
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		stream_bytes = 0;
		errors[1] = -1;
		ask_and_send(1, GD_NBD_READ, DATA);
		put_answer(1, values[i].wire, 0);
		assert_int_equal(receive(stream, stream_bytes), 0);
		assert_int_equal(errors[1], values[i].error);
	}
	filled_check(1, 0, 0);
}

/* How many reads wait whose data is worth a system call of its own. */
static void test_big(void **state)
{
	static char big[GD_NBD_BIG];
	char out[64];

	(void)state;
	gd_nbd_frame_ask(&frame, 0, &(struct gd_nbd_ask){GD_NBD_READ, 0, GD_NBD_BIG, 0, big});
	gd_nbd_frame_ask(&frame, 1, &(struct gd_nbd_ask){GD_NBD_READ, 0, GD_NBD_BIG - 1, 0, big});
	gd_nbd_frame_ask(&frame, 2, &(struct gd_nbd_ask){GD_NBD_TRIM, 0, GD_NBD_BIG, 0, NULL});
	assert_int_equal(frame.big, 1);
	while (send_some(out, sizeof(out)))
		;
	put_answer(0, GD_NBD_EIO, 0);
	assert_int_equal(receive(stream, stream_bytes), 0);
	assert_int_equal(frame.big, 0);
}

/* ---- a server that lies ----------------------------------------------------------------------------------------- */

/* What was put ends the connection, whatever comes next, and the reason is this; nothing is answered. */
static void refused(const char *fault)
{
	unsigned before = answers;

	assert_int_equal(receive(stream, stream_bytes), -EPROTO);
	if (!strstr(frame.fault, fault))
		fail_msg("\"%s\" is not in \"%s\"", fault, frame.fault);
	stream_bytes = 0;
	put_answer(0, 0, 'x');
	assert_int_equal(receive(stream, stream_bytes), -EPROTO);
	assert_int_equal(answers, before);
	assert_false(gd_nbd_frame_idle(&frame));
	guards_check();
	gd_nbd_frame_reset(&frame, BASE);
	stream_bytes = 0;
	memset(errors, 0xff, sizeof(errors));
	ask_and_send(0, GD_NBD_READ, DATA);
}

static void test_wrong_magic(void **state)
{
	(void)state;
	ask_and_send(0, GD_NBD_READ, DATA);
	put("XXXXXXXXXXXXXXXX", 16);
	refused("the server sent 0x58585858 where a reply begins");
	put_reply(GD_NBD_STRUCTURED_MAGIC, 0x00010001, frame.asked[0].cookie);
	refused("the server sent a structured reply, which was not agreed on");
	put_reply(GD_NBD_REQUEST_MAGIC, 0, frame.asked[0].cookie);
	refused("the server sent 0x25609513");
	put_answer(0, 0, 'a'); /* longer than it may be: the rest begins no reply */
	put("bcde", 4);
	put("bcdebcdebcde", 12);
	answers = 0;
	assert_int_equal(receive(stream, stream_bytes), -EPROTO);
	assert_int_equal(answers, 1);
	filled_check(0, 'a', DATA);
}

static void test_wrong_cookie(void **state)
{
	static const uint64_t add[] = {1,	   DEPTH,	 0x8000,    0xffff,    1u << 16,
				       1ull << 63, (uint64_t)-1, 0u - BASE, 0xdeadbeef};

	(void)state;
	ask_and_send(0, GD_NBD_READ, DATA);
	for (unsigned i = 0; i < sizeof(add) / sizeof(add[0]); i++) {
		put_reply(GD_NBD_REPLY_MAGIC, 0, frame.asked[0].cookie + add[i]);
		refused("the server answered a request that is not in flight (cookie 0x");
	}
}

/* An answer comes once: neither again, nor for the slot's next request. */
static void test_answered_twice(void **state)
{
	uint64_t former;

	(void)state;
	ask_and_send(0, GD_NBD_READ, DATA);
	ask_and_send(1, GD_NBD_WRITE, DATA);
	former = frame.asked[1].cookie;
	put_answer(1, 0, 0);
	assert_int_equal(receive(stream, stream_bytes), 0);
	refused("a request that is not in flight");
	ask_and_send(1, GD_NBD_WRITE, DATA);
	former = frame.asked[1].cookie;
	put_answer(1, 0, 0);
	assert_int_equal(receive(stream, stream_bytes), 0);
	ask_and_send(1, GD_NBD_WRITE, DATA);
	assert_true(frame.asked[1].cookie != former);
	stream_bytes = 0;
	put_reply(GD_NBD_REPLY_MAGIC, 0, former);
	refused("a request that is not in flight");
}

/* What was not sent, or not all of it, has no answer: its data would still be read after the I/O is over. */
static void test_answered_too_early(void **state)
{
	char out[256];

	(void)state;
	for (size_t sent = 0; sent < 28 + DATA; sent++) {
		gd_nbd_frame_reset(&frame, BASE);
		ask_and_send(0, GD_NBD_READ, DATA);
		ask(1, GD_NBD_WRITE, DATA);
		if (sent)
			assert_int_equal(send_some(out, sent), sent);
		put_answer(1, 0, 0);
		refused("the server answered a request before all of it was sent (cookie 0x");
	}
}

/* ---- by chance -------------------------------------------------------------------------------------------------- */

static uint64_t seed;

static unsigned draw(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % below);
}

static void random_ask(void)
{
	static const enum gd_nbd_command types[] = {GD_NBD_READ, GD_NBD_WRITE, GD_NBD_READ, GD_NBD_FLUSH, GD_NBD_TRIM};
	unsigned slot = draw(DEPTH);

	if (frame.asked[slot].due != GD_NBD_IDLE)
		return;
	memset(data_of(slot), '#', DATA);
	errors[slot] = -1;
	ask(slot, types[draw(5)], draw(DATA) + 1);
}

/* An answer to a request that was sent, put once. `put_for`: which slots have one on its way. */
static void random_answer(bool *put_for)
{
	unsigned slot = draw(DEPTH);

	if (frame.asked[slot].due != GD_NBD_SENT || put_for[slot])
		return;
	put_for[slot] = true;
	put_answer(slot, draw(4) ? 0 : draw(200), (char)('a' + slot));
}

static int random_receive(size_t *at)
{
	size_t n = draw((unsigned)(stream_bytes - *at < 200 ? stream_bytes - *at : 200) + 1), straight;
	int result = 0;

	straight = draw(2) ? receive_straight(stream + *at, n) : 0;
	if (straight < n)
		result = receive(stream + *at + straight, n - straight);
	*at += n;
	return result;
}

static void slots_check(bool *put_for, bool lies)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		if (errors[i] < 0 || !put_for[i])
			continue;
		put_for[i] = false;
		if (!lies && frame.asked[i].type == GD_NBD_READ)
			filled_check(i, (char)('a' + i), errors[i] ? 0 : frame.asked[i].length);
	}
	guards_check();
}

/* Requests, answers in any order, and pieces of any size: with `lies`, bytes of the answers are changed. */
static void random_run(unsigned number, bool lies)
{
	bool put_for[DEPTH] = {false};
	size_t at = 0;
	char out[256];
	int result = 0;

	seed = (number + 1) * 0x9e3779b97f4a7c15u;
	gd_nbd_frame_reset(&frame, seed);
	memset(errors, 0xff, sizeof(errors));
	stream_bytes = 0;
	for (unsigned step = 0; step < 400 && !result && stream_bytes + 256 < sizeof(stream); step++) {
		random_ask();
		send_some(out, draw(100));
		random_answer(put_for);
		if (lies && stream_bytes > at && !draw(20))
			stream[at + draw((unsigned)(stream_bytes - at))] ^= (char)(1u << draw(8));
		result = random_receive(&at);
		slots_check(put_for, lies);
	}
	if (!lies)
		assert_int_equal(result, 0);
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2000; i++)
		random_run(i, false);
	assert_true(answers > 10000);
}

static void test_random_lies(void **state)
{
	unsigned refusals = 0;

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		random_run(i, true);
		refusals += frame.fault[0] != 0;
	}
	assert_true(refusals > 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_request_bytes),    TEST(test_pieces),
		TEST(test_sent_in_pieces),   TEST(test_untouched),
		TEST(test_split_everywhere), TEST(test_straight),
		TEST(test_error_values),     TEST(test_big),
		TEST(test_wrong_magic),	     TEST(test_wrong_cookie),
		TEST(test_answered_twice),   TEST(test_answered_too_early),
		TEST(test_random),	     TEST(test_random_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
