/* SPDX-License-Identifier: MIT */
/* grantio rng: devices that give a guest random numbers. `grantio disk list` shows them beside the disks. */
#ifndef GC_RNG_H
#define GC_RNG_H

#include "cli/command.h"

extern const struct gc_command gc_rng_command;

#endif
