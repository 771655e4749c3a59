/* SPDX-License-Identifier: MIT */
/*
 * A device from one process to the next: what a process that is about to leave does not begin any more, and what its
 * successor does again, or must not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/virtio/vdev_priv.h"
#include "tests/unit/backend/fake.h"

#define PAGES 256u /* of the guest's, that a test may use */

static char path[64];
static uint64_t cookie;

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/gd-inherit-XXXXXX");
	return mkdtemp(path) ? (strcat(path, "/ledger"), fake_setup(state)) : -1;
}

static int teardown(void **state)
{
	int ret = fake_teardown(state);

	*strrchr(path, '/') = '\0';
	return rmdir(path) ? -1 : ret;
}

static void held_until(unsigned n)
{
	fake_until(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST) == n);
}

static void hold(void)
{
	__atomic_store_n(&fake_disk.hold, true, __ATOMIC_SEQ_CST);
}

/* The first process, on a disk that a successor can be sure of or not. */
static void first(unsigned queues, bool fenced)
{
	struct fake_setup what = {.queues = queues};

	assert_int_equal(gd_ledger_make(&what.ledger, path), 0);
	cookie = gd_ledger_cookie(what.ledger);
	fake_disk.info.fenced = fenced;
	fake_start(&what);
}

static void *file_read(size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *data;

	assert_int_equal(fstat(fd, &st), 0);
	*size = (size_t)st.st_size;
	data = malloc(*size);
	assert_non_null(data);
	assert_int_equal(read(fd, data, *size), *size);
	close(fd);
	return data;
}

static void file_write(void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, data, size), size);
	close(fd);
	free(data);
}

/*
 * The process is killed here: its ledger and the guest's memory are as they were. What the disk had in flight it does
 * nevertheless, and nobody hears of it.
 */
static void killed(void)
{
	void *ram = malloc(PAGES * FAKE_PAGE), *ledger;
	size_t size;

	assert_non_null(ram);
	assert_true(fake_guest.next_page <= PAGES);
	ledger = file_read(&size);
	/* By the file, as its threads are at work yet. */
	assert_int_equal(pread(fake_xen.ram_fd, ram, PAGES * FAKE_PAGE, 0), PAGES * FAKE_PAGE);
	fake_disk_release();
	fake_close();
	assert_int_equal(pwrite(fake_xen.ram_fd, ram, PAGES * FAKE_PAGE, 0), PAGES * FAKE_PAGE);
	free(ram);
	file_write(ledger, size);
}

/* gd_vdev_resume()'s result. */
static int successor(unsigned queues)
{
	struct fake_setup what = {.queues = queues};

	assert_int_equal(gd_ledger_adopt(&what.ledger, path, cookie), 0);
	assert_int_equal(fake_open(&what), 0);
	return gd_vdev_resume(fake_guest.vdev);
}

/* A driver that heeds DEVICE_NEEDS_RESET. */
static void driver_begins_anew(void)
{
	fake_reset();
	fake_probe(FAKE_FEATURES);
	fake_queue_ready(0, 256);
	fake_driver_ok();
	fake_still_works();
}

static struct fake_req in_flight(uint32_t type, uint32_t length)
{
	struct fake_req req;

	hold(); /* before the queue's thread can see it */
	req = fake_request(0, type, 0, length, type == GIO_VIRTIO_BLK_T_OUT, NULL);
	fake_kick(0);
	held_until(1);
	return req;
}

/* A file's lock says that the first time is over: twice is as good as once. */
static void test_writes_are_done_again_on_a_fenced_disk(void **state)
{
	struct fake_req req;

	(void)state;
	first(1, true);
	req = in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	killed();
	assert_int_equal(fake_disk.writes, 1);
	assert_int_equal(successor(1), 0);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(fake_status(&req), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_disk.writes, 2);
	fake_still_works();
}

