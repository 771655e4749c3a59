/* SPDX-License-Identifier: MIT */
/* The NBD engine against real servers: nbdkit with its filters, and qemu-nbd. */
#include "tests/unit/disk/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/disk/nbd.h"

#define MIB (1u << 20)

static void test_info(void **state)
{
	struct disk_rig *rig = *state;

	rig_server(rig, NBDKIT("memory", "8M"));
	rig_open_uri(rig, RIG_DISCARD);
	assert_int_equal(rig->info.size, 8 * MIB);
	assert_int_equal(rig->info.block_size, 512);
	assert_int_equal(rig->info.max_transfer, 32 * MIB);
	assert_true(rig->info.flush && rig->info.multi_queue && !rig->info.fenced && !rig->info.readonly);
	assert_true(rig->info.max_discard && rig->info.max_write_zeroes);
	assert_int_equal(strlen(rig->info.serial), 20);
	assert_false(gd_disk_refresh(rig->disk));
}

static void test_random_memory(void **state)
{
	struct disk_rig *rig = *state;

	rig_server(rig, NBDKIT("memory", "8M"));
	rig_open_uri(rig, RIG_DISCARD);
	rig_random(rig, 11, 3000);
}

static void test_random_tcp(void **state)
{
	struct disk_rig *rig = *state;

	rig_server_tcp(rig, NBDKIT("memory", "8M"));
	rig_open_uri(rig, RIG_DISCARD);
	rig_random(rig, 12, 1500);
}

/* A ring as grantiod's: one thread, and nothing happens but when it asks. */
static void test_random_deferred(void **state)
{
	struct disk_rig *rig = *state;

	rig_ring_deferred(rig);
	rig_server(rig, NBDKIT("memory", "8M"));
	assert_int_equal(rig_open(rig, rig->uri, RIG_DISCARD), 0);
	rig_random(rig, 41, 1500);
}

/* Fewer SQEs than polls and I/Os. */
static void test_random_small_ring(void **state)
{
	struct disk_rig *rig = *state;

	rig->ring_entries = 1;
	rig_server(rig, NBDKIT("memory", "8M"));
	rig_open_uri(rig, RIG_DISCARD);
	rig_random(rig, 13, 500);
}

/* No write-zeroes, no FUA: both are made of what there is. */
static void test_random_poor_server(void **state)
{
	struct disk_rig *rig = *state;

	rig_server(rig, NBDKIT("--filter=nozero", "--filter=fua", "memory", "8M"));
	rig_open_uri(rig, RIG_DISCARD);
	rig_random(rig, 14, 1500);
}

/* How often a word is in a file. */
static unsigned words_in(const char *path, const char *word)
{
	char line[512];
	unsigned n = 0;
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, word) != NULL;
	fclose(file);
	return n;
}

/* A stable write is a write with FUA, or a write and a flush. */
static void test_fua(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .length = 4096, .buf = rig->area, .fua = true};
	char log[128], argument[160];

	snprintf(log, sizeof(log), "%s/nbdkit.log", rig->dir);
	snprintf(argument, sizeof(argument), "logfile=%s", log);
	rig_server(rig, NBDKIT("--filter=log", "memory", "1M", argument));
	rig_open_uri(rig, 0);
	assert_int_equal(rig_run(rig, &io), 0);
	assert_int_equal(words_in(log, " fua=1 "), 1);
	assert_int_equal(words_in(log, " Flush"), 0);
	io.fua = false;
	assert_int_equal(rig_run(rig, &io), 0);
	assert_int_equal(words_in(log, " fua=1 "), 1);
	rig_close(rig);
	rig_server(rig, NBDKIT("--filter=log", "--filter=fua", "memory", "1M", argument));
	rig_open_uri(rig, 0);
	assert_int_equal(rig_run(rig, &io), 0);
	assert_int_equal(words_in(log, " Flush"), 0);
	io.fua = true;
	assert_int_equal(rig_run(rig, &io), 0);
	assert_true(words_in(log, " Flush") > 0);
	io.op = GD_DISK_WRITE_ZEROES;
	assert_int_equal(rig_run(rig, &io), 0);
}

