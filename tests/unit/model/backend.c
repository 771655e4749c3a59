/* SPDX-License-Identifier: MIT */
/*
 * A backend that was never written for the model: linked to Xen's own libraries, it is run with the model's preloaded.
 * `backend DOMID REF`: serves 0x02000000..+0x200 until an access writes 0xdead, then restricts itself and leaves.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xentoolcore.h>
#include <xen/hvm/ioreq.h>
#include <xen/memory.h>

/* Exit with the line's number: the test prints it. */
#define CHECK(what)                                                                               \
	do {                                                                                      \
		if (!(what)) {                                                                    \
			fprintf(stderr, "backend.c:%d: %s (errno %d)\n", __LINE__, #what, errno); \
			exit(1);                                                                  \
		}                                                                                 \
	} while (0)

static xenevtchn_handle *xce;
static xenforeignmemory_handle *fmem;
static xendevicemodel_handle *dmod;
static xengnttab_handle *xgt;
static struct ioreq *page;
static unsigned vcpus;
static int ports[32];

static void use_grant(uint16_t domid, uint32_t ref)
{
	char text[6] = "";
	xengnttab_grant_copy_segment_t seg = {.flags = GNTCOPY_source_gref, .len = 5};
	char *p = xengnttab_map_grant_ref(xgt, domid, ref, PROT_READ | PROT_WRITE);

	CHECK(p && !memcmp(p, "guest", 5));
	memcpy(p + 16, "backend", 8);
	CHECK(!xengnttab_unmap(xgt, p, 1));
	seg.source.foreign.ref = ref;
	seg.source.foreign.domid = domid;
	seg.dest.virt = text;
	CHECK(!xengnttab_grant_copy(xgt, 1, &seg) && seg.status == GNTST_okay && !strcmp(text, "guest"));
	CHECK(!xengnttab_map_grant_ref(xgt, domid, ref + 1, PROT_READ) && errno == EINVAL);
}

static void serve_start(uint16_t domid)
{
	void *addr = NULL;
	ioservid_t id;

	CHECK(!xendevicemodel_nr_vcpus(dmod, domid, &vcpus) && vcpus <= 32);
	CHECK(!xendevicemodel_create_ioreq_server(dmod, domid, HVM_IOREQSRV_BUFIOREQ_OFF, &id));
	CHECK(xenforeignmemory_map_resource(fmem, domid, XENMEM_resource_ioreq_server, id, 1, 1, &addr,
					    PROT_READ | PROT_WRITE, 0));
	page = addr;
	CHECK(!xendevicemodel_set_ioreq_server_state(dmod, domid, id, 1));
	for (unsigned i = 0; i < vcpus; i++)
		CHECK((ports[i] = xenevtchn_bind_interdomain(xce, domid, page[i].vp_eport)) > 0);
	CHECK(!xendevicemodel_map_io_range_to_ioreq_server(dmod, domid, id, 1, 0x02000000, 0x020001ff));
}

/* Answer what is there; true when told to stop. */
static int serve_one(void)
{
	int port = xenevtchn_pending(xce), stop = 0;

	for (unsigned i = 0; i < vcpus; i++) {
		struct ioreq *p = &page[i];

		if (port != ports[i])
			continue;
		CHECK(!xenevtchn_unmask(xce, (unsigned)port));
		if (p->state != STATE_IOREQ_READY)
			continue;
		__sync_synchronize();
		p->state = STATE_IOREQ_INPROCESS;
		if (p->dir == IOREQ_READ)
			p->data = p->addr ^ 0x5555;
		else
			stop = p->data == 0xdead;
		__sync_synchronize();
		p->state = STATE_IORESP_READY;
		CHECK(!xenevtchn_notify(xce, (unsigned)port));
	}
	return stop;
}

/* After xentoolcore_restrict_all, handles do what Xen's own do: gnttab nothing, the others this domain only. */
static void restrict_all(uint16_t domid, uint32_t ref)
{
	unsigned n;

	CHECK(!xentoolcore_restrict_all(domid));
	CHECK(!xengnttab_map_grant_ref(xgt, domid, ref, PROT_READ) && errno == ENOTTY);
	CHECK(!xendevicemodel_nr_vcpus(dmod, domid, &n));
	CHECK(xendevicemodel_nr_vcpus(dmod, (domid_t)(domid + 1), &n) && errno == EPERM);
	CHECK(xenevtchn_bind_unbound_port(xce, domid + 1u) == -1 && errno == EACCES);
	CHECK(xenevtchn_bind_unbound_port(xce, domid) > 0);
}

int main(int argc, char **argv)
{
	uint16_t domid = argc > 2 ? (uint16_t)atoi(argv[1]) : 0;
	uint32_t ref = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
	xc_interface *xch = xc_interface_open(NULL, NULL, 0);
	struct pollfd pfd;

	xce = xenevtchn_open(NULL, 0);
	fmem = xenforeignmemory_open(NULL, 0);
	dmod = xendevicemodel_open(NULL, 0);
	xgt = xengnttab_open(NULL, 0);
	if (!xch || !xce || !fmem || !dmod || !xgt)
		return 77; /* no Xen here */
	use_grant(domid, ref);
	serve_start(domid);
	printf("ready\n");
	fflush(stdout);
	pfd = (struct pollfd){.fd = xenevtchn_fd(xce), .events = POLLIN};
	do
		CHECK(poll(&pfd, 1, 60000) == 1);
	while (!serve_one());
	restrict_all(domid, ref);
	xc_interface_close(xch);
	return 0;
}
