/* SPDX-License-Identifier: MIT */
/*
 * A bad backend's hands: maps whatever a guest has granted to this domain, while a backend serves it, and keeps it.
 * Usage: hold DOMID REFS MOST. Goes through references 8 to REFS again and again, until MOST are held or it gets
 * SIGTERM; says "holding N" then and when it has MOST, and lets go of all when it ends.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xengnttab.h>

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

int main(int argc, char **argv)
{
	xengnttab_handle *gnttab = xengnttab_open(NULL, 0);
	uint32_t domid, refs, most, held = 0;
	uint8_t *taken;

	if (argc != 4 || !gnttab)
		return 2;
	domid = (uint32_t)atoi(argv[1]);
	refs = (uint32_t)atoi(argv[2]);
	most = (uint32_t)atoi(argv[3]);
	taken = calloc(refs, 1);
	if (!taken)
		return 2;
	signal(SIGTERM, on_term);
	while (!stop && held < most)
		for (uint32_t ref = 8; ref < refs && held < most && !stop; ref++)
			/* Mappings are never undone here: the kernel does it when we end. */
			if (!taken[ref] && xengnttab_map_grant_ref(gnttab, domid, ref, PROT_READ)) {
				taken[ref] = 1;
				held++;
			}
	printf("holding %u\n", held);
	fflush(stdout);
	while (!stop)
		pause();
	return 0;
}
