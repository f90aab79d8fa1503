#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Draw what the table cannot show: what each stage of a pipeline takes of a
# processor while a change passes over a link of 1 Gbit/s, with pm-delta and
# without; and the ratios of the table.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=bench/guest.sh
. "$bench/guest.sh"
# shellcheck source=bench/inputs.sh
. "$bench/inputs.sh"

link=1e9		# bits a second
step=0.01		# seconds of an average

# The share of a processor, in percent, that each stage had in each step of
# time, and the megabytes that stage LINK had let through.
shares() { # LOG STAGES LINK
	awk -v stages="$2" -v link="$3" -v step="$step" '
	BEGIN { until = step }
	function tell(at, i) {
		printf "%.4f", (from + at) / 2
		for (i = 1; i <= stages; i++) {
			printf " %.2f", 100 * ($(2 * i) - had[i]) / (at - from)
			had[i] = $(2 * i)
		}
		printf " %.3f\n", $(2 * link + 1) / 1e6
		from = at
	}
	$1 >= until { tell($1); while (until <= $1) until += step }
	END { if ($1 > from) tell($1) }' "$1"
}

# Run a pipeline five times, and keep what was seen of the quickest.
watch() { # NAME STAGES LINK COMMAND...
	local name=$1 stages=$2 at=$3 turn spent best=''
	shift 3
	for ((turn = 0; turn < 5; turn++)); do
		eval "$reset" >said
		warm "$pair".[AB] C
		stages stages.log 1 "$@" >said
		spent=$(tail -n 1 stages.log | cut -d' ' -f1)
		[ -z "$best" ] || [ "$(calc %d "$spent < $best")" = 1 ] ||
		    continue
		best=$spent
		mv stages.log "stages.$name"
	done
	shares "stages.$name" "$stages" "$at" >"shares.$name"
}

# What it took in all.
sum() { # NAME STAGES LINK
	tail -n 1 "stages.$1" | awk -v stages="$2" -v link="$3" '{
		for (i = 1; i <= stages; i++)
			cpu += i == link ? 0 : $(2 * i)
		printf "%.1f MB over 1 Gbit/s in %.2f s, %.2f s of processors",
		    $(2 * link + 1) / 1e6, $1, cpu
	}'
}

draw_stages() {
	local reset snapshot apply
	snapshot=(pm-snapshot --since "$pair.table" "$pair.B")
	apply=(pm-apply --in-place --trust-table C)
	make_target "$pair"
	watch plain 3 2 "${snapshot[@]}" '|' pace "$link" '|' "${apply[@]}"
	watch packed 4 3 "${snapshot[@]}" '|' pm-compress '|' \
	    pace "$link" '|' "${apply[@]}"
	watch delta 4 3 "${snapshot[@]}" '|' pm-delta --base "$pair.A" '|' \
	    pace "$link" '|' "${apply[@]}"
	watch both 5 4 "${snapshot[@]}" '|' pm-delta --base "$pair.A" '|' \
	    pm-compress '|' pace "$link" '|' "${apply[@]}"
	gnuplot <<PLOT
set terminal svg size 1100,760 background 'white' font 'sans,11'
set output '$build/bench/stages.svg'
set multiplot layout 2,2 title 'The same change, of pair $pair, on its way'
stats 'shares.plain' using 1 name 'time' nooutput
stats 'shares.plain' using 5 name 'bytes' nooutput
set xrange [0:time_max]
set yrange [0:200]
set y2range [0:bytes_max]
set ytics 50 nomirror
set y2tics nomirror
set grid x y
set bmargin 7
set key below horizontal
set ylabel '% of a processor'
set y2label 'MB over the link'
set xlabel 'seconds'
set title "Neither: $(sum plain 3 2)"
plot 'shares.plain' using 1:2 with lines lw 2 lt 1 title 'pm-snapshot', \
    '' using 1:4 with lines lw 2 lt 4 title 'pm-apply', \
    '' using 1:5 axes x1y2 with lines lw 1 dt 2 lc 'black' title 'link'
set title "pm-compress: $(sum packed 4 3)"
plot 'shares.packed' using 1:2 with lines lw 2 lt 1 title 'pm-snapshot', \
    '' using 1:3 with lines lw 2 lt 3 title 'pm-compress', \
    '' using 1:5 with lines lw 2 lt 4 title 'pm-apply', \
    '' using 1:6 axes x1y2 with lines lw 1 dt 2 lc 'black' title 'link'
set title "pm-delta: $(sum delta 4 3)"
plot 'shares.delta' using 1:2 with lines lw 2 lt 1 title 'pm-snapshot', \
    '' using 1:3 with lines lw 2 lt 2 title 'pm-delta', \
    '' using 1:5 with lines lw 2 lt 4 title 'pm-apply', \
    '' using 1:6 axes x1y2 with lines lw 1 dt 2 lc 'black' title 'link'
set title "Both: $(sum both 5 4)"
plot 'shares.both' using 1:2 with lines lw 2 lt 1 title 'pm-snapshot', \
    '' using 1:3 with lines lw 2 lt 2 title 'pm-delta', \
    '' using 1:4 with lines lw 2 lt 3 title 'pm-compress', \
    '' using 1:6 with lines lw 2 lt 4 title 'pm-apply', \
    '' using 1:7 axes x1y2 with lines lw 1 dt 2 lc 'black' title 'link'
PLOT
	rm -f stages.* shares.* C C.pm-table back back.table still
}

# Rows with a target or with a peer's name, from the last one up.
draw_ratios() {
	awk -F'\t' 'NR > 1 && $9 != "-" && $9 !~ /^</ && $1 != "inner loops" {
		gsub(/[|]/, "to", $2)
		printf "\"%s\"\t\"%s, beside %s\"\t%s\t%s\t%s\t%s\n", $1, $2, $4,
		    $6, $7, $8, $9
	}' "$build/bench/table.tsv" | tac | awk -F'\t' -v OFS='\t' \
	    '{ print NR, $0 }' >ratios
	[ -s ratios ] || return 0
	gnuplot <<PLOT
set terminal svg size 1100,$((140 + 26 * $(wc -l <ratios))) background 'white' font 'sans,12'
set output '$build/bench/ratios.svg'
set datafile separator '\t'
set title 'How many times as fast as what stands beside it'
set logscale x 2
set xrange [0.25:*]
set yrange [0.3:$(wc -l <ratios) + 0.7]
set grid x
set ytics nomirror
set key outside bottom horizontal
set style fill solid 0.6
plot 'ratios' using (sqrt(\$4 * 0.25)):1:(0.25):4:(\$1 - 0.35):(\$1 + 0.35):ytic(3) \
    with boxxyerror lc 'steelblue' title 'measured', \
    '' using 4:1:5:6 with xerrorbars pt 0 lc 'black' title 'lowest to highest', \
    '' using 7:(\$1 - 0.4):(0):(0.8) with vectors nohead lw 3 lc 'red' title 'target'
PLOT
	rm -f ratios
}

if ! have gnuplot; then
	echo 'bench: gnuplot is not installed (make deps-bench): no plots' >&2
	exit 0
fi
enter
make_inputs
pair=${pairs[0]}
draw_stages
echo "drawn: $build/bench/stages.svg"
if [ -s "$build/bench/table.tsv" ]; then
	draw_ratios
	echo "drawn: $build/bench/ratios.svg"
fi
