# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Completion of the pm programs for bash(1).

_pm_options() { # PROGRAM: its options
	echo -o --output --stats --progress -v --verbose -q --quiet \
	    -h --help -V --version
	case $1 in
	pm-snapshot)
		echo --base --since --save-table --pid --map --spool --format \
		    --region --page-size --record-size -j --threads \
		    --live --tracker --uffd-socket --verify --max-downtime \
		    --max-rounds --deadline --force --throttle --cgroup \
		    --stop-command --resume-command --then --cpu-limit \
		    --free-bitmap --bit-order --skip-free ;;
	pm-delta)
		echo --cache-size --base -d --decode --max-memory ;;
	pm-compress)
		echo -c --codec -l --level -j --threads -d --decode ;;
	pm-apply)
		echo --in-place --trust-table --format --region -j --threads ;;
	pm-info)
		echo --list --verify --token --json --id --guest --format \
		    --region --page-size ;;
	pm-send)
		echo --raw --timeout --connections --rate --count-zero \
		    --resume --make-key --insecure --tls-psk --tls-cert \
		    --tls-key --tls-ca --tls-peer --reconnect --keep-alive \
		    --window ;;
	pm-recv)
		echo --timeout --port-file --resume --insecure --tls-psk \
		    --tls-cert --tls-key --tls-ca --tls-peer --reconnect \
		    --keep-alive --window ;;
	esac
}

# Outside of a completion, as when tested, there is nothing to set.
_pm_as() { # OPTION...
	compopt "${@/#/-o}" 2>/dev/null
}

_pm_reply() { # ARGUMENTS OF COMPGEN...
	mapfile -t COMPREPLY < <(compgen "$@")
}

_pm_files() { # WORD
	_pm_as filenames
	_pm_reply -f -- "$1"
}

# Reply with what may follow an option; fail when it takes no argument.
_pm_argument() { # OPTION WORD
	case $1 in
	-o | --output | --stats | --base | --since | --save-table | --id | --guest | \
	    --port-file | --uffd-socket | --tls-psk | --tls-cert | \
	    --tls-key | --tls-ca | --make-key | --free-bitmap)
		_pm_files "$2" ;;
	--spool)
		_pm_as filenames
		_pm_reply -d -- "$2" ;;
	--cgroup)
		_pm_as filenames
		_pm_reply -d -- "${2:-/sys/fs/cgroup/}" ;;
	--pid)
		_pm_reply -W "$(cd /proc && echo [0-9]*)" -- "$2" ;;
	--format)
		case $program in
		pm-apply) _pm_reply -W 'image qemu mapped-ram' -- "$2" ;;
		pm-snapshot) _pm_reply -W 'auto raw core qemu mapped-ram' -- "$2" ;;
		*) _pm_reply -W 'auto raw core mapped-ram' -- "$2" ;;
		esac ;;
	-c | --codec)
		_pm_reply -W 'zstd lz4 zlib' -- "$2" ;;
	--bit-order)
		_pm_reply -W 'lsb msb' -- "$2" ;;
	--skip-free)
		_pm_reply -W linux -- "$2" ;;
	--page-size)
		_pm_reply -W '4K 8K 16K 32K 64K' -- "$2" ;;
	--tracker)
		_pm_reply -W 'uffd soft-dirty hash' -- "$2" ;;
	--then)
		_pm_reply -W 'resume stop kill' -- "$2" ;;
	--stop-command | --resume-command)
		_pm_reply -c -- "$2" ;;
	--map)
		_pm_reply -W '[heap] [stack] [anon]' -- "$2" ;;
	-j | --threads | -l | --level | --progress | --region | --timeout | \
	    --record-size | --cache-size | --max-memory | --max-downtime | \
	    --max-rounds | --deadline | --cpu-limit)
		COMPREPLY=() ;;
	*)
		return 1 ;;
	esac
}

_pm() { # PROGRAM
	local program=${1##*/} word=${COMP_WORDS[COMP_CWORD]} at
	local option=${COMP_WORDS[COMP_CWORD - 1]} mark
	mark=$option

	# A command behind "--" is completed as such.
	for ((at = 1; at < COMP_CWORD; at++)); do
		[[ ${COMP_WORDS[at]} == -- ]] || continue
		if [[ $program == pm-recv ]] &&
		    declare -F _command_offset >/dev/null; then
			_command_offset $((at + 1))
		elif [[ $program == pm-recv ]] &&
		    ((at + 1 == COMP_CWORD)); then
			_pm_reply -c -- "$word"
		else
			_pm_files "$word"
		fi
		return
	done

	# --option=word and unix:path may have been taken for three words.
	if [[ $word == [=:] ]]; then
		mark=$word
		word=
	elif [[ $mark == = ]]; then
		option=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	_pm_argument "$option" "$word" && return
	if [[ $word == -* ]]; then
		_pm_reply -W "$(_pm_options "$program")" -- "$word"
	elif [[ $program == pm-send || $program == pm-recv ]]; then
		if [[ $mark == : ]]; then
			_pm_files "$word"
		else
			_pm_as nospace
			_pm_reply -W 'localhost: unix:' -- "$word"
		fi
	else
		_pm_files "$word"
	fi
}

complete -F _pm pm-snapshot pm-delta pm-compress pm-apply pm-info pm-send \
    pm-recv
