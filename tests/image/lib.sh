# shellcheck shell=bash disable=SC2154
# What run.sh needs of a shell: checks that are counted, and an engine that works without a service or a registry.

passed=0
failed=0

say() { printf '== %s\n' "$*"; }

# check NAME COMMAND...: the command must succeed; what it printed is shown where it does not.
check() {
    local name=$1 output status=0
    shift
    output=$("$@" 2>&1) || status=$?
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'ok      %s\n' "$name"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s (status %s)\n%s\n' "$name" "$status" "$output"
    fi
}

# ends STATUS LOG COMMAND...: the command ends with that status; what it printed is in LOG.
ends() {
    local expected=$1 log=$2 status=0
    shift 2
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" -eq "$expected" ] || {
        printf 'ended with %s instead of %s:\n' "$status" "$expected"
        tail -n 40 "$log"
        return 1
    }
}

# says LOG TEXT...: each text is in the log.
says() {
    local log=$1 text
    shift
    for text in "$@"; do
        grep -qF -- "$text" "$log" || {
            printf 'does not say "%s":\n' "$text"
            tail -n 40 "$log"
            return 1
        }
    done
}

# refuses STATUS TEXT COMMAND...: ends with that status and says the text.
refuses() {
    local expected=$1 text=$2
    shift 2
    ends "$expected" "$work/refused.log" "$@" && says "$work/refused.log" "$text"
}

# lines FILE N [PATTERN]: the file has N lines (that match).
lines() {
    local found
    found=$(grep -c -- "${3:-}" "$1" || true)
    [ "$found" -eq "$2" ] || {
        printf '%s lines instead of %s:\n' "$found" "$2"
        cat "$1"
        return 1
    }
}

# await SECONDS COMMAND...: until the command succeeds.
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

tools_missing() {
    local tool
    for tool in podman buildah crun conmon mmdebstrap; do
        command -v "$tool" >/dev/null || return 0
    done
    return 1
}

# crun may not raise limits here, and refuses the hybrid cgroup mount: explicit limits, and the mount left out.
configure_engine() {
    if mountpoint -q /sys/fs/cgroup/unified; then
        umount /sys/fs/cgroup/unified
    fi
    cat >"$work/containers.conf" <<END
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=1024:1024"]
cgroups = "disabled"
netns = "host"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
END
    cat >"$work/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$work/store"
runroot = "$work/run"
END
    export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
}

# stand_in NAME: a minimal Debian under the real base's name, with this machine's certificates and pip settings.
stand_in() {
    printf '[global]\ncert = /etc/ci-ca.crt\n%s\n' "${wheels:+find-links = $wheels}" >"$work/pip.conf"
    mmdebstrap -q --variant=minbase --include=ca-certificates \
        --customize-hook='upload /etc/ssl/certs/ca-certificates.crt /etc/ci-ca.crt' \
        --customize-hook="upload $work/pip.conf /etc/pip.conf" \
        bookworm - /etc/apt/sources.list.d/debian.sources | podman import -q - "$1"
}

clean_up() {
    podman rm -af >/dev/null 2>&1
    podman rmi -af >/dev/null 2>&1
    umount -l "$work/store/overlay" 2>/dev/null
    rm -rf "$work"
}
