/* SPDX-License-Identifier: MIT */
/* What a check has found: the list that the report is made of. */
#include "cli/doctor/doctor.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 5, 0))) static void check_add(struct gc_doctor *doctor, enum gc_finding finding,
							    const char *name, const char *remedy, const char *format,
							    va_list list)
{
	struct gc_check *check = &doctor->checks[doctor->count];

	if (doctor->count == GC_CHECKS_MOST)
		return; /* a guest with more disks than that: the first ones are shown */
	doctor->count++;
	check->finding = finding;
	check->name = name;
	vsnprintf(check->found, sizeof(check->found), format, list);
	snprintf(check->remedy, sizeof(check->remedy), "%s", remedy);
}

void gc_doctor_ok(struct gc_doctor *doctor, const char *name, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	check_add(doctor, GC_PRESENT, name, "", format, list);
	va_end(list);
}

void gc_doctor_missing(struct gc_doctor *doctor, const char *name, const char *remedy, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	check_add(doctor, GC_MISSING, name, remedy, format, list);
	va_end(list);
}

void gc_doctor_unknown(struct gc_doctor *doctor, const char *name, const char *remedy, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	check_add(doctor, GC_UNKNOWN, name, remedy, format, list);
	va_end(list);
}
