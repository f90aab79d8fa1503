#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The architecture, enforced.  Each line below is a layer: its files may
# include their own headers and those of the lines above.
set -eu
cd "$(dirname "$0")/.."

layers='
status clock bytes span pagescan size meter version kernel bucket
kernel_portable kernel_sse2 kernel_avx2 kernel_avx512
fault fdio hash holes outfile bitmap
ledger procfs converge savefile guest guest_info
guest_space
guest_symbols guest_pages
guest_kernel
guest_find
crew cgroup guardian
tls_keys tls_socket
tls_peer
tls
channel
record net cgroup_members qemu_out
record_payload qemu listener
wire xbzrle codec layout pagecache qemu_head qemu_tail
mapped_ram parcel codec_zlib codec_lz4 codec_zstd maplist stream table maps freeze sigframe tracee pagemap
mapped_head restorer proof peer
inject_lead
inject_thread
inject
handover stop tracker
tracker_uffd tracker_soft tracker_hash mappers
stream_writer core mapfile gather outline token
image process transmit receive
move product transmit_queue transmit_hear transmit_turn receive_queue receive_hear receive_turn
base source target
ram
free
subject
subject_process subject_file
held older resolve source_free source_guest source_image source_mapped source_migration source_process source_spool target_open target_file target_table target_remap
chunk preface qemu_memory
sweep qemu_pages qemu_stream
sweep_adopt sweep_free sweep_send sweep_views sweep_settle
live
capture delta squeeze restore
filter relay qemu_capture qemu_emit
ring
'
bad=0

complain() {
	echo "layers: $*" >&2
	bad=1
}

includes() { # FILE: the project's headers that it includes
	sed -n 's/^#include "\(.*\)\.h"$/\1/p' "$1"
}

allowed='' listed=''
while read -r layer; do
	for name in $layer; do
		[ -e "lib/$name.c" ] || [ -e "lib/$name.h" ] ||
		    complain "lib/$name is listed and not there"
		listed="$listed $name "
		for file in lib/"$name".[ch]; do
			[ -e "$file" ] || continue
			for used in $(includes "$file"); do
				case " $allowed $name " in
				*" $used "*) ;;
				*) complain "$file: may not include $used.h" ;;
				esac
			done
		done
	done
	allowed="$allowed $layer"
done <<LAYERS
$layers
LAYERS

for file in lib/*.[ch]; do
	name=$(basename "$file")
	case $listed in
	*" ${name%.*} "*) ;;
	*) complain "$file: is in no layer" ;;
	esac
done

only() { # PATTERN ALLOWED-REGEX FILES...: who may include a header
	pattern=$1 permitted=$2
	shift 2
	for file in $(grep -lE "^#include <($pattern)>" "$@" || :); do
		echo "$file" | grep -qE "^($permitted)$" ||
		    complain "$file: may not include <$pattern>"
	done
}

only 'popt\.h' 'cmd/.*' lib/*.[ch] cmd/*.[ch]
only 'pthread\.h' 'lib/crew\.c|cmd/report\.c' lib/*.[ch] cmd/*.[ch]
only 'zlib\.h|lz4\.h|lz4hc\.h|zstd\.h|zstd_errors\.h' 'lib/codec_[a-z0-9]*\.c' \
    lib/*.[ch] cmd/*.[ch]
only 'gnutls/[a-z0-9]*\.h' 'lib/tls[a-z_]*\.c' lib/*.[ch] cmd/*.[ch]
only 'xxhash\.h' 'lib/hash\.c|lib/kernel_loops\.inc' lib/*.[ch] lib/*.inc cmd/*.[ch]

# The library knows nothing of its callers.
if grep -nE '\b(printf|fprintf|vprintf|perror|puts|exit|_exit|abort|signal|sigaction|isatty)\(|STD(IN|OUT|ERR)_FILENO|\bstd(in|out|err)\b' lib/*.c |
    grep -vE '(freeze|guardian)\.c.*_exit\('; then
	complain 'lib/ may not print, exit, or touch the standard streams'
fi

# A file exports nothing but its own prefix.
for file in lib/*.c; do
	name=$(basename "$file" .c)
	exports=$(sed -n 's/^\(pm_[a-z0-9_]*\)(.*/\1/p' "$file")
	for exported in $exports; do
		case $exported in
		pm_"${name%%_*}"*) ;;
		*)
			grep -qw "$exported" "lib/$name.h" 2>/dev/null ||
			    grep -qw "$exported" "lib/${name%%_*}.h" ||
			    complain "$file: exports $exported"
			;;
		esac
	done
done

for file in lib/*.[ch] lib/*.inc cmd/*.[ch] cmd/completion/* tests/*.sh \
    tests/*.bats \
    tests/*.bash tests/*/*.[ch] tests/*/*.sh examples/* bench/* .ci/run \
    Makefile man/*; do
	[ ! -e "$file" ] || head -n 3 "$file" |
	    grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' ||
	    complain "$file: says nothing of its licence"
done
exit "$bad"
