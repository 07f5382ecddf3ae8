#!/usr/bin/env bash
# Checks the mounts and reports what is wrong before anything runs. Then it runs run_commands.sh or, with arguments,
# lipscore with these arguments in the current folder. Exit status 3: a mount is wrong; else that of the command.
set -u

# /app in the image, which older mounts know as /syncnet_python
home=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
scores=all_scores.txt
data=eval/data

fail() {
    printf 'lipscore: %s\n' "$@" >&2
    exit 3
}

note() {
    printf 'lipscore: %s\n' "$@" >&2
}

user() {
    printf 'user %s' "$(id -u)"
}

# Whether something is mounted at exactly this path (mountinfo lists resolved paths).
mounted() {
    grep -qsF -- " $home/$1 " /proc/self/mountinfo
}

# A file system can be read-only, and a folder another user's: only a test write shows it.
writable_folder() {
    local probe
    probe=$(mktemp "$1/.lipscore-XXXXXX" 2>/dev/null) && rm -f -- "$probe"
}

# Mounts that are always wrong. (The engine itself refuses a directory over run_commands.sh, which the image has.)
check_no_directory() {
    if [ -d "$home/$scores" ]; then
        fail "$home/$scores is a directory: the host had no such file, so a directory was made in its place." \
            "On the host: rmdir all_scores.txt && touch all_scores.txt, then run again."
    fi
}

check_scores() {
    if ! { : >>"$scores"; } 2>/dev/null; then
        if mounted "$scores"; then
            fail "$home/$scores is not writable for $(user) ($(stat -c 'owner %u, mode %a' "$scores" 2>/dev/null))." \
                "On the host: chown or chmod it, run with --user \$(id -u):\$(id -g), or mount it without :ro."
        fi
        fail "$home/$scores is not writable for $(user), and nothing is mounted there." \
            "On the host: touch all_scores.txt, then add -v \$PWD/all_scores.txt:$home/all_scores.txt."
    fi
    if [ "$home" = /app ] && ! mounted "$scores"; then
        note "nothing is mounted at $home/$scores: the scores will be lost with this container." \
            "To keep them: touch all_scores.txt, then add -v \$PWD/all_scores.txt:$home/all_scores.txt."
    fi
}

check_data() {
    local advice="Mount a folder of videos: -v \$PWD/eval/data:$home/eval/data."
    [ -d "$data" ] || fail "$home/$data is not a folder." "$advice"
    if [ ! -r "$data" ] || [ ! -x "$data" ]; then
        fail "$home/$data is not readable for $(user) ($(stat -c 'owner %u, mode %a' "$data"))." \
            "On the host: chmod a+rx it, or run with --user \$(id -u):\$(id -g)."
    fi
    if [ -z "$(find -L "$data" -mindepth 1 -maxdepth 1 ! -name '.*' ! -name reference -print -quit)" ]; then
        fail "$home/$data is empty: there is no video to score." "$advice"
    fi
}

check_temporary() {
    local folder=${TMPDIR:-/tmp}
    writable_folder "$folder" || fail "$folder is not writable for $(user), and videos are unpacked there." \
        "With a read-only root file system add --tmpfs /tmp, or mount a folder and set TMPDIR."
}

# scores.jsonl, scores.csv and run.json go to eval/results if that is mounted, or else to the older container's folder if
# that is mounted. Without either, they are lost with the container; on a read-only root they go to the temporary folder.
choose_out() {
    local folder
    [ -z "${LIPSCORE_OUT:-}" ] || return 0
    LIPSCORE_OUT=${TMPDIR:-/tmp}/lipscore-results
    if writable_folder "$home/eval/results"; then
        LIPSCORE_OUT=eval/results
    fi
    for folder in tmp eval/results; do
        if mounted "$folder"; then
            writable_folder "$home/$folder" || fail "$home/$folder is not writable for $(user)." \
                "On the host: chown or chmod it, or run with --user \$(id -u):\$(id -g)."
            LIPSCORE_OUT=$folder
        fi
    done
    export LIPSCORE_OUT
}

# `score` with arguments writes to the mounted outputs, unless the arguments name others. Without this, it would only print
# its scores, and a mounted all_scores.txt would stay unchanged.
score_into_mounts() {
    local word into=()
    for word in "$@"; do
        case $word in
        --out | --out=* | -o* | --scores-file | --scores-file=*) exec lipscore score "$@" ;;
        --) break ;;
        esac
    done
    choose_out
    for word in tmp eval/results; do
        if mounted "$word" && [ "$LIPSCORE_OUT" = "$word" ]; then
            into+=(--out "$home/$word")
        fi
    done
    if mounted "$scores"; then
        into+=(--scores-file "$home/$scores")
    fi
    exec lipscore score ${into[@]+"${into[@]}"} "$@"
}

check_no_directory
if [ -n "${LIPSCORE_ALLOW_UNVERIFIED:-}" ]; then
    note "this image holds weights that are not the published ones (ALLOW_UNVERIFIED): scores are not comparable."
fi
if [ "${1:-}" = score ]; then
    shift
    score_into_mounts "$@"
fi
if [ $# -gt 0 ]; then
    exec lipscore "$@"
fi
cd -- "$home" || exit 3
check_data
check_scores
check_temporary
choose_out
if [ -x run_commands.sh ]; then
    exec ./run_commands.sh
fi
exec bash run_commands.sh
