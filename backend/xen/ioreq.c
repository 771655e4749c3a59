/* SPDX-License-Identifier: MIT */
#include "backend/base/error.h"
#include "backend/xen/ioreq.h"
#include "backend/xen/restrict.h"

#include <grantio/types.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/memory.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>

#define VCPUS_MAX      4096u /* of any guest: a bound for the number that Xen tells us */
#define SERVERS	       16u   /* that are looked at; Xen has 8 of a guest (MAX_NR_IOREQ_SERVERS) */
#define NOTIFY_RETRIES 3
#define EVENT_FAILURES 16 /* in a row, before the event channel is given up */
#define STACK_BYTES    (256u * 1024)

struct gd_ioreq {
	uint16_t domid;
	struct gd_log *log;
	struct gd_bus *bus;
	xenevtchn_handle *evtchn;
	xenforeignmemory_handle *memory;
	xendevicemodel_handle *devicemodel;
	ioservid_t id;
	bool adopted;
	unsigned vcpus;
	xenforeignmemory_resource_handle *resource;
	struct ioreq *slots;  /* one for each vCPU */
	evtchn_port_t *ports; /* ours, the other ends of the slots' vp_eport; `bound` of them */
	unsigned bound;
	bool *left;    /* for each vCPU: a former process may have left its request half done */
	int wake;      /* an eventfd: look again at all slots, or stop if: */
	bool stopping; /* atomic */
	bool running;
	pthread_t thread;
	uint64_t answered; /* atomic */
};

/* Tell a vCPU that its answer is there. It is tried again if it fails, as otherwise the vCPU waits for ever. */
static void vcpu_notify(struct gd_ioreq *ioreq, unsigned vcpu)
{
	for (unsigned i = 0; i < NOTIFY_RETRIES; i++)
		if (!xenevtchn_notify(ioreq->evtchn, ioreq->ports[vcpu]))
			return;
	gd_log_guest(ioreq->log, GD_ERR, "vcpu %u: cannot notify it of its answer: %s", vcpu, strerror(errno));
}

/* Look at every slot, whichever event came: one event may stand for several requests. */
static void scan(struct gd_ioreq *ioreq)
{
	for (unsigned vcpu = 0; vcpu < ioreq->bound; vcpu++)
		if (gd_ioreq_slot(&ioreq->slots[vcpu], ioreq->bus, &ioreq->left[vcpu])) {
			__atomic_fetch_add(&ioreq->answered, 1, __ATOMIC_RELAXED);
			vcpu_notify(ioreq, vcpu);
		}
}

/*
 * Consume one event, then let the next one in. Both are done before the scan, so that a request which comes after its
 * slot was looked at raises a new event. False: the channel failed.
 */
static bool event_consume(struct gd_ioreq *ioreq)
{
	xenevtchn_port_or_error_t port = xenevtchn_pending(ioreq->evtchn);

	if (port < 0)
		return errno == EINTR || errno == EAGAIN;
	return !xenevtchn_unmask(ioreq->evtchn, (evtchn_port_t)port);
}

/* Another thread woke us. This is read before the scan, so that a later wake-up is not lost. */
static void wake_consume(struct gd_ioreq *ioreq)
{
	uint64_t count;

	if (read(ioreq->wake, &count, sizeof(count)) < 0)
		gd_log(ioreq->log, GD_DEBUG, "nothing woke us: %s",
		       strerror(errno)); /* cannot happen: poll() said that there is something */
}

static void *answer_thread(void *opaque)
{
	struct gd_ioreq *ioreq = opaque;
	struct pollfd fds[] = {{.fd = xenevtchn_fd(ioreq->evtchn), .events = POLLIN},
			       {.fd = ioreq->wake, .events = POLLIN}};
	unsigned failures = 0;

	while (!__atomic_load_n(&ioreq->stopping, __ATOMIC_ACQUIRE)) {
		scan(ioreq);
		if (poll(fds, 2, -1) < 0)
			continue; /* EINTR: it cannot fail for another reason */
		if (fds[1].revents)
			wake_consume(ioreq);
		if (fds[0].revents)
			failures = event_consume(ioreq) ? 0 : failures + 1;
		if (failures == EVENT_FAILURES) {
			gd_log(ioreq->log, GD_ERR,
			       "event channel failed: %s; the guest's accesses are not answered any more",
			       strerror(errno));
			fds[0].fd = -1; /* ignored by poll */
			failures = 0;
		}
	}
	return NULL;
}

