/* SPDX-License-Identifier: MIT */
/* How a device lets go of a guest that reaches it by messages, and goes on with one: served_link.c by itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/guestmem/pool.h"
#include "backend/virtio/vdev.h"
#include "backend/xenbus/served_priv.h"

/* ---- what it uses ----------------------------------------------------------------------------------------------- */

static struct {
	unsigned busy;		  /* the disk ends its I/O after so many waits */
	unsigned ends_at;	  /* the device is stopped at this wait; 0: never */
	unsigned waits, waited;	  /* calls, and their milliseconds */
	unsigned stops;		  /* of messages */
	unsigned disconnects;	  /* of pages and ports */
	unsigned changed;	  /* reports to the owner */
	unsigned lines;		  /* in the log */
	bool straight, no_thread; /* the disk uses the pool itself; jobs cannot be started */
	int connect, resume, go_on;
	uint32_t status;
} fake;

static struct gd_served_own own;
static struct gd_served device;

bool gd_vdev_drain(struct gd_vdev *vdev, unsigned ms)
{
	(void)vdev;
	fake.waits++;
	fake.waited += ms;
	assert_true(fake.waits < 10000);
	if (fake.waits == fake.ends_at)
		own.ends = true;
	return fake.waits > fake.busy;
}

void gd_log(struct gd_log *log, enum gd_level level, const char *format, ...)
{
	(void)log, (void)level, (void)format;
	fake.lines++;
}

int gd_msg_connect(struct gd_msg *msg, const struct gd_msg_answer *answer, bool fresh, char *error, size_t size)
{
	(void)msg, (void)answer, (void)fresh;
	if (fake.connect)
		snprintf(error, size, "a page cannot be mapped");
	return fake.connect;
}

int gd_served_fail(struct gd_served *served, int err, const char *what)
{
	(void)what;
	served->result = err;
	return err;
}

/* A job that has a thread runs at once. */
int gd_served_job_start(struct gd_served *served, void (*run)(struct gd_job *job), const char *what)
{
	(void)what;
	own.job = (struct gd_job){.run = run, .opaque = served};
	if (fake.no_thread)
		return -EAGAIN;
	run(&own.job);
	return 0;
}

void gd_msg_disconnect(struct gd_msg *msg)
{
	(void)msg;
	fake.disconnects++;
}

void gd_msg_stop(struct gd_msg *msg)
{
	(void)msg;
	fake.stops++;
}

int gd_msg_begin(struct gd_msg *msg)
{
	(void)msg;
	return 0;
}

int gd_msg_go_on(struct gd_msg *msg)
{
	(void)msg;
	return fake.go_on;
}

struct gd_pool *gd_msg_pool(const struct gd_msg *msg)
{
	(void)msg;
	return (struct gd_pool *)&fake;
}

struct gd_transport *gd_msg_transport(struct gd_msg *msg)
{
	(void)msg;
	return NULL;
}

bool gd_pool_straight(const struct gd_pool *pool)
{
	(void)pool;
	return fake.straight;
}

int gd_vdev_resume(struct gd_vdev *vdev)
{
	(void)vdev;
	return fake.resume;
}

uint32_t gd_vdev_status(const struct gd_vdev *vdev)
{
	(void)vdev;
	return fake.status;
}

uint32_t gd_vdev_queues(const struct gd_vdev *vdev)
{
	(void)vdev;
	return 1;
}

void gd_vdev_abandon(struct gd_vdev *vdev)
{
	(void)vdev;
}

void gd_vdev_commit(struct gd_vdev *vdev)
{
	(void)vdev;
}

void gd_vdev_reset(struct gd_vdev *vdev)
{
	(void)vdev;
}

void gd_vdev_transport_set(struct gd_vdev *vdev, struct gd_transport *transport)
{
	(void)vdev, (void)transport;
}

void gd_vdev_use_pool(struct gd_vdev *vdev, const struct gd_pool *pool)
{
	(void)vdev, (void)pool;
}

static void changed(struct gd_served *served)
{
	(void)served;
	fake.changed++;
}

static struct gd_served_env env = {.changed = changed};

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	own = (struct gd_served_own){.msg = (struct gd_msg *)&fake, .linked = true, .answered = true};
	pthread_mutex_init(&own.gate, NULL);
	device = (struct gd_served){.own = &own, .env = &env, .link = GD_LINK_UP};
	fake.straight = true;
	return 0;
}

