# SPDX-License-Identifier: GPL-2.0-or-later
# GNU make.  "make help" lists the targets.
VERSION = 0.1.0
PREFIX  = /usr/local
bindir  = $(PREFIX)/bin
libdir  = $(PREFIX)/lib
incdir  = $(PREFIX)/include/pm
datadir = $(PREFIX)/share
mandir  = $(datadir)/man
bashdir = $(datadir)/bash-completion/completions
zshdir  = $(datadir)/zsh/site-functions
fishdir = $(datadir)/fish/vendor_completions.d

CC      = cc
CFLAGS  = -O2 -g
WARN    = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
          -Wconversion -Wvla -Wwrite-strings
HARDEN  = -fstack-protector-strong -fstack-clash-protection -fPIE \
          -D_FORTIFY_SOURCE=2
LDHARD  = -pie -Wl,-z,relro,-z,now
REPRO   = -ffile-prefix-map=$(CURDIR)=.
# Where objects, the library and the programs go; one for each flavour.
B       = build

ALL_CPPFLAGS = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 \
               -DPM_VERSION='"$(VERSION)"' -Ilib -Icmd $(CPPFLAGS)
ALL_CFLAGS   = -std=c11 $(WARN) $(HARDEN) $(REPRO) -MMD -MP $(CFLAGS)
CODECS       = -lz -llz4 -lzstd
# Only for those that use it: it takes a millisecond to start.
TLS          = -Wl,--as-needed -lgnutls -Wl,--no-as-needed
LIBS         = $(CODECS) $(TLS) -pthread
LDLIBS       = -lpopt $(LIBS)
X86          = $(filter x86_64-%,$(shell $(CC) -dumpmachine))
LINK         = $(CC) $(LDHARD) $(CFLAGS) $(LDFLAGS)

