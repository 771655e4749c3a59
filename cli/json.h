/* SPDX-License-Identifier: MIT */
/* JSON on a stream: a string with its quotes. Bytes that are no ASCII are taken as UTF-8 and passed through. */
#ifndef GC_JSON_H
#define GC_JSON_H

#include <stdio.h>

void gc_json_string(FILE *out, const char *text);

#endif