static void test_random_qcow2(void **state)
{
	struct disk_rig *rig = *state;
	char image[128];
	const char *const create[] = {"qemu-img", "create", "-q", "-f", "qcow2", image, "8M", NULL};
	const char *const check[] = {"qemu-img", "check", "-q", image, NULL};
	const char *const serve[] = {"qemu-nbd", "-f", "qcow2", "--persistent", "--discard=unmap", image, NULL};

	snprintf(image, sizeof(image), "%s/a.qcow2", rig->dir);
	assert_int_equal(rig_command(create), 0);
	rig_server(rig, serve);
	rig_open_uri(rig, 0); /* no discard at random: qcow2 does it by whole clusters */
	rig_random(rig, 15, 1500);
	rig_close(rig);
	rig_open_uri(rig, RIG_DISCARD);
	memset(rig->area, 0x11, MIB);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, MIB, MIB, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_DISCARD, MIB, MIB, NULL), 0);
	assert_int_equal(rig_io(rig, GD_DISK_READ, MIB, MIB, rig->area), 0);
	assert_int_equal(rig->area[0] | rig->area[MIB - 1], 0);
	rig_close(rig);
	kill(rig->server, SIGTERM);
	rig_server_wait(rig);
	assert_int_equal(rig_command(check), 0);
}

/* Every operation arrives in the file that the server serves. */
static void test_file(void **state)
{
	struct disk_rig *rig = *state;
	struct gd_disk_io io = {
		.op = GD_DISK_WRITE, .offset = MIB - 512, .length = 1024, .buf = rig->area, .fua = true};
	char image[128], after[8192], argument[160];
	struct stat st, st2;

	rig_image(rig, "a.raw", 4 * MIB);
	strcpy(image, rig->path);
	snprintf(argument, sizeof(argument), "file=%s", image);
	assert_int_equal(stat(image, &st), 0);
	rig_server(rig, NBDKIT("file", argument));
	rig_open_uri(rig, RIG_DISCARD);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 3 * MIB - 4096, 8192, rig->area), 0);
	rig_image_read(rig, after, 3 * MIB - 4096, 8192);
	assert_memory_equal(rig->area, after, 8192);
	memset(rig->area, 0x77, 4096);
	assert_int_equal(rig_run(rig, &io), 0);
	rig_image_read(rig, after, MIB - 512, 1024);
	assert_memory_equal(rig->area, after, 1024);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE_ZEROES, 2 * MIB, 65536, NULL), 0);
	rig_image_read(rig, after, 2 * MIB, 4096);
	memset(rig->area, 0, 4096);
	assert_memory_equal(rig->area, after, 4096);
	assert_int_equal(stat(image, &st2), 0);
	assert_int_equal(st.st_blocks, st2.st_blocks); /* not deallocated: not asked for */
	assert_int_equal(rig_io(rig, GD_DISK_DISCARD, 3 * MIB, MIB, NULL), 0);
	assert_int_equal(stat(image, &st2), 0);
	assert_true(st2.st_blocks * 512 <= st.st_blocks * 512 - MIB);
}

/* The server's block sizes are told, and requests that are too long for it are cut. */
static void test_block_sizes(void **state)
{
	struct disk_rig *rig = *state;

	rig_server(rig, NBDKIT("--filter=blocksize-policy", "memory", "8390656", "blocksize-minimum=4096",
			       "blocksize-preferred=16K", "blocksize-maximum=64K", "blocksize-error-policy=error"));
	rig_open_uri(rig, RIG_DISCARD);
	assert_int_equal(rig->info.block_size, 4096);
	assert_int_equal(rig->info.physical_size, 16384);
	assert_int_equal(rig->info.max_transfer, 65536);
	assert_int_equal(rig->info.size, 8 * MIB); /* 2048 bytes left out */
	assert_int_equal(rig_logged(rig, "size 8390656 is not a multiple of 4096: the last 2048 bytes are left out"),
			 1);
	rig_random(rig, 16, 500); /* reads and checks by 4 MiB */
}

static void test_readonly(void **state)
{
	struct disk_rig *rig = *state;
	char line[256];

	rig_server(rig, NBDKIT("-r", "memory", "1M"));
	assert_int_equal(rig_open(rig, rig->uri, 0), -EROFS);
	snprintf(line, sizeof(line), "%s: cannot open for writing: the export is read-only", rig->uri);
	assert_string_equal(rig->error, line);
	rig_open_uri(rig, RIG_READONLY);
	assert_true(rig->info.readonly && !rig->info.max_discard && !rig->info.max_write_zeroes);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 0, 4096, rig->area), -EROFS);
}

