/* SPDX-License-Identifier: MIT */
/* The protocol: it answers the messages that connections carry. */
#ifndef GM_STORE_DISPATCH_H
#define GM_STORE_DISPATCH_H

#include "model/store/connection.h"

extern const struct gm_client_ops gm_dispatch_ops;

#endif