/* Nothing says that of an NBD server: it may do the first write after the second, and after the guest's next one. */
static void test_writes_are_not_done_again_elsewhere(void **state)
{
	struct fake_req req;

	(void)state;
	first(1, false);
	req = in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	killed();
	assert_int_equal(successor(1), -ESTALE);
	assert_int_equal(fake_reg_read(0x070), GIO_VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(fake_reg_read(0x060), GIO_VIRTIO_INT_CONFIG);
	assert_int_equal(fake_status(&req), 0xee);
	driver_begins_anew();
	assert_int_equal(fake_disk.writes, 1); /* by the process that was killed */
	/* From here on it is a device like others. */
	killed();
	assert_int_equal(successor(1), 0);
	fake_still_works();
}

static void test_discards_are_not_either(void **state)
{
	struct gio_virtio_blk_range range = {0, 8, 0};

	(void)state;
	first(1, false);
	hold();
	fake_request(0, GIO_VIRTIO_BLK_T_DISCARD, 0, sizeof(range), true, &range);
	fake_kick(0);
	held_until(1);
	killed();
	assert_int_equal(successor(1), -ESTALE);
}

static void test_reads_and_flushes_are_done_again(void **state)
{
	struct fake_req read, flush;

	(void)state;
	first(1, false);
	hold(); /* before the queue's thread can see them */
	read = fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	flush = fake_request(0, GIO_VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL);
	fake_kick(0);
	held_until(2);
	killed();
	assert_int_equal(successor(1), 0);
	fake_used(&fake_guest.vq[0], 2);
	assert_int_equal(fake_status(&read), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_status(&flush), GIO_VIRTIO_BLK_S_OK);
	assert_memory_equal(fake_page(read.data), fake_disk.bytes, 512);
}

/* A write that was answered is over; one that the disk never got is done for the first time. */
static void test_only_what_is_in_flight_counts(void **state)
{
	struct fake_req waiting;

	(void)state;
	first(1, false);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_OUT, 0, 512, true, fake_disk.bytes), GIO_VIRTIO_BLK_S_OK);
	gd_vdev_quiesce(fake_guest.vdev);
	fake_until(gd_vdev_inflight(fake_guest.vdev) == 0);
	waiting = fake_request(0, GIO_VIRTIO_BLK_T_OUT, 8, 512, true, NULL);
	fake_kick(0);
	killed();
	assert_int_equal(successor(1), 0);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(fake_status(&waiting), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_disk.writes, 2);
}

/* A reset takes the ring away, but not the I/O. */
static void test_orphans_count(void **state)
{
	(void)state;
	first(1, false);
	in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	fake_reset();
	fake_probe(FAKE_FEATURES);
	fake_queue_ready(0, 256); /* begins its ledger anew */
	killed();
	assert_int_equal(successor(1), -ESTALE);
	driver_begins_anew();
}

static void test_orphans_that_are_gone_do_not(void **state)
{
	(void)state;
	first(1, false);
	in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	fake_reset();
	fake_disk_release();
	fake_until(gd_vdev_inflight(fake_guest.vdev) == 0);
	killed();
	assert_int_equal(successor(1), 0);
	driver_begins_anew();
}

static void test_orphans_of_a_fenced_disk_are_over(void **state)
{
	(void)state;
	first(1, true);
	in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	fake_reset();
	killed();
	assert_int_equal(successor(1), 0);
	killed();
	fake_disk.info.fenced = false; /* were it another disk now: nothing of that process is left */
	assert_int_equal(successor(1), 0);
}

/* Who refuses and is killed leaves a device that needs a reset, not one that waits for nothing. */
static void test_refused_stays_refused(void **state)
{
	(void)state;
	first(1, false);
	in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	killed();
	assert_int_equal(successor(1), -ESTALE);
	killed();
	assert_int_equal(successor(1), 0);
	assert_int_equal(fake_reg_read(0x070), GIO_VIRTIO_STATUS_NEEDS_RESET);
	driver_begins_anew();
}

