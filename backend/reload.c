/* SPDX-License-Identifier: MIT */
#include "backend/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void reload_run(struct gd_job *job)
{
	struct gd_reload *reload = job->opaque;

	if (gd_config_new(&reload->config, reload->argc, reload->argv, reload->error))
		reload->config = NULL;
}

static void reload_done(struct gd_job *job)
{
	struct gd_reload *reload = job->opaque;
	bool again = reload->again;

	reload->running = reload->again = false;
	if (!reload->config)
		gd_log(NULL, GD_ERR, "%s: the settings stay as they were", reload->error);
	reload->done(reload, reload->config);
	if (again)
		gd_reload_start(reload);
}

void gd_reload_start(struct gd_reload *reload)
{
	int err;

	if (reload->running) {
		reload->again = true;
		return;
	}
	reload->job = (struct gd_job){.run = reload_run, .done = reload_done, .opaque = reload};
	err = gd_job_start(reload->jobs, &reload->job, "reload");
	reload->running = !err;
	if (!err)
		return;
	gd_log(NULL, GD_ERR, "no thread to read them (%s): the settings stay as they were", strerror(-err));
	reload->done(reload, NULL);
}

static int text_keep(const char *name, char **text, const char *former)
{
	char *copy = former ? strdup(former) : NULL;

	if (former && !copy)
		return -ENOMEM;
	if (!former != !*text || (former && strcmp(former, *text)))
		gd_log(NULL, GD_WARN, "%s: takes effect when grantiod is started anew", name);
	free(*text);
	*text = copy;
	return 0;
}

int gd_reload_keep(struct gd_config *config, const struct gd_config *former)
{
	int err = text_keep("state-dir", &config->state_dir, former->state_dir);

	return err ? err : text_keep("control", &config->control, former->control);
}
