# GNU make.  "make help" lists the targets.
VERSION = 0.1.0
PREFIX  = /usr/local
bindir  = $(PREFIX)/bin
libdir  = $(PREFIX)/lib
incdir  = $(PREFIX)/include
datadir = $(PREFIX)/share
mandir  = $(datadir)/man

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
LDLIBS       = -lpopt -lz -llz4 -lzstd -pthread

LIB_OBJ  = $(patsubst %.c,$B/%.o,$(sort $(wildcard lib/*.c)))
PROGS    = $(patsubst cmd/%.c,%,$(sort $(wildcard cmd/pm-*.c)))
UNIT     = $(patsubst %.c,$B/%,$(sort $(wildcard tests/unit/*.c)))

all: $(addprefix $B/,$(PROGS)) ## build the library and the programs

$B/libpm.a: $(LIB_OBJ)
	rm -f $@
	$(AR) rcD $@ $(LIB_OBJ)

$B/pm-%: $B/cmd/pm-%.o $B/cmd/cli.o $B/cmd/report.o $B/libpm.a
	$(CC) $(LDHARD) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$B/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$B/tests/unit/%: $B/tests/unit/%.o $B/libpm.a
	$(CC) $(LDHARD) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

unit: $(UNIT) ## run the library's tests
	@for t in $(UNIT); do echo "# $$t"; $$t || exit 1; done

clean: ## remove what was built
	rm -rf $B

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

.PHONY: all unit clean help
.SECONDARY:
-include $(wildcard $B/*/*.d $B/tests/*/*.d)
