/* SPDX-License-Identifier: MIT */
/* The golden vectors of virtio-msg (tests/data/virtio-msg-vectors.txt, whose head says what a line means). */
#ifndef TESTS_VECTORS_H
#define TESTS_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <abi/virtio_msg_bus.h>

#define VECTORS 66 /* in the file */

struct vector {
	char kind[8], name[64], who[16], reaction[16], hex[2 * GIO_MSG_MAX + 2];
	struct gio_msg msg;
};

extern struct vector vectors[VECTORS];

/* A group's setup: fills `vectors` from the file that GIO_MSG_VECTORS names. */
int vectors_read(void **state);
/* The message of that name, which is there. */
const struct gio_msg *vector(const char *name);

#endif
