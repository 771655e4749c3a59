/* SPDX-License-Identifier: MIT */
/*
 * Kicks, vCPUs and xenstore: what was lost, or waited for, elsewhere (docs: mistakes made while measuring, and the
 * defects of other backends that are named after xenstore).
 */
#include "tests/hostile/guest.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define VCPUS 16

struct vcpu {
	struct hg *hg;
	unsigned number;
};

static void *vcpu_access(void *opaque)
{
	struct vcpu *vcpu = opaque;

	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(hg_read(vcpu->hg, GIO_VIRTIO_MMIO_MAGIC), GIO_VIRTIO_MMIO_MAGIC_VALUE);
		hg_write(vcpu->hg, GIO_VIRTIO_MMIO_QUEUE_NOTIFY, (i + vcpu->number) % HG_QUEUES);
	}
	return NULL;
}

/* One event may stand for many vCPUs' requests: all slots are looked at again after each. Else a vCPU hangs. */
static void event_consumed_without_recheck(void **state)
{
	const struct hg_options options = {.vcpus = VCPUS};
	struct vcpu vcpus[VCPUS];
	pthread_t threads[VCPUS];
	struct hg_scene scene;

	hg_scene_begin(&scene, state, &options);
	hg_start(&scene.hg, 0, HG_QUEUES);
	for (unsigned i = 0; i < VCPUS; i++) {
		vcpus[i] = (struct vcpu){&scene.hg, i};
		assert_int_equal(pthread_create(&threads[i], NULL, vcpu_access, &vcpus[i]), 0);
	}
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(threads[i], NULL);
	hg_scene_end(&scene);
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Does the device want a kick for what was made available since `before`? As a driver asks (virtio 1.2, 2.7.13.4). */
static bool kick_wanted(struct hg *hg, uint16_t before, bool event_idx)
{
	struct gio_virtq_used *used = hg_used(hg, 0);
	uint16_t *event = (uint16_t *)(void *)((char *)used + gio_virtq_avail_event_offset(HG_ENTRIES));

	/* Orders the store of the index before the loads below. Pairs with the barrier in gd_queue_arm(). */
	__sync_synchronize();
	if (event_idx)
		return gio_virtq_need_event(__atomic_load_n(event, __ATOMIC_RELAXED), hg->queue[0].next, before);
	return !(__atomic_load_n(&used->flags, __ATOMIC_RELAXED) & GIO_VIRTQ_USED_F_NO_NOTIFY);
}

/* Ask for an interrupt with the next chain that is used. */
static void used_event_set(struct hg *hg)
{
	__atomic_store_n(&hg_avail(hg, 0)->ring[HG_ENTRIES], hg->queue[0].seen, __ATOMIC_RELAXED);
	/* Orders this store before the next load of the used index. Pairs with the barrier in gd_queue_publish(). */
	__sync_synchronize();
}

/*
 * Groups of requests, kicked only when the device wants it, and sometimes more made available between: what is kicked
 * for, or found without, is all completed, without one read of a register that could hide a lost kick.
 */
static void kick_lost_while_rearming(void **state)
{
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	unsigned seed = 20261, kicks = 0, requests = 0;

	hg_scene_begin(&scene, state, NULL);
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		hg_start(hg, event_idx ? GIO_VIRTIO_F_EVENT_IDX : 0, 1);
		for (unsigned round = 0; round < 1500; round++) {
			unsigned count = 0, groups = 1 + next_random(&seed) % 3;

			used_event_set(hg);
			for (unsigned group = 0; group < groups; group++) {
				unsigned size = 1 + next_random(&seed) % 8;
				uint16_t before = hg->queue[0].next;

				for (unsigned i = 0; i < size; i++, count++)
					hg_push(hg, 0,
						hg_request(hg, 0, count, GIO_VIRTIO_BLK_T_IN, next_random(&seed) % 8192,
							   hg_dma(HG_DATA), 512));
				if (kick_wanted(hg, before, event_idx)) {
					hg_kick(hg, 0);
					kicks++;
				}
			}
			requests += count;
			/* Each interrupt must come by itself: the event moves on with what was seen. */
			while (count > 0) {
				count -= hg_used_some(hg, 0, count);
				used_event_set(hg);
			}
		}
	}
	print_message("%u kicks for %u requests\n", kicks, requests);
	assert_true(kicks > 0 && kicks < requests);
	hg_scene_end(&scene);
}

/* ---- xenstore --------------------------------------------------------------------------------------------------- */

