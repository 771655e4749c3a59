/* SPDX-License-Identifier: MIT */
/* An ioreq server such as a backend has, over the public libxen* ABI alone, in a thread of its own. */
#ifndef TEST_MODEL_SERVER_H
#define TEST_MODEL_SERVER_H

#include "tests/unit/model/common.h"

#include <pthread.h>

#define BASE  0x02000000ull
#define BYTES 0x200ull

struct server {
	uint16_t domid;
	unsigned vcpus;
	xenevtchn_handle *xce;
	xenforeignmemory_handle *fmem;
	xendevicemodel_handle *dmod;
	xenforeignmemory_resource_handle *res;
	ioservid_t id;
	struct ioreq *page;
	int port[32];
	/* what it does */
	uint64_t regs[BYTES / 8];
	bool running;
	pthread_t thread;
	int stop;
	uint32_t served;
};

/* Open handles, create the server, map its page. */
void server_open(struct server *s, uint16_t domid, unsigned vcpus);
/* Enable it and bind every vCPU's port. */
void server_enable(struct server *s);
/* Map BASE..BASE+BYTES and answer accesses: reads give what was written, addr-wise, else the address. */
void server_start(struct server *s);
void server_stop(struct server *s);
void server_close(struct server *s);
/* Handle everything that is pending now; waits for the first at most `ms`. How many ioreqs were answered. */
unsigned server_poll(struct server *s, int ms);
/* Wait for a vCPU's ioreq to be READY; the event is taken. */
struct ioreq *server_wait_ready(struct server *s, unsigned *vcpu);
void server_notify(struct server *s, unsigned vcpu);

#endif
