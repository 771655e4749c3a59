/* SPDX-License-Identifier: MIT */
/* grantio model exec: a program that was written for Xen, on a machine of the model. And where the parts of ours lie.
 */
#include "cli/model/machine.h"
#include "cli/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL_LIBRARY "libgrantio-model.so"

/* The folder of this program, wherever it is: installed, unpacked somewhere, or just built. */
static bool own_dir(char dir[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", dir, PATH_MAX - 1);

	if (length <= 0)
		return false;
	dir[length] = '\0';
	*strrchr(dir, '/') = '\0';
	return true;
}

/*
 * The file `name` in the first of two places, relative to the folder of this program, where it exists; NULL if it does
 * not. The caller frees it.
 */
static char *beside(const char *first, const char *second, const char *name, int mode)
{
	const char *const places[] = {first, second};
	char dir[PATH_MAX], *path;

	if (!own_dir(dir))
		return NULL;
	for (size_t i = 0; i < 2; i++) {
		if (asprintf(&path, "%s/../%s/%s", dir, places[i], name) < 0)
			return NULL;
		if (access(path, mode) == 0) {
			char *whole = realpath(path, NULL);

			free(path);
			return whole;
		}
		free(path);
	}
	return NULL;
}

/*
 * Beside this program in the build folder, or where `make install` puts it: relative to where grantio lies, so that a
 * moved tree works.
 */
char *gc_machine_plugin(void)
{
	return beside("nbdkit", GC_LIBDIR "/nbdkit/plugins", "nbdkit-grantio-plugin.so", R_OK);
}

/* What else is preloaded comes behind. */
static int preload(void)
{
	char *library = beside("model", GC_LIBDIR "/grantio", MODEL_LIBRARY, R_OK), *value = NULL;
	const char *before = getenv("LD_PRELOAD");
	int rc = GC_FAILED;

	if (!library)
		return gc_fail(MODEL_LIBRARY ": neither where this program was built nor in ../" GC_LIBDIR
					     "/grantio of it");
	if (asprintf(&value, "%s%s%s", library, before && *before ? ":" : "", before ? before : "") < 0)
		value = NULL;
	if (!value || setenv("LD_PRELOAD", value, 1))
		gc_fail("%s", strerror(errno));
	else
		rc = GC_OK;
	free(value);
	free(library);
	return rc;
}

/* Each domain has its own socket of the store: that is how the store knows who asks. */
static int environment(const char *dir, unsigned domid)
{
	char number[12], store[PATH_MAX];

	snprintf(number, sizeof(number), "%u", domid);
	snprintf(store, sizeof(store), domid ? "%s/store.%u" : "%s/store", dir, domid);
	if (setenv("GRANTIO_MACHINE", dir, 1) || setenv("GRANTIO_DOMID", number, 1) ||
	    setenv("XENSTORED_PATH", store, 1))
		return gc_fail("%s", strerror(errno));
	return preload();
}

/* exec, so that the program has this process: its signals and its status are the caller's own. */
static int program_run(char **argv)
{
	char *ours;
	int error;

	execvp(argv[0], argv);
	error = errno;
	if (error == ENOENT &&
	    !strchr(argv[0], '/')) { /* grantiod is in sbin, where an ordinary user's shell does not look */
		ours = beside("backend", "sbin", argv[0], X_OK);
		if (ours)
			execv(ours, argv);
		free(ours);
	}
	return gc_fail("command '%s': %s", argv[0], strerror(error));
}

enum { DOMID, MACHINE };

static const struct gc_option exec_options[] = {
	[DOMID] = {"domid", "N", "the domain whose program it is; default 0"},
	[MACHINE] = GC_OPTION_MACHINE,
	{0},
};

/* A machine that does not run is refused here: the program itself would only say that it cannot reach Xen. */
static int exec_run(int argc, char **argv)
{
	struct gc_args args;
	uint64_t domid = 0;
	const char *dir;
	int at, rc;

	if (!gc_args_program(&args, exec_options, argc, argv, &at))
		return GC_USAGE;
	if (args.option[DOMID] && !gc_number("domid", args.option[DOMID], 0, GM_MAX_DOMAINS - 1, &domid))
		return GC_USAGE;
	dir = gc_store_machine(args.option[MACHINE]);
	if (!gc_machine_pid(dir))
		return gc_fail("machine %s: it does not run (see 'grantio model start')", dir);
	rc = environment(dir, (unsigned)domid);
	return rc ? rc : program_run(argv + at);
}

const struct gc_command gc_model_exec_command = {
	.name = "exec",
	.summary = "Run a program that was made for Xen on a machine of the model",
	.args = "COMMAND [ARGUMENT...]",
	.options = exec_options,
	.program = true,
	.details = "Options come before COMMAND. The program runs in domain 0, unless --domid names another one: the "
		   "model's\n"
		   "library is preloaded, and GRANTIO_MACHINE, GRANTIO_DOMID and XENSTORED_PATH are set.\n",
	.run = exec_run,
};
