/* SPDX-License-Identifier: MIT */
#include "model.h"

#include "guest/os/xen/xen.h"
#include "guest/os/model.h"
#include "model/guest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PORTS 1024u
#define LINES 1020u

static struct {
	struct gm_guest *guest;
	struct gio_os *os;
	FILE *console;
	int store;
	struct gm_guest_events *events;
	bool pending[PORTS]; /* arrived, not taken: the port is masked meanwhile */
	bool raised[LINES];  /* the same of interrupt lines */
} self;

static int store_connect(const char *dir, uint16_t domid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/store.%u", dir, domid);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int guest_model_open(const char *dir, uint16_t domid, FILE *console)
{
	int err;

	memset(&self, 0, sizeof(self));
	self.console = console;
	err = gm_guest_open(&self.guest, dir, domid);
	if (err)
		return err;
	err = gio_os_model_open(&self.os, self.guest);
	if (!err)
		err = gm_guest_events_open(&self.events, dir, domid);
	if (!err)
		err = self.store = store_connect(dir, domid);
	return err < 0 ? err : 0;
}

void guest_model_close(void)
{
	close(self.store);
	gm_guest_events_close(self.events);
	gio_os_model_close(self.os);
	gm_guest_close(self.guest);
}

struct gio_os *gio_xen_os(void)
{
	return self.os;
}

size_t gio_xen_pages_used(void)
{
	return gio_os_model_pages_used(self.os);
}

void gio_xen_console_write(const char *text, size_t bytes)
{
	fwrite(text, 1, bytes, self.console);
}

uint64_t gio_xen_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- event channels --------------------------------------------------------------------------------------------- */

int gio_xen_port_open(gio_domid_t remote)
{
	return gm_guest_port_open(self.events, remote);
}

int gio_xen_port_close(uint32_t port)
{
	int err = gm_guest_port_close(self.events, port);

	if (!err)
		self.pending[port] = false;
	return err == -ENOTCONN ? -EINVAL : err; /* that it is not the handle's is Linux's word for it */
}

int gio_xen_port_send(uint32_t port)
{
	return gm_guest_port_send(self.events, port);
}

static void events_gather(int ms)
{
	struct pollfd fd = {.fd = gm_guest_events_fd(self.events), .events = POLLIN};
	uint32_t port;

	for (; poll(&fd, 1, ms) > 0; ms = 0)
		if (read(fd.fd, &port, sizeof(port)) == sizeof(port) && port < PORTS)
			self.pending[port] = true;
}

/* A port is masked from its delivery on: unmasking may deliver what came meanwhile, which is one event with this. */
bool gio_xen_port_take(uint32_t port)
{
	bool was = false;

	for (events_gather(0); port < PORTS && self.pending[port]; events_gather(0)) {
		was = true;
		self.pending[port] = false;
		gm_guest_port_unmask(self.events, port);
	}
	return was;
}

int gio_xen_port_wait(uint32_t port, unsigned ms)
{
	uint64_t end = gio_xen_now_ms() + ms, now;

	events_gather(0);
	while (!self.pending[port]) {
		now = gio_xen_now_ms();
		if (now >= end)
			return -GIO_EAGAIN;
		events_gather((int)(end - now));
	}
	return 0;
}

/* ---- interrupt lines -------------------------------------------------------------------------------------------- */

int gio_xen_irq_open(unsigned irq)
{
	return irq >= 32 && irq < LINES ? 0 : -GIO_EOPNOTSUPP;
}

void gio_xen_irq_close(unsigned irq)
{
	gio_xen_irq_take(irq);
}

bool gio_xen_irq_take(unsigned irq)
{
	bool was = !gio_xen_irq_wait(irq, 0);

	self.raised[irq] = false;
	return was;
}

int gio_xen_irq_wait(unsigned irq, unsigned ms)
{
	if (!self.raised[irq])
		self.raised[irq] = !gm_guest_irq_wait(self.guest, irq, (int)ms);
	return self.raised[irq] ? 0 : -GIO_EAGAIN;
}

/* ---- devices and xenstore --------------------------------------------------------------------------------------- */

uint64_t gio_xen_mmio_read(uint64_t addr, unsigned size)
{
	uint64_t value = UINT64_MAX;

	return gm_guest_mmio(self.guest, addr, size, false, &value, -1) ? UINT64_MAX : value;
}

void gio_xen_mmio_write(uint64_t addr, unsigned size, uint64_t value)
{
	(void)gm_guest_mmio(self.guest, addr, size, true, &value, -1);
}

int gio_xen_store_send(const void *data, size_t bytes, unsigned ms)
{
	(void)ms; /* the store reads all the time */
	return send(self.store, data, bytes, MSG_NOSIGNAL) == (ssize_t)bytes ? 0 : -GIO_EAGAIN;
}

int gio_xen_store_receive(void *data, size_t bytes, unsigned ms)
{
	struct pollfd fd = {.fd = self.store, .events = POLLIN};
	ssize_t got = poll(&fd, 1, (int)ms) > 0 ? recv(self.store, data, bytes, 0) : 0;

	return got > 0 ? (int)got : -GIO_EAGAIN;
}
