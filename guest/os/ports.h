/* SPDX-License-Identifier: MIT */
/*
 * Event channels of a guest of the model, for guest/os/model.c: any thread may wait for any port.
 *
 * The model tells of events by a pipe, from which one thread at a time reads; whatever it finds there it notes for the
 * others. So an event is never lost to a thread that waits for another port.
 */
#ifndef GIO_OS_PORTS_H
#define GIO_OS_PORTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/guest.h"

#define PORTS_MAX 1024u /* of a domain of the model */

struct ports {
	struct gm_guest *guest;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t noted;
	struct gm_guest_events *events; /* NULL until the first port */
	bool reading;			/* a thread reads from the pipe */
	bool woken;			/* a wake-up that no wait has reported */
	uint32_t pending[PORTS_MAX / 32];
};

void gio_os_ports_init(struct ports *ports, struct gm_guest *guest);
void gio_os_ports_exit(struct ports *ports);

/* As gio_os_port_open() and its like in grantio/os.h. Errors are the host's. */
int gio_os_ports_bind(struct ports *ports, uint16_t remote, uint32_t *port);
int gio_os_ports_close(struct ports *ports, uint32_t port);
int gio_os_ports_send(struct ports *ports, uint32_t port);
/* Wait for one port; `timeout_ms` -1: without limit. */
bool gio_os_ports_wait(struct ports *ports, uint32_t port, int timeout_ms);
/* Wait for an event of any of `count` ports, and leave it noted: false if none came in time. */
bool gio_os_ports_look(struct ports *ports, const uint32_t *wanted, unsigned count, int timeout_ms);
/*
 * Wait for any port: those that had an event are written to `out`, at most `max`, and their number is returned. 0: none
 * had in time. -EINTR: gio_os_ports_wake().
 */
int gio_os_ports_wait_any(struct ports *ports, uint32_t *out, unsigned max, int timeout_ms);
/* End a wait for any port, or the next one. */
void gio_os_ports_wake(struct ports *ports);

#endif
