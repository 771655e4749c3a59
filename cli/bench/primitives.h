/* SPDX-License-Identifier: MIT */
/*
 * `grantio bench --primitives`: what the single steps cost of which all I/O of a paravirtualised guest is made, on this
 * machine: a hypercall, an event, a copy, a mapping, an ioreq. It needs no disk. The domain that runs it grants pages
 * to itself and sends events to itself, so that no other domain takes part. Only an ioreq needs a guest, which this
 * command can be on the model alone.
 */
#ifndef GC_PRIMITIVES_H
#define GC_PRIMITIVES_H

#include <stdbool.h>
#include <stdint.h>

struct gc_primitives_config {
	const char *machine;
	uint16_t domid;	  /* of a guest of the model with a disk, for an ioreq; 0: none */
	const char *disk; /* NULL: its first */
	bool json;
};

/* Measure all, and print a table or a JSON object. What cannot be had here is shown as such. GC_OK or GC_FAILED. */
int gc_primitives_run(const struct gc_primitives_config *config);

#endif
