/* SPDX-License-Identifier: MIT */
/*
 * The scenarios on the model: with grantiod, and the peer, as processes. What they print must be transcript.txt, which
 * is what they print on real Xen (tests/lab/scenarios/guest-library.sh). TRANSCRIPT=FILE writes it anew.
 */
#include "model.h"

#include "guest/os/xen/xen.h"
#include "tests/host/host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* As xl makes a guest on x86: no address, no interrupt, and no word about grants. */
static const struct th_key x86[] = {{"base", "0"}, {"irq", "0"}, {"grant_usage", NULL}, {NULL, NULL}};
static const struct th_key x86_readonly[] = {
	{"base", "0"}, {"irq", "0"}, {"grant_usage", NULL}, {"mode", "r"}, {NULL, NULL}};

static void node(struct th_host *host, const char *path, const char *value, unsigned owner)
{
	struct xs_permissions permissions[] = {{.id = owner, .perms = XS_PERM_NONE}, {.id = 1, .perms = XS_PERM_READ}};

	assert_true(xs_write(host->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
	assert_true(xs_set_permissions(host->xs, XBT_NULL, path, permissions, owner == 1 ? 1 : 2));
}

/* What else xl writes, as far as the scenarios look at it. */
static void directories(struct th_host *host)
{
	node(host, "/local/domain/1/domid", "1", 0);
	node(host, "/local/domain/1/name", "guest", 0);
	node(host, "/local/domain/1/data", "", 1);
	assert_true(xs_write(host->xs, XBT_NULL, "/local/domain/0/name", "Domain-0", 8));
}

static pid_t peer_start(const char *image)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setenv("LD_PRELOAD", getenv("GRANTIO_MODEL_LIB"), 1);
		execl(getenv("PEER"), "peer", "1", image, (char *)NULL);
		_exit(127);
	}
	return child;
}

static char *file_read(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, TH_MIB);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, TH_MIB - 1, file) < TH_MIB - 1);
	fclose(file);
	return text;
}

/* What lies between the two marks; `text` is changed. */
static char *between(char *text)
{
	char *begin = strstr(text, "GUEST transcript\n"), *end = strstr(text, "GUEST end of transcript\n");

	assert_non_null(begin);
	assert_non_null(end);
	*end = '\0';
	return begin + strlen("GUEST transcript\n");
}

static void compare(char *have, char *want)
{
	char *h, *w, *have_rest = NULL, *want_rest = NULL;
	unsigned line = 0, differ = 0;

	h = strtok_r(have, "\n", &have_rest);
	w = strtok_r(want, "\n", &want_rest);
	for (; h || w; h = strtok_r(NULL, "\n", &have_rest), w = strtok_r(NULL, "\n", &want_rest)) {
		line++;
		if (h && w && !strcmp(h, w))
			continue;
		differ++;
		print_error("line %u\n  Xen:   %s\n  model: %s\n", line, w ? w : "", h ? h : "");
	}
	if (differ)
		fail_msg("%u lines differ from transcript.txt", differ);
}

/* What the guest prints with two disks as these keys describe them; the caller frees it. */
static char *guest_run(struct th_host *host, const struct th_key *rw, const struct th_key *ro)
{
	static const char *const arguments[] = {"--indirect", NULL};
	const char *image = th_image(host, "rw.raw", 4 * TH_MIB), *readonly = th_image(host, "ro.raw", TH_MIB);
	char *text = NULL;
	size_t bytes;
	FILE *console = open_memstream(&text, &bytes);
	pid_t peer;

	assert_non_null(console);
	th_grantiod_start(host, arguments);
	th_domain_make(host, 1, 1);
	directories(host);
	th_disk_write(host, 1, 0, image, rw);
	th_disk_write(host, 1, 1, readonly, ro);
	peer = peer_start(image);
	assert_int_equal(guest_model_open(host->dir, 1, console), 0);
	gio_xen_main("");
	guest_model_close();
	fclose(console);
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	th_domain_destroy(host, 1);
	th_log_wait(host, "<6>d1/xvda: stopped", 1);
	assert_int_equal(th_grantiod_stop(host, SIGTERM), 0);
	return text;
}

static void transcript(void **state)
{
	const char *renew = getenv("TRANSCRIPT");
	char *text = guest_run(*state, x86, x86_readonly), *have = between(text), *want;

	if (renew) {
		FILE *file = fopen(renew, "we");

		assert_non_null(file);
		fputs(have, file);
		fclose(file);
	}
	want = file_read(getenv("GUEST_TRANSCRIPT"));
	compare(have, want);
	free(want);
	free(text);
}

/* Cut out the registers' section, which looks at what lies beside a device: other things, on Arm. */
static void registers_cut(char *text)
{
	char *begin = strstr(text, "- registers\n"), *end = begin ? strstr(begin, "- disk: ") : NULL;

	assert_non_null(begin);
	assert_non_null(end);
	memmove(begin, end, strlen(end) + 1);
}

/* The same where the toolstack has chosen addresses and interrupt lines. */
static void transcript_of_a_tree(void **state)
{
	static const struct th_key readwrite[] = {{NULL, NULL}}, readonly[] = {{"mode", "r"}, {NULL, NULL}};
	char *text = guest_run(*state, readwrite, readonly), *have = between(text);
	char *want = file_read(getenv("GUEST_TRANSCRIPT"));

	registers_cut(have);
	registers_cut(want);
	compare(have, want);
	free(want);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(transcript, th_setup, th_teardown),
		cmocka_unit_test_setup_teardown(transcript_of_a_tree, th_setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