/* An image that was replaced by one with larger blocks: the driver's requests would not fit it. */
static void test_other_blocks(void **state)
{
	(void)state;
	first(1, true);
	killed();
	fake_disk.info.block_size = 4096;
	assert_int_equal(successor(1), -EINVAL);
	assert_int_equal(fake_reg_read(0x070), GIO_VIRTIO_STATUS_NEEDS_RESET);
	assert_string_equal(fake_log_last,
			    "the image has blocks of 4096 bytes now, and its driver knows blocks of 512");
	fake_reset();
	killed();
	fake_disk.info.block_size = 512; /* no driver knows of the others */
	assert_int_equal(successor(1), 0);
	driver_begins_anew();
}

/* The ledger's file as version 3 wrote it: the transport's part had 64 bytes. */
static void file_of_version_3(void)
{
	static const uint32_t sizes[] = {48, 536, 64, 64, sizeof(struct gd_ledger_queue), 16};
	const size_t header = 48, copy = 664, queues = 16 * sizeof(struct gd_ledger_queue);
	size_t size, ours;
	uint8_t *from = file_read(&size), *to = calloc(1, header + 2 * copy + queues);
	struct gd_ledger_registers r;

	assert_non_null(to);
	ours = (size - header - queues) / 2;
	assert_int_equal(ours, sizeof(r));
	memcpy(&r, from + header + from[16] * ours, sizeof(r));
	memcpy(to, from, header);
	to[0] = 3;
	to[16] = 0;
	memcpy(to + 24, sizes, sizeof(sizes));
	memcpy(to + header, &r, 536);
	memcpy(to + header + 536, r.transport, 64);
	memcpy(to + header + 600, r.class, 64);
	memcpy(to + header + 2 * copy, from + size - queues, queues);
	free(from);
	assert_int_equal(unlink(path), 0);
	file_write(to, header + 2 * copy + queues);
}

/* A grantiod of the version before was killed with a request in flight: its guest notices nothing but a pause. */
static void test_ledger_of_the_version_before(void **state)
{
	struct fake_req req;

	(void)state;
	first(1, true);
	assert_int_equal(fake_do(GIO_VIRTIO_BLK_T_OUT, 0, 512, true, fake_disk.bytes), GIO_VIRTIO_BLK_S_OK);
	req = in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	killed();
	file_of_version_3();
	assert_int_equal(successor(1), 0);
	assert_int_equal(fake_reg_read(0x070), 0xf);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(fake_status(&req), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_disk.writes, 3); /* the second one twice, the first one never again */
	fake_still_works();
}

/* ---- a ledger that another transport or another class wrote: their parts of it mean something else ---- */

/* Change a field of the registers that the killed process saved last. */
static void file_registers_set(size_t field, uint32_t value)
{
	const size_t header = 48, current = 16; /* of the file; test_ledger_versions.c has its layout */
	size_t size;
	uint8_t *data = file_read(&size);

	memcpy(data + header + data[current] * sizeof(struct gd_ledger_registers) + field, &value, sizeof(value));
	assert_int_equal(unlink(path), 0);
	file_write(data, size);
}

/* The successor does no request again, and tells the driver to reset the device. After that it is like any other. */
static void written_by(size_t field, uint32_t other)
{
	struct fake_req req;

	first(1, true);
	req = in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	killed();
	file_registers_set(field, other);
	assert_int_equal(successor(1), -EINVAL);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), GIO_VIRTIO_STATUS_NEEDS_RESET);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_INTERRUPT_STATUS), GIO_VIRTIO_INT_CONFIG);
	driver_begins_anew();
	assert_int_equal(fake_status(&req), 0xee);
	assert_int_equal(fake_disk.writes, 1); /* by the process that was killed */
	killed();
	assert_int_equal(successor(1), 0); /* the driver's new state was saved as this device's own */
	fake_still_works();
}

static void test_ledger_of_another_transport(void **state)
{
	(void)state;
	written_by(offsetof(struct gd_ledger_registers, transport_id), GD_TRANSPORT_MMIO + 1);
}

static void test_ledger_of_no_transport(void **state)
{
	(void)state;
	written_by(offsetof(struct gd_ledger_registers, transport_id), 0);
}

static void test_ledger_of_another_class(void **state)
{
	(void)state;
	written_by(offsetof(struct gd_ledger_registers, class_id), GIO_VIRTIO_ID_RNG);
}