/* The server's errors are the I/O's, one by one; the connection stays. */
static void test_server_errors(void **state)
{
	struct disk_rig *rig = *state;
	char line[256];

	rig_server(rig, NBDKIT("--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%",
			       "error-trim=EIO", "error-trim-rate=100%"));
	rig_open_uri(rig, RIG_DISCARD);
	assert_int_equal(rig_io(rig, GD_DISK_WRITE, 4096, 512, rig->area), -ENOSPC);
	snprintf(line, sizeof(line), "%s: write of 512 bytes at 4096: No space left on device", rig->uri);
	assert_int_equal(rig_logged(rig, line), 1);
	assert_int_equal(rig_io(rig, GD_DISK_DISCARD, 0, 4096, NULL), -EIO);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	assert_int_equal(rig_io(rig, GD_DISK_FLUSH, 0, 0, NULL), 0);
	assert_int_equal(rig_log_lines(rig), 2);
}

/* Take what the ring has, until a receive is over in it: its result. */
static int receive_ended(struct disk_rig *rig)
{
	struct __kernel_timespec limit = {.tv_sec = RIG_LIMIT};
	struct io_uring_cqe *cqe;
	int result = 1;

	while (result > 0 && !io_uring_wait_cqe_timeout(&rig->ring, &cqe, &limit))
		while (!io_uring_peek_cqe(&rig->ring, &cqe)) {
			if (cqe->user_data >> 48 == (RIG_TAG << 8 | GD_KIND_RECEIVE))
				result = cqe->res;
			io_uring_cqe_seen(&rig->ring, cqe);
		}
	return result;
}

/*
 * A server for one connection, that ends with it: open's connection is the queue's, and the next queue's. The receive
 * of a queue does not outlive it, whether the system has it already or not.
 */
static void test_one_connection(void **state)
{
	struct disk_rig *rig = *state;
	unsigned i;

	rig_server(rig, NBDKIT("--filter=exitlast", "--filter=multi-conn", "memory", "1M", "multi-conn-mode=disable"));
	rig_open_uri(rig, 0);
	assert_false(rig->info.multi_queue);
	for (i = 0; i < 6; i++) {
		assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
		if (i % 2)
			io_uring_submit(&rig->ring);
		gd_disk_queue_close(rig->queue);
		rig->queue = NULL;
		assert_int_equal(receive_ended(rig), i % 2 ? -ECANCELED : 0);
		assert_int_equal(gd_disk_queue_open(&rig->queue, rig->disk, &rig->ring, RIG_TAG, RIG_DEPTH), 0);
	}
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	rig_close(rig);
	rig_server_wait(rig); /* it saw the connection end */
}

static void test_two_queues(void **state)
{
	struct disk_rig *rig = *state, other;
	struct gd_disk_io io = {.op = GD_DISK_WRITE, .length = 4096, .buf = rig->area, .done = rig_done};

	rig_server(rig, NBDKIT("memory", "1M"));
	rig_open_uri(rig, 0);
	memset(&other, 0, sizeof(other));
	assert_int_equal(io_uring_queue_init(8, &other.ring, 0), 0);
	assert_int_equal(gd_disk_queue_open(&other.queue, rig->disk, &other.ring, RIG_TAG, 8), 0);
	memset(rig->area, 0x42, 4096);
	gd_disk_submit(other.queue, &io);
	rig_wait_idle(&other);
	assert_int_equal(io.result, 0);
	memset(rig->area, 0, 4096);
	assert_int_equal(rig_io(rig, GD_DISK_READ, 0, 4096, rig->area), 0);
	assert_int_equal(rig->area[4095], 0x42);
	gd_disk_queue_close(other.queue);
	io_uring_queue_exit(&other.ring);
}

static void test_bad_targets(void **state)
{
	static const struct {
		const char *uri, *why;
	} cases[] = {
		{"nbd://", "there is no host"},
		{"nbd://:10809/", "there is no host"},
		{"nbd://[::1/x", "host: \"[\" without \"]\""},
		{"nbd://[::1]x/", "host: \"[\" without \"]\""},
		{"nbd://me@host/", "user names are not served"},
		{"nbd://127.0.0.1:0/", "port \"0\" is not a number from 1 to 65535"},
		{"nbd://127.0.0.1:65536/", "port \"65536\" is not a number from 1 to 65535"},
		{"nbd://127.0.0.1:1x/", "port \"1x\" is not a number from 1 to 65535"},
		{"nbd://127.0.0.1:/", "port \"\" is not a number from 1 to 65535"},
		{"nbd://127.0.0.1/a%0", "export: \"%\" is not followed by two hexadecimal digits, not both zero"},
		{"nbd://127.0.0.1/a%00b", "export: \"%\" is not followed by two hexadecimal digits, not both zero"},
		{"nbd://127.0.0.1/?tls=1", "parameters are not served with nbd://"},
		{"nbd://127.0.0.1/#x", "\"#\" has no meaning here (in a name it is %23)"},
		{"nbd+unix:///", "there is no \"?socket=PATH\""},
		{"nbd+unix:///?socket=", "there is no \"?socket=PATH\""},
		{"nbd+unix:///?socket=/x&tls-certificates=/y", "parameters other than \"socket\" are not served"},
		{"nbd+unix://host/?socket=/x", "nbd+unix:// has no host: nbd+unix:///EXPORT?socket=PATH"},
		{"nbd+unix:///?socket=/nonexistent/socket", "connect: No such file or directory"},
		{"nbd://127.0.0.1:1/", "connect: Connection refused"},
		{"nbd://-no-host-/", "host \"-no-host-\": "}, /* no name server is asked for such a name */
		{"nbds://127.0.0.1/", "\"nbds\" is not served: it is a path, nbd:// or nbd+unix://"},
	};
	struct disk_rig *rig = *state;
	char line[256];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(rig_open(rig, cases[i].uri, 0) < 0);
		snprintf(line, sizeof(line), "%s: %s", cases[i].uri, cases[i].why);
		if (strncmp(rig->error, line, strlen(line)))
			fail_msg("\"%s\" is not \"%s\"", rig->error, line);
	}
	assert_int_equal(rig_log_lines(rig), 0);
}

