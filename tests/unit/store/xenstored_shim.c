/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into Debian's xenstored, so that it runs without Xen: what it asks of the hypervisor are files of
 * XENSTORED_RUNDIR. A domain is there when the file ring.DOMID is, which is its ring; event channels are a pipe of port
 * numbers in each direction (to-xenstored, from-xenstored); xsd_port and xsd_kva stand for those of /proc/xen.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE	  4096u
#define VIRQ_PORT 1000 /* nothing is ever raised there */

static int files[2]; /* events: in, out */

static int file_open(const char *name, int flags)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", getenv("XENSTORED_RUNDIR"), name);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

/* Only Xen's files are others than they are called. */
static int open_any(const char *path, int flags, mode_t mode)
{
	if (strncmp(path, "/proc/xen/", 10) == 0)
		return file_open(path + 10, flags & O_ACCMODE);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return open_any(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return open_any(path, flags, mode);
}

static void *ring_map(uint32_t domid)
{
	char name[32];
	void *ring;
	int fd;

	snprintf(name, sizeof(name), "ring.%u", domid);
	fd = file_open(name, O_RDWR);
	if (fd < 0)
		return NULL;
	ring = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return ring == MAP_FAILED ? NULL : ring;
}

static bool domain_known(uint32_t domid)
{
	void *ring = ring_map(domid);

	if (ring)
		munmap(ring, PAGE);
	return ring || !domid;
}

/* ---- libxenctrl: which domains there are (the first words of either release's structure) ---- */

void *xc_interface_open(void *logger, void *dombuild_logger, unsigned flags);
int xc_interface_close(void *xch);
int xc_domain_getinfo(void *xch, uint32_t first, unsigned most, uint32_t *info);
int xc_domain_getinfo_single(void *xch, uint32_t domid, uint32_t *info);

void *xc_interface_open(void *logger, void *dombuild_logger, unsigned flags)
{
	(void)logger, (void)dombuild_logger, (void)flags;
	return files;
}

int xc_interface_close(void *xch)
{
	(void)xch;
	return 0;
}

int xc_domain_getinfo(void *xch, uint32_t first, unsigned most, uint32_t *info)
{
	(void)xch, (void)most;
	memset(info, 0, 3 * sizeof(*info)); /* domid, ssidref, and that it neither dies nor has crashed */
	*info = first;
	return domain_known(first) ? 1 : 0;
}

int xc_domain_getinfo_single(void *xch, uint32_t domid, uint32_t *info)
{
	(void)xch;
	memset(info, 0, 2 * sizeof(*info));
	*info = domid;
	if (domain_known(domid))
		return 0;
	errno = ESRCH;
	return -1;
}

/* ---- libxengnttab: a domain's ring ---- */

void *xengnttab_open(void *logger, unsigned flags);
int xengnttab_close(void *xgt);
int xengnttab_set_max_grants(void *xgt, uint32_t grants);
void *xengnttab_map_grant_ref(void *xgt, uint32_t domid, uint32_t ref, int prot);
int xengnttab_unmap(void *xgt, void *address, uint32_t count);

void *xengnttab_open(void *logger, unsigned flags)
{
	(void)logger, (void)flags;
	return files;
}

int xengnttab_close(void *xgt)
{
	(void)xgt;
	return 0;
}

int xengnttab_set_max_grants(void *xgt, uint32_t grants)
{
	(void)xgt, (void)grants;
	return 0;
}

void *xengnttab_map_grant_ref(void *xgt, uint32_t domid, uint32_t ref, int prot)
{
	(void)xgt, (void)ref, (void)prot;
	return ring_map(domid);
}

int xengnttab_unmap(void *xgt, void *address, uint32_t count)
{
	(void)xgt;
	return munmap(address, count * PAGE);
}

/* ---- libxenevtchn: ports are what the other end calls them ---- */

void *xenevtchn_open(void *logger, unsigned flags);
int xenevtchn_fd(void *xce);
int xenevtchn_bind_interdomain(void *xce, uint32_t domid, uint32_t port);
int xenevtchn_bind_virq(void *xce, unsigned virq);
int xenevtchn_notify(void *xce, uint32_t port);
int xenevtchn_pending(void *xce);
int xenevtchn_unmask(void *xce, uint32_t port);
int xenevtchn_unbind(void *xce, uint32_t port);

void *xenevtchn_open(void *logger, unsigned flags)
{
	(void)logger, (void)flags;
	files[0] = file_open("to-xenstored", O_RDWR | O_NONBLOCK);
	files[1] = file_open("from-xenstored", O_RDWR | O_NONBLOCK);
	return files[0] < 0 || files[1] < 0 ? NULL : files;
}

int xenevtchn_fd(void *xce)
{
	(void)xce;
	return files[0];
}

int xenevtchn_bind_interdomain(void *xce, uint32_t domid, uint32_t port)
{
	(void)xce, (void)domid;
	return (int)port;
}

int xenevtchn_bind_virq(void *xce, unsigned virq)
{
	(void)xce, (void)virq;
	return VIRQ_PORT;
}

int xenevtchn_notify(void *xce, uint32_t port)
{
	(void)xce;
	/* A full pipe is as good as another event: its reader looks at the rings. */
	return write(files[1], &port, sizeof(port)) == (ssize_t)sizeof(port) || errno == EAGAIN ? 0 : -1;
}

int xenevtchn_pending(void *xce)
{
	uint32_t port;

	(void)xce;
	return read(files[0], &port, sizeof(port)) == (ssize_t)sizeof(port) ? (int)port : -1;
}

int xenevtchn_unmask(void *xce, uint32_t port)
{
	(void)xce, (void)port;
	return 0;
}

int xenevtchn_unbind(void *xce, uint32_t port)
{
	(void)xce, (void)port;
	return 0;
}
