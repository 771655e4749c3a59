/* SPDX-License-Identifier: MIT */
/* Which ioreq servers of a guest are ours: what Xen says to the question is played here, by the linker's --wrap. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <xendevicemodel.h>

#include "backend/xen/ioreq.h"

#define SERVERS 32 /* numbers that are asked for: more than Xen has for a domain (8) */

static struct {
	int err[SERVERS];		 /* what Xen says about each server */
	evtchn_port_t buffered[SERVERS]; /* and the port for its buffered requests */
	bool open;
} xen;

xendevicemodel_handle *__wrap_xendevicemodel_open(struct xentoollog_logger *logger, unsigned flags);
xendevicemodel_handle *__wrap_xendevicemodel_open(struct xentoollog_logger *logger, unsigned flags)
{
	(void)logger, (void)flags;
	xen.open = true;
	return (xendevicemodel_handle *)&xen;
}

int __wrap_xendevicemodel_close(xendevicemodel_handle *dmod);
int __wrap_xendevicemodel_close(xendevicemodel_handle *dmod)
{
	assert_ptr_equal(dmod, &xen);
	xen.open = false;
	return 0;
}

int __wrap_xendevicemodel_get_ioreq_server_info(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
						xen_pfn_t *ioreq_gfn, xen_pfn_t *bufioreq_gfn, evtchn_port_t *port);
int __wrap_xendevicemodel_get_ioreq_server_info(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
						xen_pfn_t *ioreq_gfn, xen_pfn_t *bufioreq_gfn, evtchn_port_t *port)
{
	assert_true(dmod && domid == 7 && id < SERVERS && !ioreq_gfn && !bufioreq_gfn);
	*port = xen.buffered[id];
	errno = xen.err[id];
	return xen.err[id] ? -1 : 0;
}

static int setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SERVERS; i++)
		xen.err[i] = ENOENT;
	return 0;
}

static void what_xen_denies_is_another_domains(void **state)
{
	uint32_t servers = 0;

	(void)state;
	xen.err[0] = xen.err[3] = xen.err[4] = 0;
	xen.err[1] = EPERM;
	xen.buffered[4] = 9; /* as QEMU's has */
	assert_int_equal(gd_ioreq_servers(7, &servers), 0);
	assert_int_equal(servers, 1u << 0 | 1u << 3);
	assert_false(xen.open);
}

/* Else a server in use would be taken for nobody's by the note that is made of this, and taken over by a successor. */
static void any_other_error_is_no_answer(void **state)
{
	static const int errors[] = {ENOMEM, EINTR, EACCES, ESRCH};
	uint32_t servers = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		xen.err[2] = errors[i];
		assert_int_equal(gd_ioreq_servers(7, &servers), -errors[i]);
		assert_false(xen.open);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_xen_denies_is_another_domains, setup),
		cmocka_unit_test_setup(any_other_error_is_no_answer, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
