/* SPDX-License-Identifier: MIT */
/* The files of a machine's directory: their names and sizes, and how they are mapped. */
#ifndef GM_FILES_H
#define GM_FILES_H

#include "model/state.h"

/* The path of a file in the machine's directory; the caller frees it. NULL: no memory. */
char *gm_path(const struct gm_machine *machine, const char *name);

struct sockaddr_un;
/*
 * Fill in the address of a socket in the machine's directory. It names the directory by a descriptor, because a
 * socket's path can have 107 bytes only and a directory's may be longer. Returns that descriptor, which the caller
 * closes when it is done with the address; or -errno.
 */
int gm_socket_address(const struct gm_machine *machine, const char *name, struct sockaddr_un *address);

/* A domain's files. */
enum gm_file { GM_FILE_RAM, GM_FILE_GRANTS, GM_FILE_ACTIVE, GM_FILE_IOREQ, GM_FILES };

/* The size of a file of a domain with so much RAM, and grant table pages at most. */
size_t gm_file_bytes(enum gm_file file, uint64_t ram_frames, uint32_t max_frames);
/* A descriptor, or -1. */
int gm_file_open(const struct gm_machine *machine, uint16_t domid, enum gm_file file, int flags);
/* Make all of a domain's files, or none: 0 or -errno. Files of an earlier attempt that was cut short are replaced. */
int gm_files_make(struct gm_machine *machine, uint16_t domid, uint64_t ram_frames, uint32_t max_frames);
/* Remove them; what is mapped of them stays until it is unmapped. */
void gm_files_remove(struct gm_machine *machine, uint16_t domid);

/*
 * Map a file shared, with memory before and behind it that cannot be touched: a program that writes past the end of its
 * own memory shall die of that, and not leave a machine in which pins and domains are what it happened to write. NULL:
 * no memory.
 */
void *gm_map_shared(int fd, size_t bytes);
void gm_unmap_shared(void *p, size_t bytes); /* takes NULL */

#endif
