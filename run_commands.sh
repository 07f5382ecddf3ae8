#!/usr/bin/env bash
# What the container runs without arguments. Edit it, or mount another over it (-v $PWD/run_commands.sh:/app/run_commands.sh).
set -u

# A signal reaches lipscore too: wait for it to end (its results are on disk), then end as it did.
trap 'exit 143' TERM
trap 'exit 130' INT

# Scores eval/data, with the references in eval/data/reference if there are any; all_scores.txt gets a line per face track.
# LIPSCORE_OUT and LIPSCORE_ALLOW_UNVERIFIED come from entrypoint.sh and the image.
status=0
lipscore score eval/data \
    --scores-file all_scores.txt \
    --out "${LIPSCORE_OUT:-eval/results}" \
    ${LIPSCORE_ALLOW_UNVERIFIED:+--allow-unverified} || status=$?

# 1: some video was not scored, and the averages are over the others. A higher status: there is nothing to average.
if [ "$status" -le 1 ]; then
    lipscore average all_scores.txt || status=$?
fi
exit "$status"