LIB_OBJ  = $(patsubst %.c,$B/%.o,$(sort $(wildcard lib/*.c)))
CLI_OBJ  = $(patsubst %.c,$B/%.o,$(sort $(filter-out cmd/pm-%.c,$(wildcard cmd/*.c))))
PROGS    = $(patsubst cmd/%.c,%,$(sort $(wildcard cmd/pm-*.c)))
UNIT     = $(patsubst %.c,$B/%,$(sort $(wildcard tests/unit/*.c)))
# Those that wait for other processes, which no choice of instructions changes.
WAITING  = $(addprefix $B/tests/unit/,cgroup freeze guardian inject \
           inject_death inject_signal session session_receiver session_sender uninjected)
BENCH    = $(patsubst %.c,$B/%,$(sort $(wildcard bench/*.c)))
REPLAY   = $(addprefix $B/tests/fuzz/replay-,stream xbzrle codec qemu wire guest)
HELPERS  = $(patsubst %.c,$B/%,$(sort $(wildcard tests/helpers/*.c)))
PAGES    = $(sort $(wildcard man/*.[157]))
SCRIPTS  = $(sort $(wildcard tests/*.sh tests/fuzz/*.sh examples/*.sh bench/*.sh)) .ci/run
BATS     = $(filter-out tests/soak.bats,$(sort $(wildcard tests/*.bats)))

BUILD_DEPS = gcc make libc6-dev libpopt-dev zlib1g-dev liblz4-dev \
             libzstd-dev libxxhash-dev libgnutls28-dev
CHECK_DEPS = bats bash xxd mandoc shellcheck gawk gdb strace \
             iproute2 bsdutils util-linux xfsprogs attr \
             procps zsh fish clang gcc-multilib pkg-config bzip2 lzop zstd \
             socat gnutls-bin openssl parallel \
             $(GUEST_DEPS)
BENCH_DEPS = xdelta3 rsync zstd lz4 pigz pv gnuplot-nox socat openssl \
             openssh-server $(GUEST_DEPS)
GUEST_DEPS = qemu-system-x86 busybox-static cpio netcat-openbsd xz-utils \
             binutils

all: $(addprefix $B/,$(PROGS)) $B/libpm.pc ## build the library and the programs

$B/libpm.a: $(LIB_OBJ)
	rm -f $@
	$(AR) rcD $@ $(LIB_OBJ)

$B/cli.a: $(CLI_OBJ)
	rm -f $@
	$(AR) rcD $@ $(CLI_OBJ)

$B/pm-%: $B/cmd/pm-%.o $B/cli.a $B/libpm.a
	$(LINK) -o $@ $^ $(LDLIBS)

# Instruction sets that only some processors have; chosen at run time.
$B/lib/kernel_avx2.o: SIMD = $(if $(X86),-mavx2 -mbmi -mpopcnt)
$B/lib/kernel_avx512.o: SIMD = $(if $(X86),-mavx512bw -mbmi -mpopcnt)

$B/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(SIMD) -c -o $@ $<

$B/libpm.pc: lib/libpm.pc.in Makefile
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(libdir)|' \
	    -e 's|@INCDIR@|$(incdir)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

$B/tests/unit/%: $B/tests/unit/%.o $B/libpm.a
	$(LINK) -o $@ $^ $(LIBS)

$B/tests/helpers/%: $B/tests/helpers/%.o
	$(LINK) -o $@ $^

# It runs in guests, where there is no C library.
$B/tests/helpers/hog: LDHARD = -static

$B/tests/golden/make: $B/tests/golden/make.o $B/libpm.a
	$(LINK) -o $@ $^ $(CODECS)

$B/tests/fuzz/replay-%: $B/tests/fuzz/%.o $B/tests/fuzz/replay.o $B/libpm.a
	$(LINK) -o $@ $^ $(LIBS)

# The example of pm-stream(5) is the page's; this is its copy to read.
examples/zero.c: man/pm-stream.5 tests/extract.sh
	tests/extract.sh zero.c >$@

README: man/pm.7 tests/readme.sh
	tests/readme.sh >$@

# The tests.  Each prints TAP, or nothing and an exit status.  What they need is
# built by all processors.  Those of the programs wait for each other much of
# the time, so files of them run beside each other and beside the rest, which
# gives way to them.
CPUS    := $(shell nproc)
BUILD    = $(MAKE) -s -j$(CPUS)
MANY    := $(shell command -v parallel >/dev/null && \
             echo --jobs $(CPUS) --no-parallelize-within-files)

check: ## run every test
	$(BUILD) built
	+@tests/beside.sh $B \
	    'nice -n 5 $(MAKE) layers lint warnings unit replay portable' \
	    'nice -n 5 $(MAKE) asan tsan' '$(MAKE) bats'

built: all examples/zero.c $(UNIT) $(HELPERS) $(REPLAY) $B/tests/golden/make

WAITS = $(WAITING)
unit: ## run the library's tests
	@$(BUILD) $(filter-out $(WAITING),$(UNIT)) $(WAITS)
	@run() { for t; do echo "# $$t"; $$t || exit 1; done; }; \
	    (run $(filter-out $(WAITING),$(UNIT))) >$B/unit.tap & others=$$!; \
	    (run $(WAITS)); waited=$$?; \
	    wait $$others; others=$$?; cat $B/unit.tap; \
	    exit $$((others + waited))

for_tests: built

bats: for_tests ## run the tests of the programs
	PM_BUILD=$(abspath $B) bats --timing $(MANY) $(BATS)

layers: ## check that no file includes above its layer
	tests/layers.sh

lint: ## check manual pages, scripts and copies
	tests/extract.sh zero.c | cmp - examples/zero.c
	tests/readme.sh | cmp - README
	mandoc -Tlint -Wwarning $(PAGES)
	shellcheck $(SCRIPTS)
	shellcheck -s bash tests/*.bash
	shellcheck $(wildcard tests/*.bats)

warnings: ## build with gcc and with clang, where any warning is an error
	$(BUILD) B=build/gcc CC=gcc CFLAGS='-O2 -Werror' all
	$(BUILD) B=build/clang CC=clang \
	    CFLAGS='-O1 -Werror -Wsign-conversion' all

replay: $(REPLAY) ## run the fuzzers' corpus without a fuzzer
	@for t in $(REPLAY:$B/tests/fuzz/replay-%=%); do \
	    tests/fuzz/corpus.sh $$t $B/corpus/$$t && \
	    $B/tests/fuzz/replay-$$t $B/corpus/$$t || exit 1; done

fuzz-replay: replay

ASAN = B=build/asan HARDEN= LDHARD= \
       CFLAGS='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all'
TSAN = B=build/tsan HARDEN= LDHARD= CFLAGS='-O1 -g -fsanitize=thread'
SCALAR = B=build/portable CPPFLAGS=-DPM_PORTABLE \
       CFLAGS='-O2 -fno-tree-vectorize'

asan: ## the same under address and undefined-behaviour sanitizers
	$(BUILD) $(ASAN) built
	ASAN_OPTIONS=quarantine_size_mb=8 $(MAKE) $(ASAN) unit replay
	# A program that fails exits as it stands; that is no leak.
	ASAN_OPTIONS=detect_leaks=0 PM_BUILD=$(CURDIR)/build/asan \
	    bats tests/pm-stream.bats tests/pipeline.bats

tsan: ## the threads under the thread sanitizer
	$(BUILD) $(TSAN) all build/tsan/tests/unit/ring build/tsan/tests/unit/crew \
	    build/tsan/tests/helpers/scatter
	build/tsan/tests/unit/ring && build/tsan/tests/unit/crew
	PM_BUILD=$(CURDIR)/build/tsan bats tests/threads.bats

portable: ## build and test without SIMD, and for 32 bits
	$(MAKE) $(SCALAR) unit WAITS=
	CC='$(CC)' tests/thirty-two.sh

soak: for_tests ## the long variants of some tests
	PM_BUILD=$(abspath $B) bats tests/soak.bats

fuzz: ## fuzz each reader of foreign bytes for a minute; needs clang
	tests/fuzz/fuzz.sh

demo: all ## move the memory of a live process and prove it
	PM_BUILD=$(abspath $B) examples/demo.sh

demo-qemu: all ## migrate a guest of QEMU, and prove it; see deps-qemu
	PM_BUILD=$(abspath $B) examples/demo-qemu.sh

bench: all $(BENCH) $(HELPERS) ## measure beside peers, and print ratios
	PM_BUILD=$(abspath $B) bench/bench.sh

bench-scaling: all $(BENCH) ## measure how cost grows with size and threads
	PM_BUILD=$(abspath $B) bench/scaling.sh

$B/bench/%: $B/bench/%.o $B/libpm.a
	$(LINK) -o $@ $^ $(CODECS) -pthread

deps: ## install what building and testing need (Debian)
	tests/deps.sh $(BUILD_DEPS) $(CHECK_DEPS)
	# A kernel for guests, which is unpacked and not installed.
	-bash -c '. tests/guest.bash && guest_kernel $B/guest'

deps-qemu: ## install QEMU and what guests are made of, and fetch a kernel
	tests/deps.sh $(GUEST_DEPS)
	bash -c '. tests/guest.bash && guest_kernel $B/guest'

deps-bench: ## install the peers of make bench
	tests/deps.sh $(BENCH_DEPS)

install: all ## install below DESTDIR and PREFIX
	install -d $(addprefix $(DESTDIR),$(bindir) $(libdir)/pkgconfig \
	    $(incdir) $(mandir)/man1 $(mandir)/man5 $(mandir)/man7 \
	    $(bashdir) $(zshdir) $(fishdir))
	install $(addprefix $B/,$(PROGS)) $(DESTDIR)$(bindir)
	install -m 644 $B/libpm.a $(DESTDIR)$(libdir)
	install -m 644 $B/libpm.pc $(DESTDIR)$(libdir)/pkgconfig
	install -m 644 $(sort $(wildcard lib/*.h)) $(DESTDIR)$(incdir)
	install -m 644 $(filter %.1,$(PAGES)) $(DESTDIR)$(mandir)/man1
	install -m 644 $(filter %.5,$(PAGES)) $(DESTDIR)$(mandir)/man5
	install -m 644 $(filter %.7,$(PAGES)) $(DESTDIR)$(mandir)/man7
	install -m 644 cmd/completion/_pm $(DESTDIR)$(zshdir)
	install -m 644 cmd/completion/pm.fish $(DESTDIR)$(fishdir)/pm-snapshot.fish
	install -m 644 cmd/completion/pm.bash $(DESTDIR)$(bashdir)/pm-snapshot
	for p in $(filter-out pm-snapshot,$(PROGS)); do \
	    ln -sf pm-snapshot.fish $(DESTDIR)$(fishdir)/$$p.fish; \
	    ln -sf pm-snapshot $(DESTDIR)$(bashdir)/$$p; done

uninstall: ## remove what install put there
	rm -f $(addprefix $(DESTDIR)$(bindir)/,$(PROGS)) \
	    $(DESTDIR)$(libdir)/libpm.a $(DESTDIR)$(libdir)/pkgconfig/libpm.pc \
	    $(addprefix $(DESTDIR)$(incdir)/,$(notdir $(wildcard lib/*.h))) \
	    $(addprefix $(DESTDIR)$(mandir)/man1/,$(notdir $(filter %.1,$(PAGES)))) \
	    $(addprefix $(DESTDIR)$(mandir)/man5/,$(notdir $(filter %.5,$(PAGES)))) \
	    $(addprefix $(DESTDIR)$(mandir)/man7/,$(notdir $(filter %.7,$(PAGES)))) \
	    $(addprefix $(DESTDIR)$(bashdir)/,$(PROGS)) \
	    $(patsubst %,$(DESTDIR)$(fishdir)/%.fish,$(PROGS)) \
	    $(DESTDIR)$(zshdir)/_pm
	-rmdir $(DESTDIR)$(incdir)

dist: ## make pm-VERSION.tar.gz of what is committed
	git archive --prefix=pm-$(VERSION)/ HEAD | gzip -n9 >pm-$(VERSION).tar.gz

clean: ## remove what was built
	rm -rf $B

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

.PHONY: all check built unit for_tests bats layers lint warnings replay fuzz-replay asan \
        tsan portable soak fuzz demo demo-qemu bench bench-scaling deps deps-qemu \
        deps-bench install uninstall dist clean help
.SECONDARY:
-include $(wildcard $B/*/*.d $B/tests/*/*.d)
