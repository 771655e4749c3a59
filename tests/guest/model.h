/* SPDX-License-Identifier: MIT */
/* The small guest's system (guest/os/xen/xen.h) on a guest of the model, within the test's process. One at a time. */
#ifndef TESTS_GUEST_MODEL_H
#define TESTS_GUEST_MODEL_H

#include <stdint.h>
#include <stdio.h>

/* Be guest `domid` of the machine in `dir`; the console goes to `console`. 0 or -errno. */
int guest_model_open(const char *dir, uint16_t domid, FILE *console);
void guest_model_close(void);

#endif
