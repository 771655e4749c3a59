/* SPDX-License-Identifier: MIT */
/*
 * What a domain may do to another, beyond what that one granted: tries each call that is named, as any program with
 * root's rights in its own domain can, and says what became of it.
 * Usage: reach DOMID CALL...; prints a line each, "CALL allowed" or "CALL refused: ERROR". Exit status: how many were
 * allowed; 100 for a usage error or where there is no Xen.
 *
 * What was allowed is undone where that is possible; `destroy` is what it says.
 */
#define XC_WANT_COMPAT_DEVICEMODEL_API
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>

#define PAGE 4096
#define RAM  0x40000u /* the first frame of an Arm guest's memory */

static xc_interface *xc;
static xenforeignmemory_handle *memory;
static xendevicemodel_handle *devicemodel;

/* Each: 0 where Xen did it, or -1 with errno. */
static int try_frame(uint32_t domid)
{
	const xen_pfn_t frame = RAM;
	int error = 0;
	void *page = xenforeignmemory_map(memory, domid, PROT_READ, 1, &frame, &error);

	/* A mapping of nothing but a page that could not be had is one, too. */
	if (page && !error)
		return 0;
	errno = error ? -error : errno;
	return -1;
}

static int try_resource(uint32_t domid, unsigned type, unsigned id)
{
	void *address = NULL;

	return xenforeignmemory_map_resource(memory, domid, type, id, 0, 1, &address, PROT_READ | PROT_WRITE, 0) ? 0
														 : -1;
}

static int try_table(uint32_t domid)
{
	return try_resource(domid, XENMEM_resource_grant_table, XENMEM_resource_grant_table_id_shared);
}

static int try_pause(uint32_t domid)
{
	int ret = xc_domain_pause(xc, domid);

	if (!ret)
		xc_domain_unpause(xc, domid);
	return ret;
}

static int try_destroy(uint32_t domid)
{
	return xc_domain_destroy(xc, domid);
}

static int try_info(uint32_t domid)
{
	xc_domaininfo_t info;

	return xc_domain_getinfo_single(xc, domid, &info);
}

static int try_maxmem(uint32_t domid)
{
	return xc_domain_setmaxmem(xc, domid, 64 * 1024);
}

static int try_vcpu(uint32_t domid)
{
	vcpu_guest_context_any_t context;

	return xc_vcpu_getcontext(xc, domid, 0, &context);
}

static int try_param(uint32_t domid)
{
	uint64_t value;

	return xc_hvm_param_get(xc, domid, HVM_PARAM_STORE_PFN, &value);
}

static int try_server(uint32_t domid)
{
	ioservid_t id;

	if (xendevicemodel_create_ioreq_server(devicemodel, (domid_t)domid, HVM_IOREQSRV_BUFIOREQ_OFF, &id))
		return -1;
	xendevicemodel_destroy_ioreq_server(devicemodel, (domid_t)domid, id);
	return 0;
}

static int try_interrupt(uint32_t domid)
{
	return xendevicemodel_set_irq_level(devicemodel, (domid_t)domid, 40, 0);
}

static const struct call {
	const char *name;
	int (*call)(uint32_t domid);
} calls[] = {
	{"frame", try_frame},				  /* map its memory */
	{"table", try_table},				  /* map its grant table */
	{"pause", try_pause},				  /* stop it for a while */
	{"destroy", try_destroy},     {"info", try_info}, /* its memory, state, handle */
	{"maxmem", try_maxmem},	      {"vcpu", try_vcpu}, /* its registers */
	{"param", try_param},				  /* where its store ring is */
	{"server", try_server},				  /* be device model for it */
	{"interrupt", try_interrupt},
};

static int try_one(const char *name, uint32_t domid)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		if (strcmp(calls[i].name, name))
			continue;
		errno = 0;
		if (!calls[i].call(domid)) {
			printf("%s allowed\n", name);
			return 1;
		}
		printf("%s refused: %s\n", name, strerror(errno));
		return 0;
	}
	fprintf(stderr, "reach: no call '%s'\n", name);
	return 100;
}

int main(int argc, char **argv)
{
	int allowed = 0;

	if (argc < 3)
		return 100;
	xc = xc_interface_open(NULL, NULL, 0);
	memory = xenforeignmemory_open(NULL, 0);
	devicemodel = xendevicemodel_open(NULL, 0);
	if (!xc || !memory || !devicemodel) {
		fprintf(stderr, "reach: cannot open Xen's interfaces: %s\n", strerror(errno));
		return 100;
	}
	for (int i = 2; i < argc; i++)
		allowed += try_one(argv[i], (uint32_t)strtoul(argv[1], NULL, 10));
	return allowed < 100 ? allowed : 100;
}
