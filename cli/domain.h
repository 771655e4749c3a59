/* SPDX-License-Identifier: MIT */
/* A domain of the model in xenstore: the nodes that xl makes, with its permissions. Errors: 0 or -errno. */
#ifndef GC_DOMAIN_H
#define GC_DOMAIN_H

#include "cli/command.h"
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

/*
 * Find the domain that `text` names: by its number, which must be at least `least`, by its name or by its UUID, as xl
 * knows them. The number of a domain that does not exist is accepted. Returns GC_OK, or another exit code after a
 * message; `what` names the value in that message. Names and UUIDs are read from the toolstack's nodes, which guests
 * cannot write.
 */
int gc_domain_find(struct xs_handle *xs, const char *what, const char *text, unsigned least, unsigned *domid);
/* Is there such a domain in xenstore? */
bool gc_domain_known(struct xs_handle *xs, unsigned domid);
/* Its name, to be freed; NULL: it has none. */
char *gc_domain_name(struct xs_handle *xs, unsigned domid);

/* Write its nodes and introduce it. On failure nothing of it is left. -EEXIST: another domain has its name. */
int gc_domain_write(struct xs_handle *xs, struct gc_domain *domain);
/* Release it and remove its nodes: /local/domain/N, /vm/<uuid>, /libxl/N. */
int gc_domain_remove(struct xs_handle *xs, unsigned domid);

#endif
