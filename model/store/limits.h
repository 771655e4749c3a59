/* SPDX-License-Identifier: MIT */
/*
 * What one domain can take of the store. The values are xenstored's defaults (tools/xenstore, Xen 4.17) where it has
 * such a limit. Limits marked "all" hold for domain 0 as well.
 */
#ifndef GM_STORE_LIMITS_H
#define GM_STORE_LIMITS_H

#define GM_STORE_NODES_MAX	 1000 /* nodes that a domain owns */
#define GM_STORE_NODE_BYTES	 2048 /* of a node that a domain changes must be less: value, children's names, and */
#define GM_STORE_NODE_HEAD	 24   /* what is kept of any node */
#define GM_STORE_NODE_PERM	 8    /* and of each of its permissions */
#define GM_STORE_WATCHES_MAX	 128
#define GM_STORE_TRANSACTIONS	 10	 /* open at once */
#define GM_STORE_TOUCHED_MAX	 1024	 /* nodes that one transaction reads or changes */
#define GM_STORE_PERMS_DOMAIN	 5	 /* permissions of one node, set by a domain */
#define GM_STORE_PERMS_MAX	 16	 /* the same, all */
#define GM_STORE_CONNECTIONS	 32	 /* sockets of one domain; more are closed at once */
#define GM_STORE_CONNECTIONS_0	 512	 /* of domain 0 */
#define GM_STORE_UNREAD_PAUSE	 65536	 /* all: unread bytes of output after which no more requests are taken */
#define GM_STORE_UNREAD_MAX	 262144	 /* unread bytes (events count too) after which the connection is ended */
#define GM_STORE_UNREAD_MAX_0	 8388608 /* of domain 0 */
#define GM_STORE_REQUESTS_A_TURN 16	 /* all: requests of one connection before others have their turn */

#endif
