/* SPDX-License-Identifier: MIT */
#include "tests/unit/backend/fake_events.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <xenevtchn.h>

#include "tests/unit/backend/fake.h"

#define PORTS 64u

/* A channel: the guest's end has the number of its place here, and the backend's end that number plus 1000. */
struct port {
	bool made, masked, pending;
	struct xenevtchn_handle *bound;
	unsigned got;
};

struct xenevtchn_handle {
	int pipe[2];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct port ports[PORTS];
static unsigned handles, next_port;
unsigned fake_events_fail;

void fake_events_reset(void)
{
	for (unsigned i = 0; i < PORTS; i++)
		ports[i] = (struct port){0};
	next_port = 1;
	fake_events_fail = 0;
}

uint32_t fake_port_new(void)
{
	assert_true(next_port < PORTS);
	ports[next_port].made = true;
	return next_port++;
}

/* Under the lock: tell the handle, which then hears nothing of the port before it unmasks it. */
static void deliver(uint32_t local, struct port *port)
{
	port->masked = true;
	port->pending = false;
	if (write(port->bound->pipe[1], &local, sizeof(local)) != sizeof(local))
		abort();
}

void fake_port_send(uint32_t number)
{
	struct port *port = &ports[number];

	pthread_mutex_lock(&lock);
	if (port->bound && port->masked)
		port->pending = true;
	else if (port->bound)
		deliver(number + 1000, port);
	pthread_mutex_unlock(&lock);
}

unsigned fake_port_got(uint32_t number)
{
	return __atomic_load_n(&ports[number].got, __ATOMIC_SEQ_CST);
}

unsigned fake_events_handles(void)
{
	return __atomic_load_n(&handles, __ATOMIC_SEQ_CST);
}

unsigned fake_events_bound(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < PORTS; i++)
		count += ports[i].bound != NULL;
	return count;
}

/* ---- libxenevtchn ----------------------------------------------------------------------------------------------- */

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
	xenevtchn_handle *xce = malloc(sizeof(*xce));

	(void)logger;
	(void)flags;
	if (!xce || pipe(xce->pipe))
		abort();
	__atomic_fetch_add(&handles, 1, __ATOMIC_SEQ_CST);
	return xce;
}

int xenevtchn_close(xenevtchn_handle *xce)
{
	for (unsigned i = 0; i < PORTS; i++)
		if (ports[i].bound == xce)
			ports[i].bound = NULL;
	close(xce->pipe[0]);
	close(xce->pipe[1]);
	free(xce);
	__atomic_fetch_sub(&handles, 1, __ATOMIC_SEQ_CST);
	return 0;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
	return xce->pipe[0];
}

int xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
	(void)xce;
	assert_int_equal(domid, FAKE_DOMID);
	return 0;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote)
{
	int ret = -1;

	errno = EINVAL;
	pthread_mutex_lock(&lock);
	if (domid == FAKE_DOMID && remote < PORTS && ports[remote].made && !ports[remote].bound &&
	    !(fake_events_fail && --fake_events_fail == 0)) {
		ports[remote].bound = xce;
		ports[remote].masked = ports[remote].pending = false;
		ret = (int)remote + 1000;
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t local)
{
	pthread_mutex_lock(&lock);
	assert_ptr_equal(ports[local - 1000].bound, xce);
	ports[local - 1000].bound = NULL;
	pthread_mutex_unlock(&lock);
	return 0;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t local)
{
	if (ports[local - 1000].bound == xce)
		__atomic_fetch_add(&ports[local - 1000].got, 1, __ATOMIC_SEQ_CST);
	return 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
	uint32_t local;

	return read(xce->pipe[0], &local, sizeof(local)) == sizeof(local) ? (int)local : -1;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t local)
{
	struct port *port = &ports[local - 1000];

	pthread_mutex_lock(&lock);
	if (port->bound == xce) {
		port->masked = false;
		if (port->pending)
			deliver(local, port);
	}
	pthread_mutex_unlock(&lock);
	return 0;
}
