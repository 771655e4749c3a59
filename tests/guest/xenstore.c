/* SPDX-License-Identifier: MIT */
/* xenstore as a guest sees it: rights, watches, transactions, and what is malformed. */
#include "guest.h"

#include <string.h>
#include <xen/io/xs_wire.h>

#define OWN "data/test"

static char answer[512];

static int ask(uint32_t type, const char *payload, size_t bytes)
{
	memset(answer, 0, sizeof(answer));
	return gio_xen_store_request(type, STORE_NO_TRANSACTION, payload, bytes, answer, sizeof(answer) - 1);
}

/* Payloads are strings with their NULs. */
#define ASK(type, payload) ask(type, payload, sizeof(payload))

static int put(const char *path, const char *value)
{
	return gio_xen_store_write(STORE_NO_TRANSACTION, path, NULL, value);
}

static int get(const char *path)
{
	return gio_xen_store_read(path, NULL, answer, sizeof(answer));
}

static void rights(void)
{
	gio_xen_print("read: nothing %d", get("data/nothing"));
	gio_xen_print(", dom0's directory %d", get("/local/domain/0"));
	gio_xen_print(", dom0's name %d", get("/local/domain/0/name"));
	gio_xen_print(", another's %d", get("/local/domain/77/name"));
	gio_xen_print(", root %d", get("/"));
	gio_xen_print(", /vm %d", get("/vm"));
	gio_xen_print(", /libxl %d\n", get("/libxl"));
	gio_xen_print("write: own %d", put(OWN, "x"));
	gio_xen_print(", below %d", put(OWN "/a/b", "y"));
	gio_xen_print(", the domain's directory %d", put("new", "x"));
	gio_xen_print(", its name %d", put("domid", "x"));
	gio_xen_print(", root %d", put("/x", "x"));
	gio_xen_print(", dom0's %d", put("/local/domain/0/x", "x"));
	gio_xen_print(", another's %d\n", put("/local/domain/77/x", "x"));
	gio_xen_print("remove: nothing %d", gio_xen_store_remove("data/nothing"));
	gio_xen_print(", below nothing %d", gio_xen_store_remove("data/nothing/at/all"));
	gio_xen_print(", the domain's directory %d", gio_xen_store_remove("domid"));
	gio_xen_print(", root %d", gio_xen_store_remove("/"));
	gio_xen_print(", own %d", gio_xen_store_remove(OWN));
	gio_xen_print(", it has gone %d\n", get(OWN "/a"));
}

static void disks(struct world *world)
{
	char path[STORE_PATH_MAX];
	int ret = gio_xen_store_read("device/virtio_disk/51712", "backend", path, sizeof(path));

	gio_xen_print("disk: backend %d", ret > 0);
	gio_xen_print(", its state %d", gio_xen_store_read(path, "state", answer, sizeof(answer)));
	gio_xen_print(", write it %d", gio_xen_store_write(STORE_NO_TRANSACTION, path, "state", "5"));
	gio_xen_print(", a key beside %d", gio_xen_store_write(STORE_NO_TRANSACTION, path, "x", "5"));
	gio_xen_print(", remove it %d", gio_xen_store_remove(path));
	gio_xen_print(", our own key %d\n", put("device/virtio_disk/51712/x", "1"));
	gio_xen_store_remove("device/virtio_disk/51712/x");
	(void)world;
}

static void malformed(void)
{
	gio_xen_print("malformed: empty %d", ASK(XS_READ, ""));
	gio_xen_print(", no NUL %d", ask(XS_READ, "domid", 5));
	gio_xen_print(", two slashes %d", ASK(XS_READ, "data//x"));
	gio_xen_print(", slash at the end %d", ASK(XS_READ, "data/"));
	gio_xen_print(", a space %d", ASK(XS_READ, "data/x y"));
	gio_xen_print(", @ %d", ASK(XS_READ, "@data"));
	gio_xen_print(", two NULs %d", ask(XS_READ, "domid\0", 7));
	gio_xen_print(", only a NUL %d", ask(XS_READ, "", 1));
	gio_xen_print(", nothing %d\n", ask(XS_READ, "", 0));
	gio_xen_print("type 99 %d", ASK(99, "x"));
	gio_xen_print(", 13 %d", ASK(XS_INTRODUCE, "1\0001\0001"));
	gio_xen_print(", release %d", ASK(XS_RELEASE, "0"));
	gio_xen_print(", set target %d", ASK(XS_SET_TARGET, "0\0001"));
	gio_xen_print(", resume %d", ASK(XS_RESUME, "0"));
	gio_xen_print(", introduced %d", ASK(XS_IS_DOMAIN_INTRODUCED, "0"));
	gio_xen_print(" '%s'", answer);
	gio_xen_print(", path of 0 %d", ASK(XS_GET_DOMAIN_PATH, "0"));
	gio_xen_print(" '%s'\n", answer);
}

