/* SPDX-License-Identifier: MIT */
/* grantio model and grantio disk as programs, on a machine, with grantiod. */
#include "tests/host/host.h"

#include <abi/grant_table.h>
#include "model/grant.h"
#include "model/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct th_host *host;
static char out[65536];

static const uint16_t guests[] = {1, 2, 0};

static int setup(void **state)
{
	int err = th_setup_by_command(state);

	host = *state;
	return err;
}

/* The second machine of test_start_and_stop, whose daemon is no child of ours. */
static int teardown_other(void **state)
{
	char dir[96];

	snprintf(dir, sizeof(dir), "%s/other", host->files);
	th_grantio(NULL, 0, "model", "stop", "--machine", dir, NULL);
	return th_teardown(state);
}

/* The command fails with that exit code and that one line. */
#define REFUSED(code, line, ...)                                                \
	do {                                                                    \
		int code_ = th_grantio(out, sizeof(out), __VA_ARGS__, NULL);    \
                                                                                \
		if (code_ != (code) || strcmp(out, "grantio: " line "\n") != 0) \
			fail_msg("exit code %d: %s", code_, out);               \
	} while (0)
#define DONE(...)                                                    \
	do {                                                         \
		if (th_grantio(out, sizeof(out), __VA_ARGS__, NULL)) \
			fail_msg("%s", out);                         \
	} while (0)

static void expect(const char *wanted, const char *path)
{
	char *value = th_store_read(host, path);

	if (wanted ? !value || strcmp(value, wanted) != 0 : value != NULL)
		fail_msg("%s is %s, not %s", path, value ? value : "missing", wanted ? wanted : "missing");
	free(value);
}

/* ---- the commands that most tests begin with ------------------------------------------------------------------ */

static unsigned create(const char *memory)
{
	DONE("model", "create", "--memory", memory, "--vcpus", "1");
	return (unsigned)strtoul(out, NULL, 10);
}

static void attach(const char *domain, const char *target)
{
	DONE("disk", "attach", domain, target);
}

static void attach_later(const char *domain, const char *target)
{
	DONE("disk", "attach", domain, target, "--no-wait");
}

static const char *image(const char *name)
{
	return th_image(host, name, TH_MIB);
}

