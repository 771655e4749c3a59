/* SPDX-License-Identifier: MIT */
/* grantio doctor on machines that are made of files: what it finds, what it says to do, and its exit code. */
#include "tests/unit/cli/catch.h"

#include "cli/doctor/doctor.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static const struct gc_command *const commands[] = {&gc_doctor_command, NULL};
static const struct gc_command root = {.name = "grantio", .summary = "a test", .commands = commands};
static char top[32];

/* ---- machines ---- */

static void put(const char *path, const char *text)
{
	char whole[PATH_MAX];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s%s", top, path);
	for (char *slash = strchr(whole + strlen(top) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(whole, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(whole, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void take(const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s%s", top, path);
	assert_int_equal(unlink(whole), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int machine_begin(void **state)
{
	(void)state;
	strcpy(top, "/tmp/doctor-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int machine_end(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_xen(const char *arch, const char *minor)
{
	put("/proc/sys/kernel/arch", arch);
	put("/proc/sys/kernel/osrelease", "6.1.0-test\n");
	put("/sys/hypervisor/type", "xen\n");
	put("/sys/hypervisor/version/major", "4\n");
	put("/sys/hypervisor/version/minor", minor);
	put("/sys/hypervisor/version/extra", ".5\n");
}

static void make_nodes(void)
{
	put("/dev/xen/evtchn", "");
	put("/dev/xen/gntdev", "");
	put("/dev/xen/privcmd", "");
	put("/dev/xen/xenbus", "");
	put("/boot/config-6.1.0-test", "CONFIG_XEN_GNTDEV=m\nCONFIG_IO_URING=y\n# CONFIG_XEN_VIRTIO is not set\n");
}

static void make_dom0(const char *arch, const char *minor)
{
	make_xen(arch, minor);
	make_nodes();
	put("/proc/xen/capabilities", "control_d\n");
	put("/sys/hypervisor/properties/capabilities", "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_64 \n");
	put("/run/xenstored/socket", "");
	put("/usr/sbin/xl", "");
}

/* What dpkg says of Xen, between other packages, one of them removed. */
static void make_package(const char *name, const char *version)
{
	char text[1024];

#define REST "Maintainer: nobody <nobody@localhost>\nArchitecture: all\nDescription: a package\n"
	snprintf(text, sizeof(text),
		 "Package: aaa\nStatus: install ok installed\nVersion: 1\n" REST "\n"
		 "Package: xen-hypervisor-4.17-aaa\nStatus: deinstall ok config-files\nVersion: 4.17.0-1\n" REST "\n"
		 "Package: %s\nStatus: install ok installed\nVersion: %s\n" REST "\n"
		 "Package: xen-utils-4.17\nStatus: install ok installed\nVersion: 4.17.9-1\n" REST,
		 name, version);
#undef REST
	put("/var/lib/dpkg/status", text);
}

static void make_guest(const char *arch)
{
	make_xen(arch, "17\n");
	make_nodes();
	put("/sys/hypervisor/guest_type", "PVH\n");
	put("/sys/bus/platform/drivers/virtio-mmio/bind", "");
	put("/sys/bus/virtio/drivers/virtio_blk/bind", "");
}

static void make_disk(const char *state, const char *features)
{
	put("/sys/module/grantio/refcnt", "1\n");
	put("/sys/bus/xen/devices/virtio_disk-51712/state", state);
	put("/sys/bus/xen/devices/virtio_disk-51712/driver/bind", "");
	put("/sys/bus/xen/devices/virtio_disk-51712/grantio/backend", "0\n");
	put("/sys/bus/xen/devices/virtio_disk-51712/grantio.1.auto/virtio0/block/vda/size", "8\n");
	put("/sys/bus/virtio/devices/virtio0/device", "0x0002\n");
	put("/sys/bus/virtio/devices/virtio0/status", "0x0000000f\n");
	put("/sys/bus/virtio/devices/virtio0/features", features);
	put("/sys/bus/virtio/devices/virtio0/block/vda/size", "8\n");
	put("/sys/bus/virtio/devices/virtio1/device", "0x0004\n"); /* no disk: nothing is said about it */
}
#define GRANTS	  "0000001001000000000000000000100011000000000000000000000000000000\n"
#define NO_GRANTS "0000001001000000000000000000100010000000000000000000000000000000\n"

/* ---- a grantiod that answers one question ---- */

struct daemon {
	pthread_t thread;
	int fd;
	const char *answer;
};

static void *daemon_answer(void *arg)
{
	struct daemon *daemon = arg;
	char question[16];
	int fd = accept(daemon->fd, NULL, NULL);

	if (fd >= 0 && read(fd, question, sizeof(question)) > 0 &&
	    write(fd, daemon->answer, strlen(daemon->answer)) < 0)
		perror("answer");
	close(fd);
	return NULL;
}

static void daemon_start(struct daemon *daemon, const char *answer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	put("/run/grantiod/control", "");
	take("/run/grantiod/control");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/grantiod/control", top);
	daemon->answer = answer;
	daemon->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(daemon->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(daemon->fd, 1), 0);
	assert_int_equal(pthread_create(&daemon->thread, NULL, daemon_answer, daemon), 0);
}

static void daemon_stop(struct daemon *daemon)
{
	shutdown(daemon->fd, SHUT_RDWR);
	pthread_join(daemon->thread, NULL);
	close(daemon->fd);
}

/* ---- what is said ---- */

#define DOCTOR(...) RUN(&root, "doctor", __VA_ARGS__ "--root", top)
#define HAS(line)                                                                   \
	do {                                                                        \
		if (!strstr(cli_out, line))                                         \
			fail_msg("no line '%s' in:\n%s%s", line, cli_out, cli_err); \
	} while (0)
#define HAS_NOT(line)                                                            \
	do {                                                                     \
		if (strstr(cli_out, line))                                       \
			fail_msg("there is a line '%s' in:\n%s", line, cli_out); \
	} while (0)

static void test_no_xen(void **state)
{
	(void)state;
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  xen: this machine does not run on Xen -> ");
	assert_int_equal(DOCTOR("--role", "host", ), 1); /* all else would follow from it */
	assert_ptr_equal(strchr(cli_out, '\n'), cli_out + strlen(cli_out) - 1);
	put("/sys/hypervisor/type", "kvm\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  xen: ");
}

static void test_dom0_well(void **state)
{
	struct daemon daemon;

	(void)state;
	make_dom0("x86_64\n", "17\n");
	make_package("xen-hypervisor-4.17-amd64", "4.17.7+13-g2445b30a44-0+deb12u1");
	put("/sys/hypervisor/version/extra", ".7\n");
	put("/proc/sys/kernel/io_uring_disabled", "1\n"); /* it works all the same */
	daemon_start(&daemon, "d1/xvda phase=served ioreqs=3 target=/a phase=x\nd2/xvda phase=opening\n");
	assert_int_equal(DOCTOR(), 0);
	daemon_stop(&daemon);
	HAS("ok       xen: Xen 4.17.7, kernel 6.1.0-test, host\n");
	HAS("ok       xen-fixes: xen-hypervisor-4.17-amd64 4.17.7+13-g2445b30a44-0+deb12u1 has those of XSA-500, ");
	HAS("ok       xl-grants: ");
	HAS("ok       ioreq: in use\n");
	HAS("ok       evtchn: /dev/xen/evtchn");
	HAS("ok       gntdev: /dev/xen/gntdev");
	HAS("ok       privcmd: /dev/xen/privcmd");
	HAS("ok       io_uring: in use\n");
	HAS("ok       xenstore: ");
	HAS("ok       xl: /usr/sbin/xl\n");
	HAS("ok       grantiod: answers at /run/grantiod/control: 2 disks, 1 served\n");
	HAS_NOT("missing");
}

/* One thing after the other is taken away. */
static void test_dom0_missing(void **state)
{
	(void)state;
	make_dom0("x86_64\n", "17\n");
	put("/usr/sbin/grantiod", "");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  grantiod: /run/grantiod/control: No such file or directory -> systemctl start grantiod");
	HAS("ok       ioreq: Xen runs HVM and PVH guests");
	take("/usr/sbin/grantiod");
	assert_int_equal(DOCTOR(), 1);
	HAS("-> apt install ./grantiod_*.deb");
	take("/dev/xen/gntdev");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  gntdev: no /dev/xen/gntdev (grants) -> modprobe xen-gntdev\n");
	put("/sys/module/xen_gntdev/refcnt", "0");
	assert_int_equal(DOCTOR(), 1);
	HAS("xen-gntdev is in the kernel, its node is gone");
	take("/dev/xen/privcmd");
	assert_int_equal(DOCTOR(), 1);
	HAS("-> a kernel with CONFIG_XEN_PRIVCMD"); /* the configuration has no such line */
	take("/run/xenstored/socket");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  xenstore: no /run/xenstored/socket -> systemctl start xen");
	take("/usr/sbin/xl");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  xl: no xl -> apt install xen-utils-common\n");
	put("/sys/hypervisor/properties/capabilities", "xen-3.0-x86_64\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  ioreq: Xen runs no HVM or PVH guests: xen-3.0-x86_64 -> switch on VT-x");
	put("/sys/hypervisor/version/minor", "16\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  xl-grants: xl of Xen 4.16 is too old");
}

static void test_io_uring(void **state)
{
	(void)state;
	make_dom0("x86_64\n", "17\n");
	DOCTOR();
	HAS("ok       io_uring: CONFIG_IO_URING=y\n");
	put("/proc/sys/kernel/io_uring_disabled", "1\n");
	DOCTOR();
	HAS("missing  io_uring: kernel.io_uring_disabled=1: grantiod.service may not use it -> sysctl "
	    "kernel.io_uring_disabled=0; or kernel.io_uring_group=GROUP, and SupplementaryGroups=GROUP");
	put("/proc/sys/kernel/io_uring_group", "-1\n");
	DOCTOR();
	HAS("missing  io_uring: ");
	put("/proc/sys/kernel/io_uring_group", "117\n");
	DOCTOR();
	HAS("unknown  io_uring: kernel.io_uring_disabled=1: grantiod must be in group 117 -> ");
	put("/proc/sys/kernel/io_uring_disabled", "2\n");
	DOCTOR();
	HAS("missing  io_uring: kernel.io_uring_disabled=2 -> sysctl kernel.io_uring_disabled=0\n");
	put("/boot/config-6.1.0-test", "CONFIG_IO_URINGX=y\n");
	DOCTOR();
	HAS("missing  io_uring: the kernel has none");
	take("/boot/config-6.1.0-test");
	put("/proc/sys/kernel/io_uring_disabled", "0\n");
	DOCTOR();
	HAS("unknown  io_uring: no configuration of kernel 6.1.0-test");
	put("/lib/modules/6.1.0-test/config", "CONFIG_IO_URING=y\n");
	DOCTOR();
	HAS("ok       io_uring");
}

/* Which Xen has the fixes of what grants are made of: Debian's package says so, a version alone does not. */
static void test_xen_fixes(void **state)
{
	(void)state;
	make_dom0("x86_64\n", "17\n");
	DOCTOR();
	HAS("unknown  xen-fixes: no package says whether Xen 4.17.5 has them -> a Xen with the fixes of XSA-500, "
	    "XSA-501, ");
	make_package("xen-hypervisor-4.17-amd64", "4.17.5+72-g01140da4e8-1");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  xen-fixes: xen-hypervisor-4.17-amd64 4.17.5+72-g01140da4e8-1: not all of the fixes of XSA-500, ");
	HAS(" -> apt-get update && apt-get install xen-hypervisor-4.17-amd64 (4.17.7+13-g2445b30a44-0+deb12u1 or "
	    "later, ");
	make_package("xen-hypervisor-4.17-amd64", "4.17.7-0+deb12u1");
	DOCTOR();
	HAS("missing  xen-fixes: xen-hypervisor-4.17-amd64 4.17.7-0+deb12u1: not all ");
	make_package("xen-hypervisor-4.17-amd64", "4.17.8-1");
	DOCTOR();
	HAS("missing  xen-fixes: xen-hypervisor-4.17-amd64 4.17.8-1 has them, but Xen 4.17.5 runs -> reboot\n");
	put("/sys/hypervisor/version/extra", ".8\n");
	DOCTOR();
	HAS("ok       xen-fixes: ");
	put("/sys/hypervisor/version/minor", "20\n");
	put("/sys/hypervisor/version/extra", ".4\n");
	make_package("xen-hypervisor-4.20-arm64", "4.20.4+39-gf1e1321c87-0+deb13u1");
	DOCTOR();
	HAS("missing  xen-fixes: xen-hypervisor-4.20-arm64 4.20.4+39-gf1e1321c87-0+deb13u1: not all ");
	make_package("xen-hypervisor-4.20-arm64", "nonsense");
	DOCTOR();
	HAS("unknown  xen-fixes: ");
}

static void test_arm_host(void **state)
{
	(void)state;
	make_dom0("aarch64\n", "18\n");
	DOCTOR();
	HAS("missing  xl-grants: xl of Xen 4.18 has no grant_usage for disks of dom0 -> Xen 4.19 or later");
	HAS("unknown  ioreq: nobody says whether Xen has CONFIG_IOREQ_SERVER");
	put("/sys/hypervisor/version/minor", "20\n");
	put("/boot/xen-4.20-arm64.config", "# CONFIG_IOREQ_SERVER is not set\n");
	DOCTOR();
	HAS("ok       xl-grants: xl of Xen 4.20 makes virtio disks by grants (grant_usage=1)\n");
	HAS("missing  ioreq: Xen was built without CONFIG_IOREQ_SERVER -> build Xen with");
	put("/boot/xen-4.20-arm64.config", "CONFIG_IOREQ_SERVER=y\n");
	DOCTOR();
	HAS("ok       ioreq: ");
}

static void test_driver_domain(void **state)
{
	(void)state;
	make_xen("x86_64\n", "17\n");
	make_nodes();
	put("/proc/xen/capabilities", "");
	put("/usr/sbin/grantiod", "");
	put("/sys/module/xen_privcmd/parameters/unrestricted", "N\n");
	assert_int_equal(DOCTOR(), 1);
	HAS(", driver\n");
	HAS("unknown  ioreq: Xen's default policy");
	HAS("ok       xenstore: /dev/xen/xenbus\n");
	HAS("missing  privcmd-access: xen_privcmd.unrestricted=N");
	HAS_NOT(" xl: ");
	put("/sys/module/xen_privcmd/parameters/unrestricted", "Y\n");
	assert_int_equal(DOCTOR(), 1);
	HAS_NOT("privcmd-access");
}

static void test_guest_well(void **state)
{
	(void)state;
	make_guest("x86_64\n");
	make_disk("Connected\n", GRANTS);
	assert_int_equal(DOCTOR(), 0);
	HAS(", guest\n");
	HAS("ok       guest-type: PVH\n");
	HAS("ok       grants: grantio.ko is loaded\n");
	HAS("ok       disk: virtio_disk-51712: connected to domain 0, vda\n");
	HAS("ok       virtio-disk: virtio0 (vda): restricted to what is granted\n");
	HAS_NOT("virtio1");
	HAS_NOT("unknown");
}

static void test_guest_missing(void **state)
{
	(void)state;
	make_guest("x86_64\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  grants: no grantio.ko -> apt install linux-headers-6.1.0-test ./grantio-dkms_*.deb");
	HAS("unknown  disk: this guest has no virtio disk");
	put("/lib/modules/6.1.0-test/modules.dep", "kernel/a.ko.xz:\nupdates/dkms/grantio.ko.xz: kernel/a.ko.xz\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  grants: grantio.ko is not loaded -> modprobe grantio\n");
	make_disk("Initialising\n", NO_GRANTS);
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  disk: virtio_disk-51712: Initialising -> in its backend's domain: grantio doctor");
	HAS("missing  virtio-disk: virtio0 (vda): without grants, its backend reaches all memory -> grant_usage=1");
	put("/sys/bus/virtio/devices/virtio0/status", "0x00000000\n");
	take("/sys/bus/virtio/drivers/virtio_blk/bind");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  virtio-disk: virtio0: no driver uses it (status 0x00000000)");
	put("/sys/hypervisor/guest_type", "PV\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("ok       guest-type: PV: disks by messages only");
}

static void test_guest_drivers(void **state)
{
	(void)state;
	make_xen("x86_64\n", "17\n");
	make_nodes();
	put("/sys/module/grantio/refcnt", "0\n");
	put("/boot/config-6.1.0-test", "CONFIG_VIRTIO_MMIO=m\n# CONFIG_VIRTIO_BLK is not set\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  virtio_mmio: the driver is not loaded -> modprobe virtio_mmio\n");
	HAS("missing  virtio_blk: CONFIG_VIRTIO_BLK is not set -> a kernel with the option");
}

static void test_guest_arm(void **state)
{
	(void)state;
	make_guest("aarch64\n");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  grants: no grantio.ko, no CONFIG_XEN_VIRTIO -> ");
	HAS("; or a kernel with CONFIG_XEN_VIRTIO=y\n");
	put("/boot/config-6.1.0-test", "CONFIG_XEN_VIRTIO=y\n");
	assert_int_equal(DOCTOR(), 0);
	HAS("ok       grants: CONFIG_XEN_VIRTIO=y\n");
	take("/boot/config-6.1.0-test");
	assert_int_equal(DOCTOR(), 0);
	HAS("unknown  grants: no configuration of kernel 6.1.0-test -> zgrep XEN_VIRTIO /proc/config.gz\n");
}

/* The kernel's own copy of its configuration. */
static void test_config_gz(void **state)
{
	char command[128];

	(void)state;
	make_guest("aarch64\n");
	take("/boot/config-6.1.0-test");
	put("/proc/config", "CONFIG_XEN_VIRTIO=y\n");
	snprintf(command, sizeof(command), "gzip '%s/proc/config'", top);
	assert_int_equal(system(command), 0);
	assert_int_equal(DOCTOR(), 0);
	HAS("ok       grants: CONFIG_XEN_VIRTIO=y\n");
}

static void test_options(void **state)
{
	(void)state;
	make_dom0("x86_64\n", "17\n");
	assert_int_equal(DOCTOR("--role", "guest", ), 1);
	HAS("missing  grants: ");
	cli_refused(DOCTOR("--role", "dom0", ), 2, "grantio: doctor: role 'dom0': must be host, driver or guest\n",
		    "role");
	cli_refused(DOCTOR("x", ), 2, "grantio: doctor: argument 'x': one too many (see --help)\n", "argument");
	assert_int_equal(DOCTOR("--json", ), 1);
	HAS("{\"role\": \"host\", \"checks\": [\n  {\"name\": \"xen\", \"status\": \"ok\", \"found\": \"Xen 4.17.5");
	HAS("{\"name\": \"grantiod\", \"status\": \"missing\", ");
	HAS("\n]}\n");
}

/* A file that is longer, emptier or stranger than it should be is shown or left out, and nothing else. */
static void test_odd_files(void **state)
{
	char text[4096];

	(void)state;
	make_guest("x86_64\n");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	make_disk(text, "");
	put("/sys/bus/virtio/devices/virtio0/status", text);
	put("/sys/hypervisor/version/minor", text);
	put("/sys/hypervisor/version/extra", "");
	put("/boot/config-6.1.0-test", "");
	assert_int_equal(DOCTOR(), 1);
	HAS("missing  disk: virtio_disk-51712: xxxxxxx");
	HAS("virtio0: no driver uses it");
	for (int i = 0; i < 60; i++) {
		snprintf(text, sizeof(text), "/sys/bus/xen/devices/virtio_disk-%d/state", i);
		put(text, "Closed\n");
	}
	assert_int_equal(DOCTOR(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_begin, machine_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_no_xen),	  TEST(test_dom0_well),	    TEST(test_dom0_missing), TEST(test_io_uring),
		TEST(test_arm_host),	  TEST(test_driver_domain), TEST(test_guest_well),   TEST(test_guest_missing),
		TEST(test_guest_drivers), TEST(test_guest_arm),	    TEST(test_config_gz),    TEST(test_options),
		TEST(test_odd_files),	  TEST(test_xen_fixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