static void directories(void)
{
	(void)put(OWN "/b", "1");
	(void)put(OWN "/a", "2");
	gio_xen_print("directory: %d", ASK(XS_DIRECTORY, OWN));
	gio_xen_print(", empty %d", ASK(XS_DIRECTORY, OWN "/a"));
	gio_xen_print(", none %d", ASK(XS_DIRECTORY, OWN "/c"));
	gio_xen_print(", mkdir %d", ASK(XS_MKDIR, OWN "/c"));
	gio_xen_print(" %d", ASK(XS_MKDIR, OWN "/c"));
	gio_xen_print(", its value %d", get(OWN "/c"));
	gio_xen_print(", of an empty write %d", put(OWN "/d", ""));
	gio_xen_print(" %d\n", get(OWN "/d"));
	gio_xen_print("permissions: %d", ASK(XS_GET_PERMS, OWN "/a") > 0);
	gio_xen_print(" %c", answer[0]);
	gio_xen_print(", set %d", ASK(XS_SET_PERMS, OWN "/a\0n0\0"));
	gio_xen_print(", wrong %d", ASK(XS_SET_PERMS, OWN "/a\0q0"));
	gio_xen_print(", none %d", ASK(XS_SET_PERMS, OWN "/a"));
	gio_xen_print(", another's %d\n", ASK(XS_SET_PERMS, "domid\0n0"));
	gio_xen_store_remove(OWN);
}

static void events(unsigned ms)
{
	char path[STORE_PATH_MAX], token[32];

	while (!gio_xen_store_event(path, sizeof(path), token, sizeof(token), ms))
		gio_xen_print(" %s(%s)", path, token);
}

static void watches(void)
{
	gio_xen_print("watch: %d", gio_xen_store_watch(OWN, "one"));
	gio_xen_print(" %d", gio_xen_store_watch(OWN, "one"));
	gio_xen_print(" %d,", gio_xen_store_watch(OWN, "two"));
	events(300);
	gio_xen_print("; write %d,", put(OWN "/x/y", "1"));
	events(300);
	gio_xen_print("; beside %d,", put("data/beside", "1"));
	events(300);
	gio_xen_print("; remove %d,", gio_xen_store_remove("data/test/x"));
	events(300);
	gio_xen_print("; unwatch %d", gio_xen_store_unwatch(OWN, "one"));
	gio_xen_print(" %d", gio_xen_store_unwatch(OWN, "one"));
	gio_xen_print(" %d\n", gio_xen_store_unwatch(OWN, "two"));
	gio_xen_print("watch others': %d,", gio_xen_store_watch("/local/domain/0/backend", "zero"));
	events(300);
	gio_xen_print(" %d", gio_xen_store_unwatch("/local/domain/0/backend", "zero"));
	gio_xen_print(", release %d", gio_xen_store_watch("@releaseDomain", "gone"));
	gio_xen_print(", something else %d", gio_xen_store_watch("@something", "x"));
	gio_xen_print(", malformed %d,", gio_xen_store_watch("data//x", "x"));
	events(300);
	gio_xen_print("\n");
	(void)gio_xen_store_unwatch("@releaseDomain", "gone");
	(void)gio_xen_store_unwatch("@something", "x");
	gio_xen_store_remove(OWN);
	gio_xen_store_remove("data/beside");
}

static void transactions(void)
{
	uint32_t t = 0;
	int ret = gio_xen_store_begin(&t);

	gio_xen_print("transaction: %d, write %d", ret, gio_xen_store_write(t, OWN, "x", "1"));
	gio_xen_print(", outside %d", get(OWN "/x"));
	gio_xen_print(", end %d", gio_xen_store_end(t, 1));
	gio_xen_print(", then %d", get(OWN "/x"));
	gio_xen_print(", end again %d", gio_xen_store_end(t, 1));
	gio_xen_print(", none such %d\n", gio_xen_store_end(4000000, 1));
	ret = gio_xen_store_begin(&t);
	gio_xen_print("dropped: %d, write %d", ret, gio_xen_store_write(t, OWN, "y", "1"));
	gio_xen_print(", end %d", gio_xen_store_end(t, 0));
	gio_xen_print(", then %d\n", get(OWN "/y"));
	ret = gio_xen_store_begin(&t);
	gio_xen_print("too late: %d, write %d", ret, gio_xen_store_write(t, OWN, "x", "2"));
	gio_xen_print(", outside %d", put(OWN "/x", "33"));
	gio_xen_print(", end %d", gio_xen_store_end(t, 1));
	gio_xen_print(", then %d\n", get(OWN "/x"));
	gio_xen_store_remove(OWN);
}

void store_run(struct world *world)
{
	gio_xen_print("- xenstore\n");
	rights();
	disks(world);
	malformed();
	directories();
	watches();
	transactions();
}