static void test_uri_parts(void **state)
{
	struct gd_nbd_server server;
	char why[128];

	(void)state;
	assert_int_equal(gd_nbd_uri_parse(&server, "nbd://h.example:99/a%20b/c", why, sizeof(why)), 0);
	assert_string_equal(server.host, "h.example");
	assert_string_equal(server.port, "99");
	assert_string_equal(server.export, "a b/c");
	assert_null(server.socket);
	gd_nbd_server_close(&server);
	assert_int_equal(gd_nbd_uri_parse(&server, "nbd://[fe80::1]", why, sizeof(why)), 0);
	assert_string_equal(server.host, "fe80::1");
	assert_string_equal(server.port, "10809");
	assert_string_equal(server.export, "");
	gd_nbd_server_close(&server);
	assert_int_equal(gd_nbd_uri_parse(&server, "nbd+unix:///x?socket=/a%2fb%3F", why, sizeof(why)), 0);
	assert_string_equal(server.socket, "/a/b?");
	assert_string_equal(server.export, "x");
	assert_null(server.host);
	gd_nbd_server_close(&server);
}

/* An export by name, and one that the server does not have. */
static void test_exports(void **state)
{
	struct disk_rig *rig = *state;
	char uri[256];

	rig_server(rig, NBDKIT("--filter=exportname", "memory", "1M", "exportname=disk one", "exportname-strict=true"));
	snprintf(uri, sizeof(uri), "nbd+unix:///disk%%20one?socket=%s", rig->socket);
	assert_int_equal(rig_open(rig, uri, 0), 0);
	rig_close(rig);
	assert_true(rig_open(rig, rig->uri, 0) < 0);
	assert_non_null(strstr(rig->error, rig->uri));
}

/* A server that takes the connection and says nothing; one that is no NBD server. */
static void test_silent_server(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct disk_rig *rig = *state;
	struct gd_nbd_server server = {.export = (char[]){""}, .socket = rig->socket};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	struct nbd_handle *handle;
	struct gd_nbd_link link;
	char why[128];

	snprintf(rig->socket, sizeof(rig->socket), "%s/silent", rig->dir);
	strcpy(address.sun_path, rig->socket);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(gd_nbd_connect(&link, &server, 200, why, sizeof(why)), -ETIMEDOUT);
	assert_int_equal(link.fd, -1);
	assert_string_equal(why, "no answer in time");
	peer = accept(listener, NULL, NULL);
	close(peer);
	handle = gd_nbd_start(&server, 0);
	peer = accept(listener, NULL, NULL);
	assert_int_equal(write(peer, "220 mail.example ESMTP\r\n", 24), 24);
	while (!nbd_aio_is_dead(handle) && nbd_poll(handle, 1000) > 0)
		;
	assert_true(nbd_aio_is_dead(handle));
	nbd_close(handle);
	close(peer);
	close(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_info),
		TEST(test_random_memory),
		TEST(test_random_tcp),
		TEST(test_random_deferred),
		TEST(test_random_small_ring),
		TEST(test_random_poor_server),
		TEST(test_fua),
		TEST(test_random_qcow2),
		TEST(test_file),
		TEST(test_block_sizes),
		TEST(test_readonly),
		TEST(test_server_errors),
		TEST(test_one_connection),
		TEST(test_two_queues),
		TEST(test_bad_targets),
		TEST(test_uri_parts),
		TEST(test_exports),
		TEST(test_silent_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
