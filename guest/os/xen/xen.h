/* SPDX-License-Identifier: MIT */
/*
 * What a small guest program has of Xen beside grantio/os.h: a console, event channels, a clock, a way to xenstore.
 *
 * Two systems implement it, chosen by linking: a guest without an operating system (guest/os/xen: xl boots it), and a
 * guest of the model (tests/guest/model.c). A program is a function gio_xen_main().
 *
 * Threads: one, but for what grantio/os.h says of its own functions. Errors: 0 or a negative number as in Xen's
 * errno.h, whose values are Linux's and so those of grantio/types.h too. Every wait has a limit.
 */
#ifndef GRANTIO_OS_XEN_H
#define GRANTIO_OS_XEN_H

#include <grantio/os.h>
#include <grantio/types.h>

/* The program. `command_line` is what the toolstack said (xl: extra=). When it returns the domain powers off. */
void gio_xen_main(const char *command_line);

#define GIO_XEN_PORTS_WAIT 32u

struct gio_os *gio_xen_os(void);
/* Pages that are allocated or held now. */
size_t gio_xen_pages_used(void);

/* ---- console ---------------------------------------------------------------------------------------------------- */

/* Bytes to the domain's console. Waits while its ring is full, a second at the most; then they are lost. */
void gio_xen_console_write(const char *text, size_t bytes);
/* Knows %s, %c, %d, %u, %x, %llu, %llx, %%, and a width with leading zeroes. */
__attribute__((format(printf, 1, 2))) void gio_xen_print(const char *format, ...);

/* ---- time ------------------------------------------------------------------------------------------------------- */

uint64_t gio_xen_now_ms(void); /* since some moment; monotonic */

/* ---- event channels --------------------------------------------------------------------------------------------- */

/* A new port that `remote` may bind; its number, or an error. */
int gio_xen_port_open(gio_domid_t remote);
int gio_xen_port_close(uint32_t port);
int gio_xen_port_send(uint32_t port);
/* True if an event is pending; it is not any more. */
bool gio_xen_port_take(uint32_t port);
/* Wait until one is pending, and leave it so. -GIO_EAGAIN: none came in `ms` milliseconds. */
int gio_xen_port_wait(uint32_t port, unsigned ms);
/* The same for an event of any of `count` ports, 1 to GIO_XEN_PORTS_WAIT. */
int gio_xen_ports_wait(const uint32_t *ports, unsigned count, unsigned ms);

/* ---- interrupt lines: of devices that the device tree describes (Arm) ------------------------------------------- */

/* Have it raised here: 0, or -GIO_EOPNOTSUPP where there is no such line. */
int gio_xen_irq_open(unsigned irq);
void gio_xen_irq_close(unsigned irq);
/* True if it was raised; that is forgotten. */
bool gio_xen_irq_take(unsigned irq);
/* Wait until it was, and leave it so. -GIO_EAGAIN: not in `ms` milliseconds. */
int gio_xen_irq_wait(unsigned irq, unsigned ms);

/* ---- device registers ------------------------------------------------------------------------------------------- */

/* Accesses as gio_os_mmio_read() makes them, of 1, 2, 4 or 8 bytes. */
uint64_t gio_xen_mmio_read(uint64_t addr, unsigned size);
void gio_xen_mmio_write(uint64_t addr, unsigned size, uint64_t value);

/* ---- xenstore: bytes of the wire protocol (store.h speaks it) --------------------------------------------------- */

/* All of it: 0, or -GIO_EAGAIN when xenstored does not take it in `ms` milliseconds. */
int gio_xen_store_send(const void *data, size_t bytes, unsigned ms);
/* What is there, up to `bytes`: how many, 1 at least. -GIO_EAGAIN: none came in `ms` milliseconds. */
int gio_xen_store_receive(void *data, size_t bytes, unsigned ms);

#endif