/* The directory's type was changed while no grantiod was running. */
static void test_ledger_of_a_disk_for_a_virtio_rng(void **state)
{
	struct fake_setup what = {.rng_rate = 1024};

	(void)state;
	first(1, true);
	killed();
	assert_int_equal(gd_ledger_adopt(&what.ledger, path, cookie), 0);
	assert_int_equal(fake_open(&what), 0);
	assert_int_equal(gd_vdev_resume(fake_guest.vdev), -EINVAL);
	assert_int_equal(fake_reg_read(GIO_VIRTIO_MMIO_STATUS), GIO_VIRTIO_STATUS_NEEDS_RESET);
}

/* The process was killed before it saved anything, so no driver can have been there. */
static void test_ledger_that_nobody_wrote(void **state)
{
	struct gd_ledger *ledger;

	(void)state;
	assert_int_equal(gd_ledger_make(&ledger, path), 0);
	cookie = gd_ledger_cookie(ledger);
	gd_ledger_leave(ledger);
	assert_int_equal(successor(1), 0);
	driver_begins_anew();
}

/* ---- what works is known to a successor: the linker sends the device's calls here (--wrap) ---- */

static unsigned starts; /* of queues */

void __real_gd_worker_start(struct gd_worker *worker, struct gd_ring *ring);
void __wrap_gd_worker_start(struct gd_worker *worker, struct gd_ring *ring);
void __wrap_gd_worker_start(struct gd_worker *worker, struct gd_ring *ring)
{
	const struct gd_vdev *vdev = fake_guest.vdev;
	struct gd_ledger_registers r;

	if (vdev) { /* else it is being opened */
		gd_ledger_load(vdev->config.ledger, &r);
		assert_true(r.status & GIO_VIRTIO_STATUS_DRIVER_OK);
		for (unsigned i = 0; i < FAKE_QUEUES; i++)
			if (ring == &vdev->queues[i].ring)
				assert_true(r.queue[i].ready);
	}
	starts++;
	__real_gd_worker_start(worker, ring);
}