static int server_find(struct gd_ioreq *ioreq, const struct gd_ioreq_config *config)
{
	for (unsigned i = 0; i < config->adopts; i++) {
		ioreq->id = config->adopt[i];
		ioreq->adopted = gd_ioreq_alive(ioreq);
		if (ioreq->adopted) {
			gd_log(ioreq->log, GD_NOTICE, "taking over ioreq server %u of a former grantiod", ioreq->id);
			return 0;
		}
	}
	return xendevicemodel_create_ioreq_server(ioreq->devicemodel, ioreq->domid, HVM_IOREQSRV_BUFIOREQ_OFF,
						  &ioreq->id)
		       ? gd_errno_or(EIO)
		       : 0;
}

/* Bind the channel of each vCPU. Xen writes its end into the slot when the server is enabled, and not before. */
static int ports_bind(struct gd_ioreq *ioreq)
{
	ioreq->ports = calloc(ioreq->vcpus, sizeof(*ioreq->ports));
	ioreq->left = calloc(ioreq->vcpus, sizeof(*ioreq->left));
	if (!ioreq->ports || !ioreq->left)
		return -ENOMEM;
	memset(ioreq->left, ioreq->adopted, ioreq->vcpus * sizeof(*ioreq->left));
	for (; ioreq->bound < ioreq->vcpus; ioreq->bound++) {
		uint32_t remote = __atomic_load_n(&ioreq->slots[ioreq->bound].vp_eport, __ATOMIC_RELAXED);
		xenevtchn_port_or_error_t port = xenevtchn_bind_interdomain(ioreq->evtchn, ioreq->domid, remote);

		if (port < 0)
			return gd_errno_or(EIO);
		ioreq->ports[ioreq->bound] = (evtchn_port_t)port;
	}
	return 0;
}

static void ports_unbind(struct gd_ioreq *ioreq)
{
	while (ioreq->bound)
		xenevtchn_unbind(ioreq->evtchn, ioreq->ports[--ioreq->bound]);
	free(ioreq->ports);
	free(ioreq->left);
	ioreq->ports = NULL;
	ioreq->left = NULL;
}

static int slots_map(struct gd_ioreq *ioreq)
{
	size_t frames = (ioreq->vcpus * sizeof(struct ioreq) + GIO_PAGE_SIZE - 1) / GIO_PAGE_SIZE;
	void *address = NULL;

	ioreq->resource = xenforeignmemory_map_resource(ioreq->memory, ioreq->domid, XENMEM_resource_ioreq_server,
							ioreq->id, XENMEM_resource_ioreq_server_frame_ioreq(0), frames,
							&address, PROT_READ | PROT_WRITE, 0);
	if (!ioreq->resource)
		return gd_errno_or(EIO);
	ioreq->slots = address;
	return 0;
}

static void handles_close(struct gd_ioreq *ioreq)
{
	if (ioreq->wake >= 0)
		close(ioreq->wake);
	if (ioreq->devicemodel)
		xendevicemodel_close(ioreq->devicemodel);
	if (ioreq->memory)
		xenforeignmemory_close(ioreq->memory);
	if (ioreq->evtchn)
		xenevtchn_close(ioreq->evtchn);
}

