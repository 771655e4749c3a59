/* SPDX-License-Identifier: MIT */
/* A guest process, inside. */
#ifndef GM_GUEST_PRIV_H
#define GM_GUEST_PRIV_H

#include "model/state.h"

struct gm_irq_wake {
	uint32_t due;	/* a wake that no wait has reported */
	uint32_t count; /* wakes so far */
};

struct gm_guest {
	struct gm_machine *m;
	struct gm_domain *d; /* ours */
	struct gm_attach *a;
	pthread_mutex_t lock; /* busy */
	pthread_cond_t vcpu_free;
	bool busy[GM_MAX_VCPUS];
	struct gm_irq_wake irq[GM_MAX_IRQS];
};

#endif
