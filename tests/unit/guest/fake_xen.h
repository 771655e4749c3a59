/* SPDX-License-Identifier: MIT */
/*
 * What a small guest has of Xen (guest/os/xen/xen.h), as a test wants it: a xenstored whose answers the test may hold
 * back at any byte, a clock that goes on only while somebody waits, and ports that are counted.
 *
 * The xenstored knows values by their paths, and one watch at a time, of whose events the test decides. One at a time.
 */
#ifndef TESTS_UNIT_GUEST_FAKE_XEN_H
#define TESTS_UNIT_GUEST_FAKE_XEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gio_os;

struct fake_xen {
	struct gio_os *os;    /* the guest library's system, or NULL (fake_os.h) */
	uint64_t now;	      /* milliseconds */
	size_t deliver;	      /* bytes that are handed out before the next wait ends in vain, after which all are */
	bool deaf;	      /* xenstored takes no bytes */
	bool noted[32];	      /* ports of `os` that have an event */
	unsigned ports;	      /* open */
	uint64_t silent_type; /* one more than the type of requests that are never answered; 0: none */
	/* After each request of xenstore, and when something is waited for that is not there. */
	void (*step)(void);
};

extern struct fake_xen fake_xen;

void fake_xen_reset(void);
void fake_xen_key(const char *path, const char *value);
/* NULL: there is no such key. */
const char *fake_xen_value(const char *path);
/* A message of xenstored's that nobody has asked for. */
void fake_xen_event(const char *path, const char *token);
void fake_xen_message(uint32_t type, uint32_t id, const void *payload, uint32_t bytes);

/* ---- a disk ------------------------------------------------------------------------------------------------------ */

#define FAKE_XEN_DISK	 51712u
#define FAKE_XEN_BACKEND "/local/domain/0/backend/virtio_disk/1/51712"
#define FAKE_XEN_FRONT	 "device/virtio_disk/51712"

/* Begin with a disk whose backend is in `state`, and offers registers. */
void fake_xen_disk(const char *state);
/* A step: the backend follows the guest through 1 and 3 as docs/xenbus.md has it, and takes a while for each. */
void fake_xen_follow(void);

#endif