/* Open the handles. Each is restricted to this guest where the system can do that. */
static int handles_open(struct gd_ioreq *ioreq)
{
	errno = 0;
	ioreq->wake = eventfd(0, EFD_CLOEXEC);
	ioreq->evtchn = ioreq->wake < 0 ? NULL : xenevtchn_open(NULL, 0);
	ioreq->memory = !ioreq->evtchn ? NULL : xenforeignmemory_open(NULL, 0);
	ioreq->devicemodel = !ioreq->memory ? NULL : xendevicemodel_open(NULL, 0);
	if (!ioreq->devicemodel) {
		int err = gd_errno_or(EIO);

		handles_close(ioreq);
		return err;
	}
	gd_restrict_note(GD_RESTRICT_EVTCHN, xenevtchn_restrict(ioreq->evtchn, ioreq->domid));
	gd_restrict_note(GD_RESTRICT_FOREIGNMEMORY, xenforeignmemory_restrict(ioreq->memory, ioreq->domid));
	gd_restrict_note(GD_RESTRICT_DEVICEMODEL, xendevicemodel_restrict(ioreq->devicemodel, ioreq->domid));
	return 0;
}

static int vcpus_count(struct gd_ioreq *ioreq)
{
	if (xendevicemodel_nr_vcpus(ioreq->devicemodel, ioreq->domid, &ioreq->vcpus))
		return gd_errno_or(EIO);
	return ioreq->vcpus && ioreq->vcpus <= VCPUS_MAX ? 0 : -ERANGE;
}

static int server_enable(struct gd_ioreq *ioreq, bool enable)
{
	return xendevicemodel_set_ioreq_server_state(ioreq->devicemodel, ioreq->domid, ioreq->id, enable)
		       ? gd_errno_or(EIO)
		       : 0;
}

static void server_destroy(struct gd_ioreq *ioreq)
{
	/* This fails when the guest has gone, and the server with it. */
	if (xendevicemodel_destroy_ioreq_server(ioreq->devicemodel, ioreq->domid, ioreq->id))
		gd_log(ioreq->log, GD_DEBUG, "ioreq server %u: not destroyed: %s", ioreq->id, strerror(errno));
}

/*
 * Whether there is an ioreq server of that number, and it is ours: 1 or 0. Xen does not let a domain ask for the state
 * of another domain's server (-EPERM). Any other error, which may pass, says nothing about the server: -errno.
 */
static int server_ours(xendevicemodel_handle *devicemodel, uint16_t domid, ioservid_t id)
{
	evtchn_port_t buffered = 0;

	errno = 0;
	if (!xendevicemodel_get_ioreq_server_info(devicemodel, domid, id, NULL, NULL, &buffered))
		return !buffered;
	return errno == ENOENT || errno == EPERM ? 0 : gd_errno_or(EIO);
}

int gd_ioreq_servers(uint16_t domid, uint32_t *servers)
{
	xendevicemodel_handle *devicemodel;
	int ours = 0;

	errno = 0;
	devicemodel = xendevicemodel_open(NULL, 0);
	if (!devicemodel)
		return gd_errno_or(EIO);
	*servers = 0;
	for (ioservid_t id = 0; ours >= 0 && id < SERVERS; id++) {
		ours = server_ours(devicemodel, domid, id);
		if (ours > 0)
			*servers |= 1u << id;
	}
	xendevicemodel_close(devicemodel);
	return ours < 0 ? ours : 0;
}

int gd_ioreq_open(struct gd_ioreq **out, const struct gd_ioreq_config *config, char *error, size_t size)
{
	struct gd_ioreq *ioreq = calloc(1, sizeof(*ioreq));
	const char *step = "opening the libraries' handles";
	int err = -ENOMEM;

	if (!ioreq)
		goto fail;
	*ioreq = (struct gd_ioreq){.domid = config->domid, .log = config->log, .bus = config->bus, .wake = -1};
	err = handles_open(ioreq);
	if (err)
		goto free_ioreq;
	step = "counting the vCPUs";
	err = vcpus_count(ioreq);
	if (err)
		goto close_handles;
	step = "making an ioreq server";
	err = server_find(ioreq, config);
	if (err)
		goto close_handles;
	step = "mapping the ioreq page";
	err = slots_map(ioreq); /* before it is enabled: vp_eport is filled in then */
	if (err)
		goto destroy_server;
	step = "enabling the ioreq server";
	err = server_enable(ioreq, true);
	if (err)
		goto unmap_slots;
	step = "binding the vCPUs' event channels";
	err = ports_bind(ioreq);
	if (err)
		goto disable_server;
	*out = ioreq;
	return 0;

disable_server:
	ports_unbind(ioreq);
	if (!ioreq->adopted)
		server_enable(ioreq, false);
unmap_slots:
	xenforeignmemory_unmap_resource(ioreq->memory, ioreq->resource);
destroy_server:
	if (!ioreq->adopted) /* the process that made an adopted one may be alive after all, and use it */
		server_destroy(ioreq);
close_handles:
	handles_close(ioreq);
free_ioreq:
	free(ioreq);
fail:
	snprintf(error, size, "%s: %s", step, strerror(-err));
	return err;
}

