/* SPDX-License-Identifier: MIT */
/* A domain of the model in xenstore: the nodes that xl makes, with its permissions. Errors: 0 or -errno. */
#ifndef GC_DOMAIN_H
#define GC_DOMAIN_H

#include "cli/store.h"

/* Below /libxl/<domid>: "arm" or "x86", on the model only. On Xen a guest is what its host is. */
#define GC_DOMAIN_ARCH "grantio-arch"

struct gc_domain {
	unsigned domid, vcpus;
	bool x86; /* else Arm: its virtio devices have a place that the toolstack chooses */
	uint64_t memory_kib;
	const char *name;
	char uuid[37];
};

/* Write its nodes and introduce it. On failure nothing of it is left. */
int gc_domain_write(struct xs_handle *xs, struct gc_domain *domain);
/* Release it and remove its nodes: /local/domain/N, /vm/<uuid>, /libxl/N. */
int gc_domain_remove(struct xs_handle *xs, unsigned domid);

#endif
