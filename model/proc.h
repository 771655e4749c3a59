/* SPDX-License-Identifier: MIT */
/* The slots of the processes that take part in a machine, and what is done when one of them ends. */
#ifndef GM_PROC_H
#define GM_PROC_H

#include "model/state.h"

/* Take a slot for this process; slots of dead processes are released if no other is free. 0 or -EUSERS. */
int gm_proc_claim(struct gm_machine *machine);
/* Undo what process `slot` left behind, as Linux closes gntdev and evtchn; once per generation. Big not held. */
void gm_proc_release(struct gm_machine *machine, uint32_t slot, uint32_t gen);

#endif
