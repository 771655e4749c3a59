/* SPDX-License-Identifier: MIT */
#include "model.h"

#include "guest/os/xen/xen.h"
#include "guest/os/model.h"
#include "guest/os/ports.h"
#include "model/guest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINES 1020u

static struct {
	struct gm_guest *guest;
	struct gio_os *os;
	FILE *console;
	int store;
	bool raised[LINES]; /* interrupt lines: noted, and not taken */
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
		err = self.store = store_connect(dir, domid);
	return err < 0 ? err : 0;
}

void guest_model_close(void)
{
	close(self.store);
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
	uint32_t port;
	int err = gio_os_ports_bind(gio_os_model_ports(self.os), remote, &port);

	return err ? err : (int)port;
}

int gio_xen_port_close(uint32_t port)
{
	int err = gio_os_ports_close(gio_os_model_ports(self.os), port);

	return err == -ENOTCONN ? -EINVAL : err; /* that it is not the handle's is Linux's word for it */
}

int gio_xen_port_send(uint32_t port)
{
	return gio_os_ports_send(gio_os_model_ports(self.os), port);
}

/* A port is masked until it is noted: what came meanwhile is noted anew, and is one event with this. */
bool gio_xen_port_take(uint32_t port)
{
	bool was = false;

	while (gio_os_ports_wait(gio_os_model_ports(self.os), port, 0))
		was = true;
	return was;
}

int gio_xen_port_wait(uint32_t port, unsigned ms)
{
	return gio_xen_ports_wait(&port, 1, ms);
}

int gio_xen_ports_wait(const uint32_t *ports, unsigned count, unsigned ms)
{
	return gio_os_ports_look(gio_os_model_ports(self.os), ports, count, (int)ms) ? 0 : -GIO_EAGAIN;
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
