/* SPDX-License-Identifier: MIT */
/*
 * A guest that lends one page, read-only, on command: the other side of steal.c.
 *
 * Usage: lend MACHINE DOMID BACKEND. Prints "lent REFERENCE FRAME" (and of a second page, that it lends to nobody,
 * "kept FRAME"). On stdin: "end" ends the grant and prints "ended", or "held" while the backend still has it mapped;
 * "look" prints whether the page is as it was: "unchanged" or "changed". Leaves at the end of stdin.
 */
#include <grantio/grant.h>

#include "guest/os/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char secret[] = "what the guest lends";

struct lender {
	struct gm_guest *guest;
	struct gio_os *os;
	struct gio_grants *grants;
	char *page, *kept;
	gio_gref_t ref;
};

static int setup(struct lender *l, const char *machine, uint16_t domid, uint16_t backend)
{
	int err = gm_guest_open(&l->guest, machine, domid);

	if (err || (err = gio_os_model_open(&l->os, l->guest)) || (err = gio_grants_open(&l->grants, l->os, 8)))
		return err;
	l->page = gio_os_pages_alloc(l->os, 1);
	l->kept = gio_os_pages_alloc(l->os, 1);
	if (!l->page || !l->kept)
		return -GIO_ENOMEM;
	strcpy(l->page, secret);
	strcpy(l->kept, "what the guest keeps");
	err = gio_grants_alloc(l->grants, 1, &l->ref);
	return err ? err : gio_grant_access(l->grants, l->ref, backend, gio_os_gfn(l->os, l->page), true);
}

static void obey(struct lender *l, const char *command)
{
	if (!strcmp(command, "end\n"))
		puts(gio_grant_end(l->grants, l->ref) ? "held" : "ended");
	else if (!strcmp(command, "look\n"))
		puts(strcmp(l->page, secret) ? "changed" : "unchanged");
	else
		puts("what?");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct lender l = {0};
	char command[32];
	int err;

	if (argc != 4) {
		fprintf(stderr, "usage: lend MACHINE DOMID BACKEND\n");
		return 2;
	}
	err = setup(&l, argv[1], (uint16_t)atoi(argv[2]), (uint16_t)atoi(argv[3]));
	if (err) {
		fprintf(stderr, "lend: domain %s of %s: %s\n", argv[2], argv[1], strerror(-err));
		return 1;
	}
	printf("lent %u %llu\nkept %llu\n", l.ref, (unsigned long long)gio_os_gfn(l.os, l.page),
	       (unsigned long long)gio_os_gfn(l.os, l.kept));
	fflush(stdout);
	while (fgets(command, sizeof(command), stdin))
		obey(&l, command);
	gio_grants_close(l.grants);
	gio_os_pages_free(l.os, l.page, 1);
	gio_os_pages_free(l.os, l.kept, 1);
	gio_os_model_close(l.os);
	gm_guest_close(l.guest);
	return 0;
}