/* A queue may be made ready after DRIVER_OK: it begins to work when the ledger says so, like the others. */
static void test_no_queue_works_before_the_ledger_knows(void **state)
{
	struct fake_setup what = {.queues = 2};
	struct fake_req req;

	(void)state;
	assert_int_equal(gd_ledger_make(&what.ledger, path), 0);
	starts = 0;
	assert_int_equal(fake_open(&what), 0);
	fake_probe(FAKE_FEATURES);
	fake_queue_ready(0, 256);
	fake_driver_ok();
	assert_int_equal(starts, 1);
	fake_queue_ready(1, 256);
	assert_int_equal(starts, 2);
	req = fake_request(1, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(1);
	fake_used(&fake_guest.vq[1], 1);
	assert_int_equal(fake_status(&req), GIO_VIRTIO_BLK_S_OK);
}

/* A process that leaves: what it has taken it finishes, the rest stays in the ring for its successor, who repeats none.
 */
static void test_quiesce(void **state)
{
	struct fake_req taken[2], left;

	(void)state;
	first(2, false);
	hold();
	for (unsigned i = 0; i < 2; i++)
		taken[i] = fake_request(0, GIO_VIRTIO_BLK_T_OUT, i, 512, true, NULL);
	fake_kick(0);
	held_until(2);
	gd_vdev_quiesce(fake_guest.vdev);
	fake_until(__atomic_load_n(&fake_guest.quiet, __ATOMIC_SEQ_CST) == 1); /* the idle queue has heard of it */
	assert_int_equal(gd_vdev_inflight(fake_guest.vdev), 2);
	left = fake_request(0, GIO_VIRTIO_BLK_T_OUT, 2, 512, true, NULL);
	fake_kick(0);
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(__atomic_load_n(&fake_disk.held, __ATOMIC_SEQ_CST), 2);
		fake_yield();
	}
	fake_disk_release();
	fake_until(__atomic_load_n(&fake_guest.quiet, __ATOMIC_SEQ_CST) == 2);
	assert_int_equal(gd_vdev_inflight(fake_guest.vdev), 0);
	fake_used(&fake_guest.vq[0], 2);
	assert_false(fake_used_now(&fake_guest.vq[0]));
	killed();
	assert_int_equal(fake_disk.writes, 2);
	assert_int_equal(successor(2), 0);
	fake_used(&fake_guest.vq[0], 1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(fake_status(&taken[i]), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_status(&left), GIO_VIRTIO_BLK_S_OK);
	assert_int_equal(fake_disk.writes, 3);
}

/* Where a successor could not know whether what was written is safe, it is flushed before the process leaves. */
static void test_quiesce_flushes(void **state)
{
	struct fake_req taken;

	(void)state;
	first(2, false);
	fake_disk.remembers = true;
	hold();
	taken = fake_request(0, GIO_VIRTIO_BLK_T_OUT, 0, 512, true, NULL);
	fake_kick(0);
	held_until(1);
	gd_vdev_quiesce(fake_guest.vdev);
	fake_until(__atomic_load_n(&fake_guest.quiet, __ATOMIC_SEQ_CST) == 1); /* the idle queue has nothing to flush */
	assert_int_equal(gd_vdev_inflight(fake_guest.vdev), 1);
	fake_disk_release();
	fake_until(gd_vdev_inflight(fake_guest.vdev) == 0);
	assert_int_equal(__atomic_load_n(&fake_disk.writes, __ATOMIC_SEQ_CST), 1);
	assert_int_equal(__atomic_load_n(&fake_disk.flushes, __ATOMIC_SEQ_CST), 1); /* before all is quiet */
	fake_until(__atomic_load_n(&fake_guest.quiet, __ATOMIC_SEQ_CST) == 2);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(fake_status(&taken), GIO_VIRTIO_BLK_S_OK);
	killed();
	assert_int_equal(successor(2), 0);
}

/* A guest that resets meanwhile does not make I/O in flight uncounted, nor a new driver's requests taken. */
static void test_quiesce_and_reset(void **state)
{
	(void)state;
	first(1, false);
	in_flight(GIO_VIRTIO_BLK_T_OUT, 512);
	gd_vdev_quiesce(fake_guest.vdev);
	fake_reset();
	assert_int_equal(gd_vdev_inflight(fake_guest.vdev), 1);
	fake_probe(FAKE_FEATURES);
	fake_queue_ready(0, 256);
	fake_driver_ok();
	fake_request(0, GIO_VIRTIO_BLK_T_IN, 0, 512, false, NULL);
	fake_kick(0);
	__atomic_store_n(&fake_guest.quiet, 0, __ATOMIC_SEQ_CST);
	fake_disk_release();
	fake_until(__atomic_load_n(&fake_guest.quiet, __ATOMIC_SEQ_CST) == 1);
	assert_int_equal(gd_vdev_inflight(fake_guest.vdev), 0);
	assert_int_equal(fake_disk.reads, 0);
	killed();
	assert_int_equal(successor(1), 0);
	fake_used(&fake_guest.vq[0], 1);
	assert_int_equal(fake_disk.reads, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_writes_are_done_again_on_a_fenced_disk),
		T(test_writes_are_not_done_again_elsewhere),
		T(test_discards_are_not_either),
		T(test_reads_and_flushes_are_done_again),
		T(test_only_what_is_in_flight_counts),
		T(test_orphans_count),
		T(test_orphans_that_are_gone_do_not),
		T(test_orphans_of_a_fenced_disk_are_over),
		T(test_refused_stays_refused),
		T(test_other_blocks),
		T(test_ledger_of_the_version_before),
		T(test_ledger_of_another_transport),
		T(test_ledger_of_no_transport),
		T(test_ledger_of_another_class),
		T(test_ledger_of_a_disk_for_a_virtio_rng),
		T(test_ledger_that_nobody_wrote),
		T(test_no_queue_works_before_the_ledger_knows),
		T(test_quiesce),
		T(test_quiesce_flushes),
		T(test_quiesce_and_reset),
	};

	return cmocka_run_group_tests_name("inherit", tests, NULL, NULL);
}
