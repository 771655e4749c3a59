# SPDX-License-Identifier: MIT
# A short front for meson and ninja. Everything is built below build/; `make help` lists the targets.

BUILD ?= build
JOBS  ?= $(shell nproc)
MESON_FLAGS ?=

.PHONY: help build run test test-bare test-tsan test-clang test-clang-full check check-cross check-kmod \
	lab lab-full lab-prepare lab-x86 lab-x86-bookworm lab-arm64 lab-shell run-xen \
	bench deb test-deb test-deb-bare install clean ci ci-full

help:
	@echo 'To try it:'
	@echo '  make run        two guests, three disks, real clients, and a backend that is refused (needs no Xen)'
	@echo '  make run-xen    the same on real Xen, under QEMU: stock guests, and what Xen refuses the backend'
	@echo '  make lab-shell  a shell in dom0 of a real Xen, with grantiod and a guest (LAB=arm64: the other lab)'
	@echo 'To build and install it:'
	@echo '  make build      the optimised build, in $(BUILD)/release'
	@echo '  make deb        Debian packages, in $(BUILD)/deb'
	@echo '  make install    programs, service, settings, initramfs hook, man pages, guest library'
	@echo '                  (PREFIX=/usr/local, DESTDIR=)'
	@echo '  make clean      remove $(BUILD)/'
	@echo 'To test it:'
	@echo '  make test       all tests, under AddressSanitizer and UBSan'
	@echo '  make test-tsan  tests of threads, under ThreadSanitizer'
	@echo '  make test-clang, test-clang-full  tests built by clang: all but scenarios, or all'
	@echo '  make test-bare  make run and make test in a bare Debian (SUITE=trixie or bookworm); needs root'
	@echo '  make test-deb, test-deb-bare  checks of the packages; the packages installed in a bare Debian'
	@echo '  make check      names, sizes, circles, lines, links, formatting, make install, and check-cross'
	@echo '  make check-cross  grantiod and grantio for arm64 and armhf, the guest library for i386 too'
	@echo '  make check-kmod   grantio.ko for Debian kernels from 5.10 to the newest; sparse, checkpatch, DKMS'
	@echo '  make bench      measure, and write docs/performance.md and its chart anew'
	@echo 'On real Xen, under QEMU (docs/lab.md):'
	@echo '  make lab        all scenarios; lab-full: ten rounds of ten-times in both labs, too'
	@echo '  make lab-x86, lab-x86-bookworm, lab-arm64  one lab'
	@echo '  make lab-prepare  fetch and build what the labs boot'
	@echo 'Before a change is sent:'
	@echo '  make ci         what continuous integration runs: all of the tests, three compilers'
	@echo '  make ci-full    the same, every test with each compiler, and lab-full'

# $(call configure,DIR,OPTIONS): set up a build folder once.
configure = test -f $(BUILD)/$(1)/build.ninja || meson setup $(BUILD)/$(1) $(2) $(MESON_FLAGS) >/dev/null
# $(call compile,DIR): ninja prints nothing while all goes well.
compile = ninja -C $(BUILD)/$(1) -j$(JOBS) --quiet
# And what tests say that they need: from meson 1.7 on it is not among all that is built otherwise.
compile_tests = $(compile) all meson-test-prereq
# And what else is built by name only: whoever moves a header is told by `make check`, not by the lab.
compile_check = $(call compile,release) all tests/lab/tools/grants tests/lab/tools/grantiod-bad
test_run = ./scripts/test.sh $(BUILD)/$(1)

build:
	@./scripts/setup.sh build
	@$(call configure,release,--buildtype=release)
	@$(call compile,release)

run: build
	@./scripts/setup.sh run
	@./scripts/run.sh $(BUILD)/release

test:
	@./scripts/setup.sh build test
	@./scripts/xenstored.sh $(BUILD)/xenstored
	@$(call configure,asan,-Dwerror=true -Db_sanitize=address$(comma)undefined -Db_lundef=false)
	@$(call compile_tests,asan)
	@$(call test_run,asan)

SUITE ?= trixie
test-bare:
	@./scripts/bare.sh $(SUITE) sh -c 'make run && make test'

# A second compiler is for what it sees that the first does not: of scenarios on whole machines it sees little more.
ALONE = --no-suite scenario --no-suite hostile
test-clang-full: ALONE =
test-clang-full: test-clang

test-tsan:
	@./scripts/setup.sh build test
	@$(call configure,tsan,-Dwerror=true -Db_sanitize=thread -Db_lundef=false)
	@$(call compile_tests,tsan)
	@$(call test_run,tsan) --suite threads

test-clang:
	@./scripts/setup.sh build test ci
	@export CC=clang; $(call configure,clang,-Dwerror=true --buildtype=release)
	@$(call compile_tests,clang)
	@$(call test_run,clang) $(ALONE)

check:
	@./scripts/setup.sh build ci
	@$(call configure,release,--buildtype=release)
	@$(compile_check)
	@status=0; ./scripts/check.sh $(BUILD) || status=1; ./scripts/cross.sh $(BUILD) || status=1; \
		./packaging/test-install.sh $(BUILD) || status=1; exit $$status

check-cross:
	@./scripts/setup.sh build ci
	@./scripts/cross.sh $(BUILD)

check-kmod:
	@./scripts/setup.sh build kmod
	@./scripts/check_kmod.sh $(BUILD)

lab:
	@./tests/lab/lab.sh all

lab-full:
	@LAB_FULL=1 LAB_TIMES=10 LAB_BUDGET=$${LAB_BUDGET:-6000} ./tests/lab/lab.sh all

lab-prepare:
	@./tests/lab/lab.sh all prepare

lab-x86 lab-x86-bookworm lab-arm64: lab-%:
	@./tests/lab/lab.sh $*

LAB ?= x86
lab-shell:
	@./tests/lab/lab.sh $(LAB) shell

run-xen:
	@./tests/lab/lab.sh x86 demo

bench: build
	@./scripts/setup.sh run bench
	@python3 bench/report.py $(BUILD)/release

deb:
	@./scripts/setup.sh deb
	@./packaging/deb.sh $(BUILD)/deb

test-deb: deb
	@./packaging/test-deb.sh $(BUILD)/deb

test-deb-bare: deb
	@./scripts/bare.sh --with $(BUILD)/deb $(SUITE) ./scripts/bare_deb.sh $(BUILD)/deb

PREFIX ?= /usr/local
DESTDIR ?=
install: build
	@./packaging/install.sh $(BUILD)/release "$(PREFIX)" "$(DESTDIR)"

ci:
	@bash .ci/run

ci-full:
	@CI_FULL=1 bash .ci/run

clean:
	rm -rf $(BUILD)

comma := ,
