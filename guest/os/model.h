/* SPDX-License-Identifier: MIT */
/* The guest library's system (grantio/os.h) on a guest of the model of Xen. Errors: 0 or -errno. */
#ifndef GIO_OS_MODEL_H
#define GIO_OS_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "model/guest.h"

struct gio_os;
struct ports;
/* The guest stays the caller's, and has to outlive the system. */
int gio_os_model_open(struct gio_os **os, struct gm_guest *guest);
void gio_os_model_close(struct gio_os *os); /* takes NULL */
/*
 * Limit the wait for the answer to a register access; -1, as at first: no limit, as a vCPU waits. After the first
 * answer that has not come in time no device is asked any more, and all reads are ones. Call it before the first
 * access.
 */
void gio_os_model_patience(struct gio_os *os, int timeout_ms);
/*
 * Wait for an event of any port: the ports that had one are written to `ports`, at most `max`, and their number is
 * returned. 0: none had in `timeout_ms` (-1: no limit); -EINTR: gio_os_model_ports_wake(), which ends one such wait, or
 * the next. Only after a port was opened.
 */
int gio_os_model_ports_wait(struct gio_os *os, uint32_t *ports, unsigned max, int timeout_ms);
void gio_os_model_ports_wake(struct gio_os *os);
/* Its ports (ports.h), for a guest that has more to do with them than grantio/os.h. */
struct ports *gio_os_model_ports(struct gio_os *os);
/* Pages that are allocated or held now: part of the leak oracle. */
size_t gio_os_model_pages_used(struct gio_os *os);

#endif
