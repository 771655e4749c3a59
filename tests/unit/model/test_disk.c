/* SPDX-License-Identifier: MIT */
/* Finding a disk in the guest's own xenstore directory, against the model's store and keys as xl 4.20 writes them. */
#include "tests/unit/model/common.h"

#include "model/store/domain.h"
#include "model/store/store.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <xenstore.h>

static struct {
	struct gm_store *store;
	pthread_t thread;
	int stop;
	struct xs_handle *xs;
} st;

static void *store_main(void *arg)
{
	struct pollfd pfd[2] = {{.fd = gm_store_fd(st.store), .events = POLLIN}, {.fd = st.stop, .events = POLLIN}};

	while (poll(pfd, 2, -1) > 0 && !pfd[1].revents)
		gm_store_run(st.store);
	return arg;
}

static int store_open(void **state)
{
	struct xs_permissions home[2] = {{.id = 0, .perms = XS_PERM_NONE}, {.id = 1, .perms = XS_PERM_READ}};
	char path[128];

	if (world_open(state) || gm_store_open(&st.store, world_of(state)->dir) ||
	    gm_store_domain_socket_add(st.store, 1))
		return -1;
	st.stop = eventfd(0, EFD_CLOEXEC);
	if (pthread_create(&st.thread, NULL, store_main, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/store", world_of(state)->dir);
	setenv("XENSTORED_PATH", path, 1);
	st.xs = xs_open(0);
	if (!st.xs || !xs_mkdir(st.xs, XBT_NULL, "/local/domain/1") ||
	    !xs_set_permissions(st.xs, XBT_NULL, "/local/domain/1", home, 2))
		return -1;
	return 0;
}

static int store_close(void **state)
{
	xs_close(st.xs);
	eventfd_write(st.stop, 1);
	pthread_join(st.thread, NULL);
	close(st.stop);
	gm_store_close(st.store);
	return world_close(state);
}

static void put(const char *dir, const char *key, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, key);
	assert_true(xs_write(st.xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

/* What the toolstack writes, and lets the guest read. */
static void attach(const char *kind, const char *devid, const char *dev, const char *base, const char *irq)
{
	struct xs_permissions both[2] = {{.id = 0, .perms = XS_PERM_NONE}, {.id = 1, .perms = XS_PERM_READ}};
	struct xs_permissions guest[1] = {{.id = 1, .perms = XS_PERM_NONE}};
	char front[128], back[128];

	snprintf(front, sizeof(front), "/local/domain/1/device/%s/%s", kind, devid);
	snprintf(back, sizeof(back), "/local/domain/0/backend/%s/1/%s", kind, devid);
	assert_true(xs_mkdir(st.xs, XBT_NULL, back));
	assert_true(xs_set_permissions(st.xs, XBT_NULL, back, both, 2));
	put(back, "state", "1");
	put(back, "base", base);
	put(back, "irq", irq);
	if (dev)
		put(back, "dev", dev);
	assert_true(xs_mkdir(st.xs, XBT_NULL, front));
	assert_true(xs_set_permissions(st.xs, XBT_NULL, front, guest, 1));
	put(front, "backend", back);
	put(front, "backend-id", "0");
}

static void set_state(const char *kind, const char *devid, const char *value)
{
	char back[128];

	snprintf(back, sizeof(back), "/local/domain/0/backend/%s/1/%s", kind, devid);
	put(back, "state", value);
}

static void test_by_name(void **state)
{
	struct world *w = world_of(state);
	struct gm_guest_disk d;
	char before[128];

	strcpy(before, getenv("XENSTORED_PATH"));
	attach("virtio_disk", "51712", "xvda", "33554432", "33");
	attach("virtio_disk", "51728", "xvdb", "33554944", "34");
	set_state("virtio_disk", "51712", "2");
	set_state("virtio_disk", "51728", "4");
	assert_int_equal(gm_guest_find_disk(w->guest, "xvdb", LIMIT_MS, &d), 0);
	assert_int_equal(d.base, 33554944);
	assert_int_equal(d.irq, 34);
	assert_int_equal(d.devid, 51728);
	assert_int_equal(d.backend, 0);
	assert_int_equal(gm_guest_find_disk(w->guest, "51712", LIMIT_MS, &d), 0);
	assert_int_equal(d.base, 0x02000000);
	assert_int_equal(gm_guest_find_disk(w->guest, NULL, LIMIT_MS, &d), 0);
	assert_int_equal(gm_guest_find_disk(w->guest, "xvdc", 1, &d), -ENOENT);
	assert_string_equal(getenv("XENSTORED_PATH"), before);
}

static void test_generic_device_with_hex_base(void **state)
{
	struct world *w = world_of(state);
	struct gm_guest_disk d;

	attach("virtio", "0", NULL, "0x2000400", "35");
	set_state("virtio", "0", "2");
	assert_int_equal(gm_guest_find_disk(w->guest, NULL, LIMIT_MS, &d), 0);
	assert_int_equal(d.base, 0x2000400);
	assert_int_equal(d.devid, 0);
}

static void test_not_ready_in_time(void **state)
{
	struct world *w = world_of(state);
	struct gm_guest_disk d;

	attach("virtio_disk", "51712", "xvda", "33554432", "33");
	assert_int_equal(gm_guest_find_disk(w->guest, "xvda", 1, &d), -ETIMEDOUT);
	set_state("virtio_disk", "51712", "6");
	assert_int_equal(gm_guest_find_disk(w->guest, "xvda", 1, &d), -ETIMEDOUT);
}

static void malformed(struct world *w, const char *base, const char *irq)
{
	struct gm_guest_disk d;

	attach("virtio_disk", "51712", "xvda", base, irq);
	set_state("virtio_disk", "51712", "2");
	assert_int_equal(gm_guest_find_disk(w->guest, "xvda", LIMIT_MS, &d), -EPROTO);
}

static void test_malformed_values(void **state)
{
	struct world *w = world_of(state);

	malformed(w, "", "33");
	malformed(w, "-1", "33");
	malformed(w, "12x", "33");
	malformed(w, "33554432", "1020");
	malformed(w, "33554432", "x");
	malformed(w, "99999999999999999999999", "33");
}

struct finder {
	struct world *w;
	struct gm_guest_disk d;
	uint32_t started;
	int err;
};

static void *finder_main(void *arg)
{
	struct finder *f = arg;

	__atomic_store_n(&f->started, 1, __ATOMIC_RELEASE);
	f->err = gm_guest_find_disk(f->w->guest, "xvda", LIMIT_MS, &f->d);
	return NULL;
}

/* The device comes, and its backend becomes ready, while the guest waits. */
static void test_waits_for_device_and_backend(void **state)
{
	struct finder f = {.w = world_of(state)};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, finder_main, &f), 0);
	assert_true(await(&f.started, 1));
	attach("virtio_disk", "51712", "xvda", "33554432", "33");
	set_state("virtio_disk", "51712", "2");
	pthread_join(thread, NULL);
	assert_int_equal(f.err, 0);
	assert_int_equal(f.d.irq, 33);
}

static void test_no_store(void **state)
{
	struct gm_guest_disk d;

	assert_int_equal(gm_guest_find_disk(world_of(state)->guest, "xvda", 1, &d), -ENOENT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, store_open, store_close)
	const struct CMUnitTest tests[] = {
		T(test_by_name),
		T(test_generic_device_with_hex_base),
		T(test_not_ready_in_time),
		T(test_malformed_values),
		T(test_waits_for_device_and_backend),
		cmocka_unit_test_setup_teardown(test_no_store, world_open, world_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
