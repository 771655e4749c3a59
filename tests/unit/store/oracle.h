/* SPDX-License-Identifier: MIT */
/*
 * Debian's xenstored, run without Xen (xenstored_shim.c), and connections to it and to our store: domain 0's by socket,
 * those of other domains by socket with us and by ring with it. Everything that waits has a time limit.
 */
#ifndef STORE_ORACLE_H
#define STORE_ORACLE_H

#include <stddef.h>
#include <stdint.h>

/* Start the daemon `binary` with the shim preloaded, in a temporary directory, and introduce domains 1 and 2. */
void oracle_start(const char *binary, const char *shim);
void oracle_stop(void);

struct oracle_link;
struct oracle_link *oracle_link_ours(unsigned domid);
struct oracle_link *oracle_link_theirs(unsigned domid);
void oracle_link_close(struct oracle_link *link);

void oracle_send(struct oracle_link *link, uint32_t type, uint32_t tx, const void *data, size_t length);
/* The next message: its type; the payload goes to `payload` (4096 bytes and a NUL), its length to *length. */
uint32_t oracle_recv(struct oracle_link *link, char *payload, size_t *length);

#endif
