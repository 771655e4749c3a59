/* SPDX-License-Identifier: MIT */
/*
 * The device class virtio-rng (virtio 1.2, 5.4): the guest's buffers are filled with random bytes of the kernel's.
 *
 * A device has one queue, no features of its own and no configuration space. Its driver offers device-writable buffers
 * only, and the used length says how many bytes it got, which may be fewer than it asked for. A chain of which the
 * specification knows nothing (a device-readable part, no writable byte) is used with length 0, and so is one that
 * cannot be written. There is no state: a request that a former process took and did not answer is served again.
 *
 * What a guest gets is bounded, since it costs the host's processor time: by bytes per request, and by bytes per second
 * (struct gd_rng_budget). A request that must wait for that stays in the guest's ring, and a timer of the queue's
 * io_uring says when the thread looks again.
 *
 * Threads: a queue's own thread; opening and closing as class.h says.
 */
#ifndef GD_RNG_H
#define GD_RNG_H

#include <stddef.h>
#include <stdint.h>

#include "backend/virtio/class.h"

#define GD_RNG_REQUEST_BYTES 4096u /* maximum for a request: it gets no more, however long its buffers are */
/* What a request costs at least, since even one byte costs the host a copy. */
#define GD_RNG_REQUEST_LEAST 64u

#define GD_RNG_RATE_MIN 1024 /* a whole request waits four seconds at most */
#define GD_RNG_RATE_MAX 1073741824

/*
 * How much may be had now. It fills by `rate` up to a burst: a sixteenth of a second's bytes, but at least one whole
 * request, so that each request can be paid for at some time. A new one is full.
 */
struct gd_rng_budget {
	uint64_t rate, burst; /* bytes per second; bytes */
	uint64_t credit;      /* in millionths of a byte: what a microsecond brings is then a whole number */
	uint64_t last_us;     /* when it was filled last, by gd_clock_us() */
};

void gd_rng_budget_init(struct gd_rng_budget *budget, uint32_t rate, uint64_t now_us);
/*
 * Pay for `bytes`, at most the burst. 0: that is done. Otherwise nothing was paid, and there will be enough after so
 * many microseconds.
 */
uint64_t gd_rng_budget_pay(struct gd_rng_budget *budget, uint32_t bytes, uint64_t now_us);

/*
 * A virtio-rng device for gd_vdev_open(), with `rate` from GD_RNG_RATE_MIN to GD_RNG_RATE_MAX. 0, or -ENOMEM with a
 * line in `error` (`size` bytes). It is closed by gd_class_close().
 */
int gd_rng_open(struct gd_class_device **device, const struct gd_device_config *config, uint32_t rate, char *error,
		size_t size);

#endif
