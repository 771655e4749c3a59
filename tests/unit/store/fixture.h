/* SPDX-License-Identifier: MIT */
/*
 * A store in a temporary directory, run by a thread of its own, and clients: raw bytes, and libxenstore.
 * Everything that waits has a time limit; what goes wrong fails the test.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <xenstore.h>

extern char store_dir[64];

/* cmocka's setup and teardown: a store with domains 1 and 2 introduced. */
int store_setup(void **state);
int store_teardown(void **state);

/* A connection as the domain; for wire_* a plain descriptor. */
int wire_open(unsigned domid);
struct xs_handle *xs_open_as(unsigned domid);

void wire_send(int fd, uint32_t type, uint32_t tx, const void *data, size_t length);
/* The next message: its type; the payload goes to `payload` (4096 bytes and a NUL), its length to *length. */
uint32_t wire_recv(int fd, char *payload, size_t *length);
/* The answer; watch events that come before it are kept for wire_event(). */
uint32_t wire_reply(int fd, char *payload, size_t *length);
/* True when the store has ended the connection. */
bool wire_ended(int fd);

/* Send a request and check its answer byte by byte; payloads are string literals without their last NUL. */
void wire_check(int fd, uint32_t type, uint32_t tx, const void *data, size_t length, uint32_t wanted_type,
		const void *wanted, size_t wanted_length, const char *where);
#define STRING_(x) #x
#define STRING(x)  STRING_(x)
#define ASK(fd, type, data, wanted) \
	wire_check(fd, type, 0, data, sizeof(data) - 1, type, wanted, sizeof(wanted) - 1, __FILE__ ":" STRING(__LINE__))
#define ASK_TX(fd, tx, type, data, wanted)                                                 \
	wire_check(fd, type, tx, data, sizeof(data) - 1, type, wanted, sizeof(wanted) - 1, \
		   __FILE__ ":" STRING(__LINE__))
#define REFUSED(fd, type, data, error)                                                       \
	wire_check(fd, type, 0, data, sizeof(data) - 1, XS_ERROR, error "\0", sizeof(error), \
		   __FILE__ ":" STRING(__LINE__))
#define REFUSED_TX(fd, tx, type, data, error)                                                 \
	wire_check(fd, type, tx, data, sizeof(data) - 1, XS_ERROR, error "\0", sizeof(error), \
		   __FILE__ ":" STRING(__LINE__))
#define OK "OK\0"

uint32_t wire_transaction(int fd);
/* The next watch event has this path and token. */
void wire_event(int fd, const char *path, const char *token);
/* There is no event up to the answer of a request that this makes. */
void wire_no_event(int fd);

#endif
