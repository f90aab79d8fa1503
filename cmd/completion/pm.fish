# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of the pm programs for fish(1).

set -l all pm-snapshot pm-delta pm-compress pm-apply pm-info pm-send pm-recv

for program in $all
    complete -c $program -s o -l output -rF -d 'Write to a file, whole or not at all'
    complete -c $program -l stats -rF -d 'Write counters to a file as JSON'
    complete -c $program -l progress -x -d 'Write a line of JSON each second'
    complete -c $program -s v -l verbose -d 'Say what was done'
    complete -c $program -s q -l quiet -d 'Do not warn'
    complete -c $program -s h -l help -d 'Show the help'
    complete -c $program -s V -l version -d 'Show the version'
end

complete -c pm-snapshot -l base -rF -d 'Send what differs from an image'
complete -c pm-snapshot -l since -rF -d 'Send what differs from a page table'
complete -c pm-snapshot -l save-table -rF -d 'Keep a page table of what was sent'
complete -c pm-snapshot -l pid -xa '(__fish_complete_pids)' -d 'Read the memory of a process'
complete -c pm-snapshot -l map -xa '"[heap]" "[stack]" "[anon]"' -d 'Carry only mappings of that name'
complete -c pm-snapshot -l spool -xa '(__fish_complete_directories)' -d 'Freeze only for a copy to a file there'
complete -c pm-snapshot -l live -d 'Copy while it is in use'
complete -c pm-snapshot -l tracker -xa 'uffd soft-dirty hash' -d 'Find out by what was written'
complete -c pm-snapshot -l uffd-socket -rF -d 'Take a userfaultfd from there'
complete -c pm-snapshot -l verify -d 'Look at all while it is stopped'
complete -c pm-snapshot -l max-downtime -x -d 'That it may be stopped'
complete -c pm-snapshot -l max-rounds -x -d 'Before it is not converging'
complete -c pm-snapshot -l deadline -x -d 'For all rounds'
complete -c pm-snapshot -l force -d 'Stop it even if it is not converging'
complete -c pm-snapshot -l throttle -d 'Slow it down to have it converge'
complete -c pm-snapshot -l cgroup -xa '(__fish_complete_directories)' -d 'To freeze or slow it'
complete -c pm-snapshot -l stop-command -xa '(__fish_complete_command)' -d 'Run to stop it'
complete -c pm-snapshot -l resume-command -xa '(__fish_complete_command)' -d 'Run to have it go on'
complete -c pm-snapshot -l then -xa 'resume stop kill' -d 'What becomes of it in the end'
complete -c pm-snapshot -l cpu-limit -x -d 'Of one processor'
complete -c pm-snapshot -l free-bitmap -rF -d 'Leave out pages that it marks'
complete -c pm-snapshot -l bit-order -xa 'lsb msb' -d 'Of the bitmap'
complete -c pm-snapshot -l skip-free -xa 'linux' -d 'Leave out what a guest has no use for'
complete -c pm-snapshot -l format -xa 'auto raw core qemu mapped-ram' -d 'Of the source'
complete -c pm-snapshot -l region -x -d 'Cut a raw image: NAME:ADDRESS:SIZE'
complete -c pm-snapshot -l page-size -xa '4K 8K 16K 32K 64K' -d 'Of a raw image'
complete -c pm-snapshot -l record-size -x -d 'Of pages in a record'
complete -c pm-snapshot -s j -l threads -x -d 'Compare on so many threads'

complete -c pm-delta -l cache-size -x -d 'Remember pages of that size in all'
complete -c pm-delta -l base -rF -d 'What the target holds before the stream'
complete -c pm-delta -s d -l decode -d 'Restore whole pages'
complete -c pm-delta -l max-memory -x -d 'For -d, refuse to remember more'

complete -c pm-compress -s c -l codec -xa 'zstd lz4 zlib' -d 'How to compress'
complete -c pm-compress -s l -l level -x -d 'How hard to try; 0 stores'
complete -c pm-compress -s j -l threads -x -d 'Compress on so many threads'
complete -c pm-compress -s d -l decode -d 'Restore what was compressed'

complete -c pm-apply -l in-place -d 'Write the target itself'
complete -c pm-apply -l trust-table -d 'Keep a page table and trust it'
complete -c pm-apply -l format -xa 'image qemu mapped-ram' -d 'Of what is written'
complete -c pm-apply -l region -x -d 'Make an image of one region alone'
complete -c pm-apply -s j -l threads -x -d 'Work on so many threads'

complete -c pm-info -l list -d 'Show every record in a line'
complete -c pm-info -l verify -d 'Check all digests that need no target'
complete -c pm-info -l token -d 'Say how much of a cut stream there is'
complete -c pm-info -l json -d 'Print JSON'
complete -c pm-info -l id -rF -d 'Print the generation id of a file'
complete -c pm-info -l guest -rF -d 'Show the Linux guest whose memory it is'
complete -c pm-info -l format -xa 'auto raw core mapped-ram' -d 'Of the image'
complete -c pm-info -l region -x -d 'Cut a raw image: NAME:ADDRESS:SIZE'
complete -c pm-info -l page-size -xa '4K 8K 16K 32K 64K' -d 'Of a raw image'

function __pm_address
    set -l word (commandline -ct)
    if string match -q 'unix:*' -- "$word"
        printf 'unix:%s\n' (__fish_complete_path (string sub -s 6 -- $word))
    else
        printf '%s\n' localhost: unix:
    end
end

complete -c pm-send -fa '(__pm_address)'
complete -c pm-send -l raw -d 'Send the bare stream; nothing is confirmed'
complete -c pm-send -l connections -x -d 'Over how many'
complete -c pm-send -l rate -x -d 'Bytes a second, at most, or @FILE'
complete -c pm-send -l count-zero -d 'For the rate, zero pages are whole'
complete -c pm-send -l resume -x -d 'Send what is missing behind a token'
complete -c pm-send -l make-key -rF -d 'Write a new key'
complete -c pm-send -l timeout -x -d 'Wait so long for the receiver'

# What stands behind "--" is a command line of its own.
function __pm_recv_command
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l at (contains -i -- -- $words); or return
    set -e words[1..$at]
    complete -C (string join ' ' -- (string escape -- $words) "$last")
end

set -l before 'not contains -- -- (commandline -opc)'
complete -c pm-recv -n $before -fa '(__pm_address)'
complete -c pm-recv -n "not $before" -fa '(__pm_recv_command)'
complete -c pm-recv -l resume -d 'Keep what arrives, and go on behind it'
complete -c pm-recv -l timeout -x -d 'Wait so long for a connection'
complete -c pm-recv -l port-file -rF -d 'Write the port there'

for program in pm-send pm-recv
    complete -c $program -l insecure -d 'Take other machines without TLS'
    complete -c $program -l tls-psk -rF -d 'Encrypt, with a shared key'
    complete -c $program -l tls-cert -rF -d 'Encrypt, and show this certificate'
    complete -c $program -l tls-key -rF -d 'Its private key'
    complete -c $program -l tls-ca -rF -d 'Who has to have signed the other'
    complete -c $program -l tls-peer -x -d 'Whom the other has to be for'
    complete -c $program -l reconnect -x -d 'How long a break may last'
    complete -c $program -l keep-alive -x -d 'How long the other end may be silent'
    complete -c $program -l window -x -d 'Bytes under way, at most'
end
