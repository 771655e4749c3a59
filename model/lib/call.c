/* SPDX-License-Identifier: MIT */
/* libxencall on the model: enough for xc_interface_open(). There is no hypervisor to call: every call is ENOSYS. */
#include "model/lib/ctx.h"

#include <fcntl.h>
#include <unistd.h>

#include <xencall.h>

struct xencall_handle {
	struct gm_ctx ctx;
	int fd;
};

static int call_restrict(struct Xentoolcore__Active_Handle *active, domid_t domid)
{
	(void)active, (void)domid;
	return 0; /* there is nothing that it could do */
}

/* /dev/null stands for privcmd, since callers may put the descriptor into a poll set or set flags on it. */
xencall_handle *xencall_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	xencall_handle *xcall;

	(void)logger, (void)open_flags;
	xcall = gm_ctx_open("xencall", sizeof(*xcall), call_restrict);
	if (xcall)
		xcall->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return xcall;
}

int xencall_close(xencall_handle *xcall)
{
	if (!xcall)
		return 0;
	if (xcall->fd >= 0)
		close(xcall->fd);
	gm_ctx_close(&xcall->ctx);
	return 0;
}

int xencall_fd(xencall_handle *xcall)
{
	return xcall->fd;
}

/* ENOSYS is what a hypervisor says that does not know the call; callers of libxenctrl report it as such. */
int xencall0(xencall_handle *xcall, unsigned int op)
{
	(void)xcall, (void)op;
	return gm_ret(-ENOSYS);
}

int xencall1(xencall_handle *xcall, unsigned int op, uint64_t arg1)
{
	(void)arg1;
	return xencall0(xcall, op);
}

int xencall2(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2)
{
	(void)arg1, (void)arg2;
	return xencall0(xcall, op);
}

int xencall3(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3)
{
	(void)arg1, (void)arg2, (void)arg3;
	return xencall0(xcall, op);
}

int xencall4(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3, uint64_t arg4)
{
	(void)arg1, (void)arg2, (void)arg3, (void)arg4;
	return xencall0(xcall, op);
}

int xencall5(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2, uint64_t arg3, uint64_t arg4,
	     uint64_t arg5)
{
	(void)arg1, (void)arg2, (void)arg3, (void)arg4, (void)arg5;
	return xencall0(xcall, op);
}

long xencall2L(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2)
{
	return xencall2(xcall, op, arg1, arg2);
}

/* Buffers are ordinary memory: nobody pins them, because no hypervisor reads them. */
void *xencall_alloc_buffer_pages(xencall_handle *xcall, size_t nr_pages)
{
	(void)xcall;
	return aligned_alloc(GM_PAGE_SIZE, nr_pages * GM_PAGE_SIZE);
}

void xencall_free_buffer_pages(xencall_handle *xcall, void *p, size_t nr_pages)
{
	(void)xcall, (void)nr_pages;
	free(p);
}

void *xencall_alloc_buffer(xencall_handle *xcall, size_t size)
{
	return xencall_alloc_buffer_pages(xcall, (size + GM_PAGE_SIZE - 1) / GM_PAGE_SIZE);
}

void xencall_free_buffer(xencall_handle *xcall, void *p)
{
	(void)xcall;
	free(p);
}

int xencall_buffers_never_fault(xencall_handle *xcall)
{
	(void)xcall;
	return 1;
}
