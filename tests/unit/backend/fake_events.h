/* SPDX-License-Identifier: MIT */
/*
 * Event channels within the test's process: libxenevtchn as in its header, and as Linux's evtchn driver does it. The
 * guest's ends are numbers that a test gets here.
 */
#ifndef FAKE_EVENTS_H
#define FAKE_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

void fake_events_reset(void);
/* A port of the guest's, for the backend's domain. */
uint32_t fake_port_new(void);
/* The guest sends an event. It is lost where nobody has bound the port. */
void fake_port_send(uint32_t port);
/* How many events came at the guest's port. */
unsigned fake_port_got(uint32_t port);
/* How many handles are open, and how many ports are bound. */
unsigned fake_events_handles(void);
unsigned fake_events_bound(void);
/* The n-th next binding fails (1: the next). */
extern unsigned fake_events_fail;

#endif
