/* SPDX-License-Identifier: GPL-2.0-only */
/* The transport "mmio" (docs/xenbus.md, version 1): registers that the kernel's own virtio_mmio drives. */
#ifndef GRANTIO_KMOD_MMIO_H
#define GRANTIO_KMOD_MMIO_H

#include "front.h"

extern const struct gk_transport gk_mmio;

#endif
