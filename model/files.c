/* SPDX-License-Identifier: MIT */
#include "model/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define GUARD	     (64u << 10) /* on each side of a mapping */
#define STATUS_BYTES 512u	 /* status words of version 2: 2 bytes for each of the 256 entries of a page */
#define ENTRIES_V1   512u	 /* entries of version 1 in a page: the most there can be */
#define SERVER_PAGES 2u		 /* per ioreq server: buffered and synchronous */

/* A machine's files are found by these names, by its processes and by people who look into its directory. */
static const char *const names[GM_FILES] = {"ram", "grants", "active", "ioreq"};

char *gm_path(const struct gm_machine *machine, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", machine->dir, name) < 0 ? NULL : path;
}

int gm_socket_address(const struct gm_machine *machine, const char *name, struct sockaddr_un *address)
{
	int dir = open(machine->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", dir, name);
	return dir;
}

static char *file_path(const struct gm_machine *m, uint16_t domid, enum gm_file file)
{
	char *path;

	return asprintf(&path, "%s/dom%u.%s", m->dir, domid, names[file]) < 0 ? NULL : path;
}

/*
 * Sizes are those of the largest table that the domain may have, because the files are mapped once and never grow. They
 * are sparse, so that what is not used costs nothing.
 */
size_t gm_file_bytes(enum gm_file file, uint64_t ram_frames, uint32_t max_frames)
{
	switch (file) {
	case GM_FILE_RAM:
		return ram_frames * GM_PAGE_SIZE;
	case GM_FILE_GRANTS:
		return (size_t)max_frames * (GM_PAGE_SIZE + STATUS_BYTES);
	case GM_FILE_ACTIVE:
		return (size_t)max_frames * ENTRIES_V1 * sizeof(struct gm_active);
	default:
		return (size_t)GM_MAX_SERVERS * SERVER_PAGES * GM_PAGE_SIZE;
	}
}

int gm_file_open(const struct gm_machine *machine, uint16_t domid, enum gm_file file, int flags)
{
	char *path = file_path(machine, domid, file);
	int fd = path ? open(path, flags | O_CLOEXEC) : -1;

	free(path);
	return fd;
}

void gm_files_remove(struct gm_machine *machine, uint16_t domid)
{
	for (enum gm_file file = 0; file < GM_FILES; file++) {
		char *path = file_path(machine, domid, file);

		if (path)
			unlink(path);
		free(path);
	}
}

/* O_EXCL: an old file was removed just now, so that a file which is there is an error. */
static int file_make(struct gm_machine *m, uint16_t domid, enum gm_file file, size_t bytes)
{
	char *path = file_path(m, domid, file);
	int fd, err;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	err = fd < 0 || ftruncate(fd, (off_t)bytes) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	free(path);
	return err;
}

int gm_files_make(struct gm_machine *machine, uint16_t domid, uint64_t ram_frames, uint32_t max_frames)
{
	int err = 0;

	gm_files_remove(machine, domid);
	for (enum gm_file file = 0; file < GM_FILES && !err; file++)
		err = file_make(machine, domid, file, gm_file_bytes(file, ram_frames, max_frames));
	if (err)
		gm_files_remove(machine, domid);
	return err;
}

/* ---- mapping ------------------------------------------------------------------------------------------------ */

/* Whole pages, since a guard begins at a page's border. */
static size_t guarded_bytes(size_t bytes)
{
	return GUARD + (bytes + GM_PAGE_SIZE - 1) / GM_PAGE_SIZE * GM_PAGE_SIZE + GUARD;
}

/*
 * First all addresses are reserved without access, then the file takes the middle of them. In this order no other
 * thread's mapping can come to lie where a guard is meant to be.
 */
void *gm_map_shared(int fd, size_t bytes)
{
	const int none = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint8_t *all = mmap(NULL, guarded_bytes(bytes), PROT_NONE, none, -1, 0);

	if (all == MAP_FAILED)
		return NULL;
	if (mmap(all + GUARD, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) !=
	    MAP_FAILED)
		return all + GUARD;
	munmap(all, guarded_bytes(bytes));
	return NULL;
}

void gm_unmap_shared(void *p, size_t bytes)
{
	if (p)
		munmap((uint8_t *)p - GUARD, guarded_bytes(bytes));
}
