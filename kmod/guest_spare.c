// SPDX-License-Identifier: GPL-2.0-only
/* The guest library as it is, built for the kernel. */
#include "../guest/grant/spare.c"
