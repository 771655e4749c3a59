/* SPDX-License-Identifier: MIT */
#include "tests/unit/store/oracle.h"

#include "tests/unit/store/fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#define PAGE	    4096u
#define LIMIT_MS    60000
#define PORT(domid) (10u + (domid))

struct oracle_link {
	int fd;
	struct xenstore_domain_interface *ring; /* instead of the descriptor */
	uint32_t port;
};

static char dir[64];
static pid_t daemon_pid;
static int events_to = -1, events_from = -1; /* the daemon's event channels */

/* ---- the daemon --------------------------------------------------------------------------------------------- */

static char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void file_make(const char *name, const void *data, size_t length)
{
	int fd = open(in_dir(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, length), length);
	close(fd);
}

static int pipe_make(const char *name)
{
	int fd;

	assert_int_equal(mkfifo(in_dir(name), 0600), 0);
	fd = open(in_dir(name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void daemon_run(const char *binary, const char *shim)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setenv("XENSTORED_RUNDIR", dir, 1);
	setenv("XENSTORED_ROOTDIR", dir, 1);
	setenv("XENSTORED_PATH", in_dir("socket"), 1);
	setenv("LD_PRELOAD", shim, 1);
	execl(binary, binary, "--no-fork", "--pid-file", in_dir("pid"), (char *)NULL);
	_exit(127);
}

/* The socket of domain 0, once it can be connected to; -1: the daemon has ended. */
static int daemon_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = LIMIT_MS / 1000};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.40s/socket", dir);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	while (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		if (waitpid(daemon_pid, &status, WNOHANG))
			fail_msg("xenstored ended with status %#x before it could be connected to", status);
		poll(NULL, 0, 10); /* nothing tells when it listens */
	}
	return fd;
}

static void introduce(struct oracle_link *dom0, unsigned domid)
{
	static const char nothing[PAGE];
	char name[32], payload[XENSTORE_PAYLOAD_MAX + 1];
	size_t length;

	snprintf(name, sizeof(name), "ring.%u", domid);
	file_make(name, nothing, sizeof(nothing));
	length = (size_t)snprintf(payload, sizeof(payload), "%u%c1%c%u", domid, 0, 0, PORT(domid)) + 1;
	oracle_send(dom0, XS_INTRODUCE, 0, payload, length);
	assert_int_equal(oracle_recv(dom0, payload, &length), XS_INTRODUCE);
}

void oracle_start(const char *binary, const char *shim)
{
	static const char nothing[PAGE];
	struct oracle_link *dom0;

	snprintf(dir, sizeof(dir), "/tmp/grantio-oracle-XXXXXX");
	assert_non_null(mkdtemp(dir));
	events_to = pipe_make("to-xenstored");
	events_from = pipe_make("from-xenstored");
	file_make("xsd_port", "1\n", 2);
	file_make("xsd_kva", nothing, sizeof(nothing));
	daemon_pid = fork();
	if (!daemon_pid)
		daemon_run(binary, shim);
	dom0 = oracle_link_theirs(0);
	introduce(dom0, 1);
	introduce(dom0, 2);
	oracle_link_close(dom0);
}

void oracle_stop(void)
{
	static const char *const names[] = {"to-xenstored", "from-xenstored", "xsd_port", "xsd_kva",
					    "ring.1",	    "ring.2",	      "pid",	  "socket"};

	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	close(events_to);
	close(events_from);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlink(in_dir(names[i]));
	rmdir(dir);
}

/* ---- links -------------------------------------------------------------------------------------------------- */

static struct oracle_link *link_new(int fd)
{
	struct oracle_link *link = calloc(1, sizeof(*link));

	assert_non_null(link);
	link->fd = fd;
	return link;
}

struct oracle_link *oracle_link_ours(unsigned domid)
{
	int fd = wire_open(domid);

	assert_true(fd >= 0);
	return link_new(fd);
}

struct oracle_link *oracle_link_theirs(unsigned domid)
{
	struct oracle_link *link;
	char name[32];
	int fd;

	if (!domid)
		return link_new(daemon_connect());
	link = link_new(-1);
	link->port = PORT(domid);
	snprintf(name, sizeof(name), "ring.%u", domid);
	fd = open(in_dir(name), O_RDWR | O_CLOEXEC);
	link->ring = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(link->ring, MAP_FAILED);
	close(fd);
	return link;
}

void oracle_link_close(struct oracle_link *link)
{
	if (link->ring)
		munmap(link->ring, PAGE);
	else
		close(link->fd);
	free(link);
}

/* Wait for the daemon to have done something with a ring. */
static void ring_wait(void)
{
	struct pollfd event = {.fd = events_from, .events = POLLIN};
	char ports[256];

	if (poll(&event, 1, LIMIT_MS) != 1 || read(events_from, ports, sizeof(ports)) <= 0)
		fail_msg("xenstored is silent");
}

/* Move bytes into the ring's requests (`send`) or out of its answers. */
static void ring_move(const struct oracle_link *link, bool send, char *data, size_t length)
{
	struct xenstore_domain_interface *r = link->ring;
	uint32_t *at = send ? &r->req_prod : &r->rsp_cons, *other = send ? &r->req_cons : &r->rsp_prod;

	for (size_t i = 0; i < length; i++) {
		/* Acquire: what the daemon wrote, or has read, before it moved its index. Pairs with its barriers. */
		while (send ? *at - __atomic_load_n(other, __ATOMIC_ACQUIRE) == XENSTORE_RING_SIZE
			    : *at == __atomic_load_n(other, __ATOMIC_ACQUIRE)) {
			assert_int_equal(write(events_to, &link->port, sizeof(link->port)), sizeof(link->port));
			ring_wait();
		}
		if (send)
			r->req[MASK_XENSTORE_IDX(*at)] = data[i];
		else
			data[i] = r->rsp[MASK_XENSTORE_IDX(*at)];
		/* Release: the byte before the index that tells of it. */
		__atomic_store_n(at, *at + 1, __ATOMIC_RELEASE);
	}
	assert_int_equal(write(events_to, &link->port, sizeof(link->port)), sizeof(link->port));
}

static void link_move(const struct oracle_link *link, bool send_it, void *data, size_t length)
{
	char *at = data;

	if (link->ring) {
		ring_move(link, send_it, at, length);
		return;
	}
	while (length) {
		ssize_t n = send_it ? send(link->fd, at, length, MSG_NOSIGNAL) : recv(link->fd, at, length, 0);

		if (n <= 0)
			fail_msg("connection ended or silent: %zd, %s", n, strerror(errno));
		at += n;
		length -= (size_t)n;
	}
}

void oracle_send(struct oracle_link *link, uint32_t type, uint32_t tx, const void *data, size_t length)
{
	char message[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX];
	struct xsd_sockmsg header = {.type = type, .req_id = 77, .tx_id = tx, .len = (uint32_t)length};

	assert_in_range(length, 0, XENSTORE_PAYLOAD_MAX);
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), data, length);
	link_move(link, true, message, sizeof(header) + length);
}

uint32_t oracle_recv(struct oracle_link *link, char *payload, size_t *length)
{
	struct xsd_sockmsg header;

	link_move(link, false, &header, sizeof(header));
	assert_in_range(header.len, 0, XENSTORE_PAYLOAD_MAX);
	link_move(link, false, payload, header.len);
	payload[header.len] = '\0';
	*length = header.len;
	return header.type;
}