static void leak(const char *told)
{
	assert_true(th_left_over(host, guests, out, sizeof(out)));
	assert_string_equal(out, told);
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

/* A domain's nodes and permissions are those of xl, but for the rings of store and console. */
static void test_create_as_xl(void **state)
{
	static char recorded[16384];
	FILE *file = fopen(FIXTURES "/xl-4.20-arm-domain.txt", "r");
	size_t got;

	(void)state;
	assert_non_null(file);
	got = fread(recorded, 1, sizeof(recorded) - 1, file);
	recorded[got] = '\0';
	fclose(file);
	assert_int_equal(create("128M"), 1);
	assert_int_equal(th_run(out, sizeof(out), "sh", "-c",
				"xenstore-ls -fp | grep -E '^/local/domain/1( |/)' | sed -E 's/ = .*   / /'", NULL),
			 0);
	assert_string_equal(out, recorded);
	expect("131072", "/local/domain/1/memory/static-max");
	expect("domain-1", "/local/domain/1/name");
	expect("pvh", "/libxl/1/type");
	assert_true(xs_is_domain_introduced(host->xs, 1));
	assert_int_equal(gm_domain_state(host->machine, 1), GM_DOMAIN_RUNNING);
	DONE("model", "create", "--domid", "7", "--name", "seven", "--vcpus=4", "--memory=1M");
	assert_string_equal(out, "7\n");
	expect("online", "/local/domain/7/cpu/3/availability");
	DONE("model", "status");
	assert_non_null(strstr(out, "\n7     seven            running        1     4 "));
	DONE("model", "stats");
	assert_non_null(strstr(out, "    domain   0    domain   1    domain   7\nhypercalls "));
	DONE("model", "stats", "--json");
	assert_non_null(strstr(out, "\n  {\"domid\": 7, \"hypercalls\": 0, "));
}

static void test_disk_is_served(void **state)
{
	const char *target = image("a.raw");

	(void)state;
	th_grantiod_start(host, NULL);
	assert_int_equal(create("16M"), 1);
	attach("1", target);
	assert_string_equal(out, "xvda\n");
	th_store_wait(host, "/local/domain/0/backend/virtio_disk/1/51712/state", "2");
	DONE("disk", "list");
	assert_non_null(strstr(out, "1     domain-1     xvda    51712   0       InitWait     ?      -            w    "
				    "yes    0x02000000 33 "));
	REFUSED(1, "disk attach: vdev 'xvda': domain 1 has device 51712 already", "disk", "attach", "1", target,
		"--vdev", "xvda");
	leak("domain 0: 0 mappings, 1 ports"); /* the oracle sees what a disk takes */
	DONE("disk", "detach", "1", "xvda");
	expect(NULL, "/local/domain/0/backend/virtio_disk");
	th_grantiod_end(host, guests);
}

/* A grant of domain 1's that domain `backend` has mapped and does not give back: what the oracle says of it. */
static void leaked_grant_told(uint16_t backend, const char *told)
{
	uint32_t domid = 1, ref = 8;
	struct gm_run run = {.count = 1, .domids = &domid, .one_domain = true, .refs = &ref, .prot = PROT_READ};
	struct gm_grant_table table;
	struct gm_machine *machine;
	struct gm_mapping *mapping;
	struct gm_guest *guest;

	assert_int_equal(gm_guest_open(&guest, host->dir, 1), 0);
	assert_int_equal(gm_guest_grant_table(guest, ref + 1, &table), 0);
	((struct gio_grant_entry_v1 *)table.shared)[ref] =
		(struct gio_grant_entry_v1){.flags = GIO_GTF_PERMIT_ACCESS, .domid = backend, .frame = 5};
	assert_int_equal(gm_machine_open_as(&machine, host->dir, backend), 0);
	assert_false(th_left_over(host, guests, out, sizeof(out))); /* granted is not mapped */
	assert_int_equal(gm_grant_map(machine, &run, &mapping), 0);
	leak(told);
	gm_grant_unmap(machine, mapping);
	th_quiet(host, guests);
	gm_machine_close(machine);
	gm_guest_close(guest);
}

static void leaked_port_told(const char *told)
{
	struct gm_guest_events *events;

	assert_int_equal(gm_guest_events_open(&events, host->dir, 0), 0);
	assert_true(gm_guest_port_open(events, 1) > 0);
	leak(told);
	gm_guest_events_close(events);
	th_quiet(host, guests);
}

static void test_leak_oracle(void **state)
{
	(void)state;
	create("16M");
	create("16M");
	leaked_grant_told(0, "domain 0: 1 mappings, 0 ports");
	leaked_grant_told(2, "domain 1: 1 grants in use, 0 ioreq servers");
	leaked_port_told("domain 0: 0 mappings, 1 ports");
}

static void test_destroy(void **state)
{
	const char *target = image("a.raw"), *second = image("b.raw");
	char number[12];

	(void)state;
	th_grantiod_start(host, NULL);
	for (int i = 0; i < 2; i++) {
		unsigned domid = create("16M");
		char path[64];

		snprintf(number, sizeof(number), "%u", domid);
		attach(number, target);
		DONE("disk", "attach", number, second, "--mode", "r");
		DONE("model", "destroy", number);
		assert_string_equal(out, "");
		expect(NULL, "/local/domain/0/backend");
		snprintf(path, sizeof(path), "/local/domain/%u", domid);
		expect(NULL, path);
		snprintf(path, sizeof(path), "/libxl/%u", domid);
		expect(NULL, path);
		assert_false(xs_is_domain_introduced(host->xs, domid));
		assert_int_equal(gm_domain_state(host->machine, (uint16_t)domid), GM_DOMAIN_NONE);
	}
	assert_int_equal(th_run(out, sizeof(out), "xenstore-ls", "-f", "/vm", NULL), 0);
	assert_string_equal(out, "");
	th_grantiod_end(host, guests);
}

/* Nobody serves the disk: with --force that holds nothing up. */
static void test_destroy_force(void **state)
{
	(void)state;
	assert_int_equal(create("16M"), 1);
	attach_later("1", "/a");
	DONE("model", "destroy", "1", "--force");
	expect(NULL, "/local/domain/0/backend");
	expect(NULL, "/local/domain/1");
	assert_int_equal(create("16M"), 2); /* ids are not used again at once */
}

static void test_bad_image(void **state)
{
	(void)state;
	th_grantiod_start(host, NULL);
	assert_int_equal(create("16M"), 1);
	assert_int_equal(th_grantio(out, sizeof(out), "disk", "attach", "1", "/nonexistent.raw", NULL), 1);
	/* Refused, and not given up after ten seconds: that is another line. */
	assert_ptr_equal(strstr(out, "grantio: disk attach: vdev 'xvda': refused by the backend: "), out);
	assert_non_null(strstr(out, "/nonexistent.raw"));
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	expect(NULL, "/local/domain/0/backend/virtio_disk");
	expect(NULL, "/libxl/1/device");
	attach("1", image("a.raw")); /* the next one is served */
	DONE("disk", "detach", "1", "xvda");
	th_grantiod_end(host, guests);
}

/* Nobody serves the disks: what waits for it gives up after ten seconds, all of it at the same time here. */
static void test_nobody_answers(void **state)
{
	(void)state;
	create("16M");
	attach_later("1", "/a");
	assert_int_equal(
		th_run(out, sizeof(out), "sh", "-c",
		       "\"$0\" disk attach 1 /b & one=$!; \"$0\" disk detach 1 xvda; two=$?; wait $one; echo $? $two",
		       getenv("GRANTIO"), NULL),
		0);
	assert_non_null(strstr(out,
			       "grantio: disk attach: vdev 'xvdb': the backend in domain 0 is not ready after 10 s, "
			       "its state is Initialising: does grantiod run there?\n"));
	assert_non_null(strstr(out,
			       "grantio: disk detach: vdev 'xvda': the backend in domain 0 has not let go of it after "
			       "10 s, its state is Closing: does grantiod run there? (or see --force)\n"));
	assert_ptr_equal(strstr(out, "1 1\n"), out + strlen(out) - 4);
	expect(NULL, "/libxl/1/device/virtio_disk/51728");		  /* undone */
	expect("5", "/local/domain/0/backend/virtio_disk/1/51712/state"); /* and this one is still there */
	DONE("disk", "detach", "1", "xvda", "--force");
	expect(NULL, "/local/domain/0/backend/virtio_disk");
}

/* What grantiod says of its disks, and a disk that was refused, which it looks at again when it is told to. */
static void test_stats_and_refresh(void **state)
{
	char control[96], late[96], line[192];
	const char *options[] = {"--control", control, NULL};
	const char *target = image("a.raw");
	int fd;

	(void)state;
	snprintf(control, sizeof(control), "%s/control", host->files);
	snprintf(late, sizeof(late), "%s/late.raw", host->files);
	th_grantiod_start(host, options);
	DONE("disk", "stats", "--control", control);
	assert_string_equal(out, "");
	create("16M");
	attach("1", target);
	DONE("disk", "attach", "1", late, "--no-wait");
	th_log_wait(host, "late.raw: cannot open: No such file or directory", 1);
	DONE("disk", "stats", "--control", control);
	assert_non_null(strstr(out, "d1/xvdb phase=idle\n"));
	snprintf(line, sizeof(line), " status=0 transport=mmio target=%s\n", target);
	assert_non_null(strstr(out, "d1/xvda phase=served ioreqs=0 requests=0 errors=0 "));
	assert_non_null(strstr(out, line));
	DONE("disk", "stats", "d1/xvda", "--json", "--control", control);
	assert_ptr_equal(strstr(out, "[\n  {\"disk\": \"d1/xvda\", \"phase\": \"served\", \"ioreqs\": 0, "), out);
	snprintf(line, sizeof(line), ", \"target\": \"%s\"}\n]\n", target);
	assert_non_null(strstr(out, line));
	REFUSED(1, "disk stats: 'd1/xvd': grantiod knows no such disk", "disk", "stats", "d1/xvd", "--control",
		control);
	DONE("disk", "list", "domain-1", "--control", control);
	assert_non_null(strstr(out, " xvda    51712   0       InitWait     yes    -            w "));
	assert_non_null(strstr(out, " idle   -            w "));
	snprintf(line, sizeof(line), "late.raw\n      error: %s: cannot open: No such file or directory\n", late);
	assert_non_null(strstr(out, line));
	DONE("disk", "list", "--json", "--control", control);
	assert_non_null(strstr(out, "late.raw\", \"error\": \""));
	fd = open(late, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	DONE("disk", "refresh", "d1/xvdb", "--control", control);
	assert_string_equal(out, "");
	th_store_wait(host, "/local/domain/0/backend/virtio_disk/1/51728/state", "2");
	REFUSED(1, "disk refresh: 'd1/xvdc': no such device", "disk", "refresh", "d1/xvdc", "--control", control);
	REFUSED(2, "disk refresh: disk 'd1/xvda?stats': must be as `grantio disk stats` names it, like d1/xvda", "disk",
		"refresh", "d1/xvda\nstats", "--control", control);
	memset(line, '7', 70);
	line[70] = '\0';
	assert_int_equal(th_grantio(out, sizeof(out), "disk", "refresh", line, "--control", control, NULL), 2);
	REFUSED(1,
		"disk stats: control socket '/none': No such file or directory (no grantiod answers there: start it, "
		"or name its socket by --control)",
		"disk", "stats", "--control", "/none");
	assert_true(WIFSIGNALED(th_grantiod_stop(host, SIGKILL)));
	DONE("disk", "list", "--control", control);
	assert_non_null(strstr(out, " xvda    51712   0       InitWait     no     -            w "));
	th_grantiod_start(host, options);
	assert_int_equal(th_grantiod_stop(host, SIGTERM), 0);
	snprintf(line, sizeof(line), "disk refresh: control socket '%s': No such file or directory", control);
	assert_int_equal(th_grantio(out, sizeof(out), "disk", "refresh", "d1/xvda", "--control", control, NULL), 1);
	assert_non_null(strstr(out, line));
}

/* Where there is neither Xen nor a machine, the first command says what can be started. */
static void test_nothing_runs(void **state)
{
	const char *const script = "unset GRANTIO_MACHINE XENSTORED_PATH; for at in run/xenstored dev/xen "
				   "proc/xen dev/shm/grantio-$(id -u); do [ ! -e /$at ] || exit 77; done; "
				   "! \"$0\" disk list";

	(void)state;
	REFUSED(1, "disk list: machine /none: it does not run (see 'grantio model start')", "disk", "list", "--machine",
		"/none");
	REFUSED(1, "bench: machine /none: it does not run (see 'grantio model start'): No such file or directory",
		"bench", "--domid", "1", "--machine", "/none");
	if (th_run(out, sizeof(out), "sh", "-c", script, getenv("GRANTIO"), NULL) == 77)
		skip(); /* this is a domain of Xen, or a machine is where the default is */
	assert_ptr_equal(strstr(out, "grantio: disk list: there is no xenstore: this machine does not run Xen, and no "
				     "model of Xen runs in /dev/shm/grantio-"),
			 out);
	assert_non_null(strstr(out, " ('grantio model start' starts one)\n"));
}

static void test_start_and_stop(void **state)
{
	char dir[96], file[128], pid[16];
	int fd;

	(void)state;
	REFUSED(1, "model status: machine /none: it does not run (see 'grantio model start')", "model", "status",
		"--machine", "/none");
	REFUSED(1, "model stop: machine /none: there is none", "model", "stop", "--machine", "/none");
	REFUSED(1, "model start: machine /none/x: No such file or directory", "model", "start", "--machine", "/none/x");
	snprintf(dir, sizeof(dir), "%s/other", host->files);
	snprintf(file, sizeof(file), "%s/store", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(th_grantio(out, sizeof(out), "model", "start", "--machine", dir, NULL), 1);
	assert_non_null(strstr(out, ": the directory holds other files\n"));
	assert_int_equal(th_grantio(out, sizeof(out), "model", "stop", "--machine", dir, NULL), 1);
	assert_int_equal(access(file, F_OK), 0); /* not a machine's: left alone */
	assert_int_equal(unlink(file), 0);

	DONE("model", "start", "--machine", dir); /* empty now; in the background */
	assert_int_equal(strncmp(out, dir, strlen(dir)), 0);
	assert_int_equal(th_grantio(out, sizeof(out), "model", "start", "--machine", dir, NULL), 1);
	assert_non_null(strstr(out, ": it runs already, as process "));
	DONE("model", "create", "--machine", dir, "--memory", "1M");

	/* Its daemon is killed: what it left is no machine that runs, and does not hinder the next one. */
	snprintf(file, sizeof(file), "%s/daemon.pid", dir);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, pid, sizeof(pid) - 1) > 1);
	close(fd);
	assert_int_equal(kill((pid_t)strtol(pid, NULL, 10), SIGKILL), 0);
	assert_int_equal(th_run(out, sizeof(out), "flock", "-w", "60", file, "true", NULL), 0);
	assert_int_equal(th_grantio(out, sizeof(out), "model", "status", "--machine", dir, NULL), 1);
	assert_non_null(strstr(out, ": it does not run"));
	DONE("model", "start", "--machine", dir, "--env");
	snprintf(file, sizeof(file), "export GRANTIO_MACHINE='%s';\nexport GRANTIO_PLUGIN='", dir);
	assert_ptr_equal(strstr(out, file), out);
	DONE("model", "stats", "--machine", dir, "--json");
	assert_null(strstr(out, "\"domid\": 1,"));
	DONE("model", "stop", "--machine", dir);
	assert_string_equal(out, "");
	assert_int_equal(access(dir, F_OK), -1);
}

/* A grantiod would wait for the xenstore of a machine that is gone: the machine stays until it has ended. */
static void test_stop_under_grantiod(void **state)
{
	char line[192];

	(void)state;
	th_grantiod_start(host, NULL);
	snprintf(line, sizeof(line),
		 "grantio: model stop: machine %s: process %d is a grantiod that runs on it: end that first (or see "
		 "--force)\n",
		 host->dir, (int)host->grantiod);
	assert_int_equal(th_grantio(out, sizeof(out), "model", "stop", "--machine", host->dir, NULL), 1);
	assert_string_equal(out, line);
	DONE("model", "status");
	create("1M"); /* it goes on */
	th_grantiod_end(host, guests);
}

static void test_bad_input(void **state)
{
	(void)state;
	REFUSED(2, "model create: memory 'lots': not a size", "model", "create", "--memory", "lots");
	REFUSED(2, "model create: memory '1048577': not a multiple of 4096 bytes", "model", "create", "--memory",
		"1048577");
	REFUSED(2, "model create: memory '4K': not between 1048576 and 1099511627776 bytes", "model", "create",
		"--memory", "4K");
	REFUSED(2, "model create: vcpus '33': not between 1 and 32", "model", "create", "--vcpus", "33");
	REFUSED(2, "model create: domid '32': not between 1 and 31", "model", "create", "--domid", "32");
	REFUSED(2, "model create: name 'a/b': not 1 to 64 letters, digits and -_.+", "model", "create", "--name",
		"a/b");
	REFUSED(2, "model create: argument 'x': one too many (see --help)", "model", "create", "x");
	REFUSED(2, "model create: arch 'vax': neither arm nor x86", "model", "create", "--arch=vax");
	REFUSED(2, "model destroy: domain '0': not between 1 and 32751", "model", "destroy", "0");
	REFUSED(1, "model destroy: domain 77: no such domain", "model", "destroy", "77");
	REFUSED(1, "model destroy: domain 'web': no such domain", "model", "destroy", "web");
	REFUSED(1, "model destroy: domain 9: no such domain", "model", "destroy", "9");
	REFUSED(1, "model allow: domain 1: no such domain", "model", "allow", "1", "2");
	REFUSED(1, "bench: option --domid 'web': no such domain", "bench", "--domid", "web");
	REFUSED(2, "model: a command is missing (see --help)", "model");
	REFUSED(2, "command 'attach': no such command, is it 'disk attach' or 'rng attach' (see --help)?", "attach");
	REFUSED(2, "command 'stats': no such command, is it 'disk stats' or 'model stats' (see --help)?", "stats");
	create("1M");
	REFUSED(1, "model create: domid 1: there is such a domain", "model", "create", "--domid", "1");
	REFUSED(2, "model allow: target '1': the domain itself", "model", "allow", "1", "1");
	create("1M");
	DONE("model", "allow", "domain-1", "2");
	REFUSED(2, "model exec: a command is missing (see --help)", "model", "exec", "--domid", "1", "--");
	REFUSED(2, "model exec: option '--control': no such option (see --help)", "model", "exec", "--control", "x");
	REFUSED(1, "model exec: command '/none': No such file or directory", "model", "exec", "/none");
	/* What comes behind the command is the command's, --help too. */
	DONE("model", "exec", "--domid", "1", "sh", "-c", "echo $GRANTIO_DOMID ${XENSTORED_PATH##*/} $1", "sh",
	     "--help");
	assert_string_equal(out, "1 store.1 --help\n");
	DONE("model", "create", "--name", "web", "--memory=1M", "--arch=x86");
	REFUSED(1, "model create: name 'web': another domain has this name", "model", "create", "--name", "web");
	assert_int_equal(gm_domain_state(host->machine, 4), GM_DOMAIN_NONE);
	DONE("disk", "attach", "web", "/a", "--no-wait");
	expect("0", "/local/domain/0/backend/virtio_disk/3/51712/base");
	DONE("model", "destroy", "web", "--force");
	expect(NULL, "/local/domain/3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create_as_xl, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_disk_is_served, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_leak_oracle, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_destroy, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_destroy_force, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_bad_image, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_nobody_answers, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_stats_and_refresh, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_nothing_runs, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_start_and_stop, setup, teardown_other),
		cmocka_unit_test_setup_teardown(test_stop_under_grantiod, setup, th_teardown),
		cmocka_unit_test_setup_teardown(test_bad_input, setup, th_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
