#!/usr/bin/env bash
# Builds the image for real and runs it, on a machine without an engine or a registry (as root, with Debian's packages):
# a minimal Debian stands in for the base under the base's own name. What it can't check: the real base's packages, CUDA.
#
#   tests/image/run.sh [FOLDER]     FOLDER: where clips and weights for tests lie; default ../shared
#
# Exit status 0: all passed, or the machine can't do it (the reason is on a line); 1: something failed.
set -u -o pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
shared=$(realpath -m -- "${1:-${LIPSCORE_SHARED:-$root/../shared}}")
# shellcheck source=tests/image/lib.sh
. "$here/lib.sh"

skip() {
    printf 'image test skipped: %s\n' "$*"
    exit 0
}

[ -d "$shared/clips/talking" ] || skip "no clips at $shared (set LIPSCORE_SHARED)"
[ "$(id -u)" -eq 0 ] || skip "needs root"
unshare -m --propagation private true 2>/dev/null || skip "no mount namespace can be made here"
if [ -z "${LIPSCORE_IMAGE_TEST_INSIDE:-}" ]; then
    export LIPSCORE_IMAGE_TEST_INSIDE=1
    exec unshare -m --propagation private bash "${BASH_SOURCE[0]}" "$shared"
fi
if tools_missing; then
    say "installing podman, buildah, crun, conmon, mmdebstrap"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends podman buildah crun conmon mmdebstrap \
        ca-certificates; } >/dev/null 2>&1 || skip "podman and its companions cannot be installed here"
fi
[ -e /etc/apt/sources.list.d/debian.sources ] || skip "no Debian package sources to make a stand-in base from"

work=$(mktemp -d /tmp/lipscore-image.XXXXXX)
trap clean_up EXIT
configure_engine
wheels=$(python3 -m pip config get global.find-links 2>/dev/null || true)
base=$(sed -n 's/^ARG BASE_IMAGE=//p' "$root/Dockerfile")
say "bootstrapping the stand-in for $base"
stand_in "docker.io/$base" >"$work/base.log" 2>&1 || skip "no stand-in base: $(tail -n 1 "$work/base.log")"
podman run --rm "docker.io/$base" true >"$work/probe.log" 2>&1 || skip "podman run fails: $(tail -n 1 "$work/probe.log")"

# From here on every failure counts.
# shellcheck source=tests/image/checks.sh
. "$here/checks.sh"
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
