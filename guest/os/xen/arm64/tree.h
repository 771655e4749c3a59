/* SPDX-License-Identifier: MIT */
/* The little that the guest asks of the device tree that the toolstack made: RAM and command line. */
#ifndef GRANTIO_OS_XEN_TREE_H
#define GRANTIO_OS_XEN_TREE_H

#include <stddef.h>
#include <stdint.h>

struct tree_facts {
	uint64_t ram, ram_bytes;  /* the first piece */
	const char *command_line; /* in the tree, ends with a NUL; NULL: none */
};

/* Read a flattened tree (Devicetree specification, 5): 0, or -1: it is none, or does not say where RAM is. */
int gio_xen_tree_read(const void *tree, struct tree_facts *facts);

#endif