/* Its own directory is the guest's to ruin, in the midst of I/O. */
static void abort_when_the_guest_rewrites_its_own_state_node(void **state)
{
	static const char front[] = "device/virtio_disk/51712", node[] = "device/virtio_disk/51712/state";
	static const char *const values[] = {"0", "1", "3",	      "4", "5", "6", "7", "-1", "18446744073709551616",
					     "x", "",  "\xff\xfe\x01"};
	struct xs_permissions nobody[] = {{.id = 1, .perms = XS_PERM_NONE}};
	struct hg_scene scene;
	struct hg *hg = &scene.hg;
	struct xs_handle *xs;
	char large[1024]; /* xenstored takes no node of a guest that has more than 2048 bytes in all */

	hg_scene_begin(&scene, state, NULL);
	hg_start(hg, 0, 1);
	xs = th_store_connect(scene.host, 1);
	memset(large, '4', sizeof(large));
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_true(xs_write(xs, XBT_NULL, node, values[i], (unsigned)strlen(values[i])));
		assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, i, 512), GIO_VIRTIO_BLK_S_OK);
	}
	assert_true(xs_write(xs, XBT_NULL, node, large, sizeof(large)));
	assert_true(xs_write(xs, XBT_NULL, node, "4\0005", 3));
	assert_true(xs_rm(xs, XBT_NULL, node));
	assert_true(xs_mkdir(xs, XBT_NULL, "device/virtio_disk/51712/state/state"));
	assert_true(xs_set_permissions(xs, XBT_NULL, front, nobody, 1));
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 512), GIO_VIRTIO_BLK_S_OK);
	/* And what is not its own it cannot write. */
	assert_false(xs_write(xs, XBT_NULL, "/local/domain/0/backend/virtio_disk/1/51712/state", "6", 1));
	assert_false(xs_write(xs, XBT_NULL, "/local/domain/0/backend/virtio_disk/1/51712/base", "0", 1));
	assert_true(xs_rm(xs, XBT_NULL, front));
	assert_int_equal(hg_io(hg, GIO_VIRTIO_BLK_T_IN, 0, 512), GIO_VIRTIO_BLK_S_OK);
	xs_close(xs);
	assert_int_equal(th_log_count(scene.host, "stopping"), 0);
	hg_scene_end(&scene);
}

/*
 * A second disk whose keys come one by one, in an order that suits nobody: it is served once the last is there, and no
 * other key is taken for the last.
 */
static void sleeping_because_xenstore_may_be_incomplete(void **state)
{
	static const struct th_key none[] = {
		{"frontend", NULL}, {"params", NULL},	   {"frontend-id", NULL},   {"online", NULL},
		{"state", NULL},    {"mode", NULL},	   {"transport", NULL},	    {"base", NULL},
		{"irq", NULL},	    {"grant_usage", NULL}, {"specification", NULL}, {"device-type", NULL},
		{NULL, NULL},
	};
	/* What is missing first, and is written then. */
	static const char *const wanted[][2] = {
		{"state", "1"},	      {"online", "1"},	     {"frontend", "/local/domain/1/device/virtio_disk/51728"},
		{"frontend-id", "1"}, {"transport", "mmio"}, {"base", "33554944"},
		{"irq", "34"},	      {"mode", "w"},
	};
	struct hg_scene scene;
	char line[64];

	hg_scene_begin(&scene, state, NULL);
	th_disk_write(scene.host, 1, 1, "", none);
	th_disk_key(scene.host, 1, 1, "grant_usage", "1");
	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		snprintf(line, sizeof(line), "<6>d1/xvdb: waiting for key '%s'\n", wanted[i][0]);
		th_log_wait(scene.host, line, 1);
		hg_scene_check(&scene); /* the wait is nobody else's */
		th_disk_key(scene.host, 1, 1, wanted[i][0], wanted[i][1]);
	}
	th_log_wait(scene.host, "<6>d1/xvdb: waiting for key 'params'\n", 1);
	th_disk_key(scene.host, 1, 1, "params", th_image(scene.host, "late.raw", TH_MIB));
	th_disk_wait(scene.host, 1, 1, 2);
	assert_int_equal(th_log_count(scene.host, "<3>"), 0);
	th_disk_detach(scene.host, 1, 1);
	hg_scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HG_TEST(event_consumed_without_recheck),
		HG_TEST(kick_lost_while_rearming),
		HG_TEST(abort_when_the_guest_rewrites_its_own_state_node),
		HG_TEST(sleeping_because_xenstore_may_be_incomplete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
