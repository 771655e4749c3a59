/* SPDX-License-Identifier: MIT */
/* Random requests to a store, many of them wrong; each sequence by its seed. */
#ifndef STORE_ORACLE_REQUEST_H
#define STORE_ORACLE_REQUEST_H

#include <errno.h> /* before xs_wire.h, which makes xsd_errors only then */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/xs_wire.h>

#define ORACLE_TXS 3u /* transactions that a client may have open */

struct oracle_request {
	bool guest; /* asked by one, not by domain 0 */
	uint32_t type;
	unsigned tx; /* ORACLE_TXS: none; one more: one that nobody began */
	size_t length;
	char data[XENSTORE_PAYLOAD_MAX];
};

void oracle_chance_start(uint64_t seed);
/* A number below `below`. */
uint32_t oracle_any(uint32_t below);

/* What a client of domain `domid` asks next; of its transactions those that are `stale` are only ended. */
void oracle_request_make(struct oracle_request *r, unsigned domid, const bool *stale);

/*
 * Wrong in its form: we must refuse it, and xenstored is not asked. It takes any text for a number, of guests and of
 * offsets; and where a string is missing that of Xen 4.17 answers with the error of whatever failed before, or, where
 * nothing did, ends by an assertion.
 */
bool oracle_request_malformed(const struct oracle_request *r);

#endif