/* ---- letting go ------------------------------------------------------------------------------------------------- */

/* A disk that hangs for an hour: nothing is unmapped before it answers, one line is logged, and the device stays. */
static void test_a_disk_that_hangs_is_waited_for(void **state)
{
	(void)state;
	fake.busy = 7200;
	gd_served_unlink(&device);
	assert_in_range(fake.waited, 60 * 60 * 1000, 61 * 60 * 1000);
	assert_int_equal(fake.lines, 2); /* that it is waited for, and that this is over */
	assert_int_equal(fake.disconnects, 1);
	assert_false(own.linked);
	assert_false(gd_served_hangs(&device));
	assert_true(gd_served_link_done(&device));
	assert_int_equal(device.link, GD_LINK_NONE);
}

/* One that answers soon is no news; and where the disk does not use the pool there is nothing to wait for. */
static void test_no_news(void **state)
{
	(void)state;
	fake.busy = 3;
	gd_served_unlink(&device);
	assert_int_equal(fake.waits, 4);
	assert_int_equal(fake.lines, 0);
	assert_int_equal(fake.disconnects, 1);
	fake.straight = false;
	gd_served_unlink(&device);
	assert_int_equal(fake.waits, 4);
	assert_int_equal(fake.disconnects, 2);
}

/* A device that is to be closed does not wait for the disk; the pages are the closing's. */
static void test_stopped_while_it_waits(void **state)
{
	(void)state;
	fake.busy = 5000;
	fake.ends_at = 100;
	gd_served_unlink(&device);
	assert_int_equal(fake.waits, 100);
	assert_int_equal(fake.disconnects, 0);
	assert_true(own.linked);
}

/* Without a thread it is the main thread that waits: half a minute, and then the device must be closed. */
static void test_no_thread(void **state)
{
	(void)state;
	fake.busy = 5000;
	fake.no_thread = true;
	gd_served_unlink(&device);
	assert_in_range(fake.waited, 1, 30000);
	assert_true(gd_served_hangs(&device));
	assert_int_equal(device.link, GD_LINK_ENDING);
	assert_int_equal(fake.disconnects, 0);
	assert_int_equal(fake.changed, 1);
}

/* ---- going on --------------------------------------------------------------------------------------------------- */

static void inherit_fails(int err, const char *why)
{
	char error[128] = "";

	assert_int_equal(gd_served_link_inherit(&device, error, sizeof(error)), err);
	assert_string_equal(error, why);
	assert_false(own.linked);
	assert_false(own.absent);
	own.answered = true;
	own.msg = (struct gd_msg *)&fake;
	fake.connect = fake.resume = fake.go_on = 0;
	fake.status = 0;
}

/* Each step that fails says what it was, and no other step. */
static void test_why_it_cannot_go_on(void **state)
{
	char error[128];

	(void)state;
	own.answered = false;
	inherit_fails(-ENOENT, "its guest has not answered");
	own.msg = NULL;
	inherit_fails(-ENOENT, "it has no messages any more");
	fake.connect = -EFAULT;
	inherit_fails(-EFAULT, "a page cannot be mapped");
	fake.status = 15;
	inherit_fails(-EBUSY, "a driver uses its registers (status '15'), and must reset it first");
	fake.resume = -ESTALE;
	inherit_fails(-ESTALE, "the former grantiod's last writes may still be on their way to its server");
	fake.resume = -EINVAL;
	inherit_fails(-EINVAL, "its ledger does not fit: Invalid argument");
	fake.go_on = -ENOMEM;
	inherit_fails(-ENOMEM, "cannot handle its messages: Cannot allocate memory");
	assert_int_equal(gd_served_link_inherit(&device, error, sizeof(error)), 0);
	assert_true(own.linked && own.absent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_disk_that_hangs_is_waited_for, setup),
		cmocka_unit_test_setup(test_no_news, setup),
		cmocka_unit_test_setup(test_stopped_while_it_waits, setup),
		cmocka_unit_test_setup(test_no_thread, setup),
		cmocka_unit_test_setup(test_why_it_cannot_go_on, setup),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
