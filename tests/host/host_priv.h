/* SPDX-License-Identifier: MIT */
/* What the files of the host share. Each structure is known to one file only. */
#ifndef TH_HOST_PRIV_H
#define TH_HOST_PRIV_H

#include "tests/host/host.h"

/* An empty log. th_grantiod_start() begins to fill it. */
struct th_log *th_log_open(void);
void th_log_close(struct th_log *log);

void th_toolstack_exit(struct th_host *host); /* frees what th_image() gave */

/* Start the daemon of a machine in host->dir, by the command; it can be used when this returns. */
struct th_process *th_model_start(struct th_host *host);
/* End it. 0, or -1: it did not end well. */
int th_model_stop(struct th_process *process);

#endif