static int thread_create(struct gd_ioreq *ioreq)
{
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&ioreq->thread, &attr, answer_thread, ioreq);
	pthread_attr_destroy(&attr);
	return -err;
}

int gd_ioreq_start(struct gd_ioreq *ioreq)
{
	char name[16];
	int err;

	if (ioreq->running)
		return 0;
	err = thread_create(ioreq);
	if (err)
		return err;
	snprintf(name, sizeof(name), "d%u-ioreq", ioreq->domid);
	pthread_setname_np(ioreq->thread, name);
	ioreq->running = true;
	return 0;
}

void gd_ioreq_look(struct gd_ioreq *ioreq)
{
	uint64_t one = 1;

	if (write(ioreq->wake, &one, sizeof(one)) < 0)
		gd_log(ioreq->log, GD_ERR, "cannot wake its thread: %s",
		       strerror(errno)); /* cannot happen: the counter is far from 2^64 */
}

static void thread_stop(struct gd_ioreq *ioreq)
{
	if (!ioreq->running)
		return;
	__atomic_store_n(&ioreq->stopping, true, __ATOMIC_RELEASE);
	gd_ioreq_look(ioreq);
	pthread_join(ioreq->thread, NULL);
	ioreq->running = false;
}

void gd_ioreq_close(struct gd_ioreq *ioreq)
{
	if (!ioreq)
		return;
	thread_stop(ioreq);
	server_enable(ioreq, false);
	/* Answer requests that came after the thread's last look, and those that wait for a device. */
	gd_bus_unreserve(ioreq->bus);
	scan(ioreq);
	ports_unbind(ioreq);
	xenforeignmemory_unmap_resource(ioreq->memory, ioreq->resource);
	server_destroy(ioreq);
	handles_close(ioreq);
	free(ioreq);
}

bool gd_ioreq_adopted(const struct gd_ioreq *ioreq)
{
	return ioreq->adopted;
}

uint16_t gd_ioreq_id(const struct gd_ioreq *ioreq)
{
	return ioreq->id;
}

bool gd_ioreq_alive(struct gd_ioreq *ioreq)
{
	if (!xendevicemodel_get_ioreq_server_info(ioreq->devicemodel, ioreq->domid, ioreq->id, NULL, NULL, NULL))
		return true;
	/* The call could not be made, which says nothing about the guest: it keeps its disks. */
	return errno == ENOMEM || errno == EAGAIN || errno == EINTR;
}

int gd_ioreq_map(struct gd_ioreq *ioreq, uint64_t base, uint64_t size)
{
	if (!xendevicemodel_map_io_range_to_ioreq_server(ioreq->devicemodel, ioreq->domid, ioreq->id, 1, base,
							 base + size - 1))
		return 0;
	return ioreq->adopted && errno == EEXIST ? 0 : gd_errno_or(EIO);
}

void gd_ioreq_unmap(struct gd_ioreq *ioreq, uint64_t base, uint64_t size)
{
	/* This fails when the guest has gone. */
	xendevicemodel_unmap_io_range_from_ioreq_server(ioreq->devicemodel, ioreq->domid, ioreq->id, 1, base,
							base + size - 1);
}

uint64_t gd_ioreq_answered(const struct gd_ioreq *ioreq)
{
	return __atomic_load_n(&ioreq->answered, __ATOMIC_RELAXED);
}
