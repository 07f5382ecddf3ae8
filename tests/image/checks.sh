# shellcheck shell=bash disable=SC2154
# What the image must do; run.sh sources it with an engine that works, and $root, $shared, $work, $wheels set.

context=$work/context
plain=localhost/lipscore:plain       # WEIGHTS=none
weighted=localhost/lipscore:weighted # the kit's weight files
talking=$shared/clips/talking/1p_closeup_facingcamera

# The checkout as it is, less what git ignores; weights/ is filled here and not in the checkout.
make_context() {
    mkdir -p "$context"
    (cd "$root" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file"
    done | tar --null -T - -cf -) | tar -x -C "$context"
}

# build TAG OPTION...
build() {
    local tag=$1
    shift
    nice -n 10 podman build --pull=never --format docker ${wheels:+-v "$wheels:$wheels:ro"} -t "$tag" "$@" "$context"
}

run() {
    podman run --rm --no-healthcheck --network none "$@"
}

# in_image IMAGE SCRIPT [OPTION...]: a shell script inside.
in_image() {
    local image=$1 script=$2
    shift 2
    run "$@" --entrypoint sh "$image" -euc "$script"
}

# inputs FOLDER: two real clips, a re-encoded copy of one as its reference, and the file for the scores.
inputs() {
    mkdir -p "$1/data/reference" "$1/tmp"
    cp "$talking/10_woman_doctor.mp4" "$talking/4_man_reading.mp4" "$1/data/"
    cp "$work/reference.mp4" "$1/data/reference/10_woman_doctor.mp4"
    touch "$1/all_scores.txt"
    chmod 777 "$1/tmp"
    chmod 666 "$1/all_scores.txt"
}

# json FILE EXPRESSION: the Python expression about the file's JSON (`records`: a list of its lines) holds.
json() {
    python3 - "$@" <<'END'
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])] if sys.argv[1].endswith("l") else json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), f"{sys.argv[2]} does not hold for {records}"
END
}

# uses_cache LOG TEXT: the build step with that text came from the cache.
uses_cache() {
    grep -F -A 1 -- "$2" "$1" | grep -q 'Using cache'
}

say "building without weights"
make_context
check "the image builds with WEIGHTS=none" ends 0 "$work/plain.log" build "$plain" --build-arg WEIGHTS=none \
    --build-arg VERSION=1.2.3 --build-arg REVISION=abc
podman image exists "$plain" || {
    printf '%s passed, %s failed\n' "$passed" "$failed"
    exit 1
}
check "it says that there are no weights" says "$work/plain.log" "scores with model=mini"
podman inspect "$plain" >"$work/inspect.json"
check "labels bear version, revision and base" json "$work/inspect.json" \
    "{'1.2.3', 'abc', '$base'} <= set(records[0]['Config']['Labels'].values())"
# shellcheck disable=SC2016
check "no compiler, no pip, no caches, no user's file" in_image "$plain" '
    for tool in cc gcc g++ make pip pip3; do ! command -v $tool || exit 1; done
    [ -z "$(find /var/lib/apt/lists /var/cache/apt /app/eval/data /app/eval/results -mindepth 1)" ]; [ ! -e /root/.cache ]'
check "doctor is clean, read-only" ends 0 "$work/doctor.log" run --read-only "$plain" doctor
check "doctor is clean for a user without a name" ends 0 "$work/doctor.log" run --read-only --user 4321:4321 "$plain" doctor
check "no check of doctor fails" lines "$work/doctor.log" 0 FAIL

say "scoring"
# shellcheck disable=SC2016
check "a reference is made" in_image "$plain" \
    '"$(python -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")" -v error -i /in.mp4 -crf 32 /out/reference.mp4' \
    -v "$talking/10_woman_doctor.mp4:/in.mp4:ro" -v "$work:/out"
inputs "$work/a"
mounts=(-v "$work/a/data:/app/eval/data:ro" -v "$work/a/all_scores.txt:/app/all_scores.txt")
check "two clips are scored into the mounted file" ends 0 "$work/first.log" run "${mounts[@]}" "$plain"
check "it says which model scores, and the averages" says "$work/first.log" "model=mini" "avg. LSE-D~: " "(n=2)"
check "a row for each clip" lines "$work/a/all_scores.txt" 2 '^[0-9.]* [0-9.]* .*protocol=wav2lip model=mini'
check "PSNR and SSIM where there is a reference" lines "$work/a/all_scores.txt" 1 \
    '^[0-9.]* [0-9.]* [0-9.]* 0\.[0-9]*  # 10_woman_doctor '
cp "$work/a/all_scores.txt" "$work/a/first.txt"
check "again, as another user on a read-only root" ends 0 "$work/second.log" \
    run --read-only --user 4321:4321 "${mounts[@]}" "$plain"
check "the first run's rows are there still" cmp "$work/a/first.txt" <(head -n 2 "$work/a/all_scores.txt")
check "the second run's are appended" lines "$work/a/all_scores.txt" 4 '^[0-9]'

say "shards, as Apptainer runs them: another user, a read-only root, a folder of the user's own"
mkdir -p "$work/a/out"
chmod 777 "$work/a/out"
apptainer_like=(--read-only --user 4321:4321 -v "$work/a:$work/a" -w "$work/a/out")
for shard in 1 2; do
    check "shard $shard/2" ends 0 "$work/shard.log" run "${apptainer_like[@]}" \
        "$plain" score ../data --shard "$shard/2" --out "$shard" --scores-file "$shard/all_scores.txt"
done
check "merged" ends 0 "$work/merge.log" run "${apptainer_like[@]}" "$plain" merge 1 2 --out all
check "the merged rows are those of one run" cmp <(sed 's/ folder=.*//' "$work/a/first.txt" | sort) <(sed 's/ folder=.*//' "$work/a/out/all/all_scores.txt" | sort)

say "the older container's mount points, and SIGTERM"
inputs "$work/b"
# Videos are scored side by side: the second is long, so that it is still being scored when the first one's row is there.
# shellcheck disable=SC2016
check "a long clip is made" in_image "$plain" \
    '"$(python -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")" -v error -stream_loop 11 -i /in.mp4 -c copy /out/4_man_reading.mp4' \
    -v "$talking/4_man_reading.mp4:/in.mp4:ro" -v "$work:/out"
mv "$work/4_man_reading.mp4" "$work/b/data/"
mounts=(-v "$work/b/data:/syncnet_python/eval/data" -v "$work/b/tmp:/syncnet_python/tmp"
    -v "$work/b/all_scores.txt:/syncnet_python/all_scores.txt")
podman run --name terminated --no-healthcheck --network none "${mounts[@]}" "$plain" >"$work/term.log" 2>&1 &
check "a first row is there before the end" await 180 grep -q '^[0-9]' "$work/b/all_scores.txt"
started=$(date +%s%N)
podman kill --signal TERM terminated >/dev/null
wait $!
status=$?
took=$((($(date +%s%N) - started) / 1000000))
check "SIGTERM ends it as such ($status)" [ "$status" -eq 143 ]
check "within two seconds ($took ms)" [ "$took" -le 2000 ]
check "what was scored is kept" lines "$work/b/tmp/scores.jsonl" 1 '"status": "ok"'
check "run.json says that it was interrupted" json "$work/b/tmp/run.json" "records['interrupted'] is True"
check "the same command goes on" ends 0 "$work/resumed.log" run "${mounts[@]}" "$plain"
check "what was scored is not scored again" says "$work/resumed.log" "scored before"
check "no row twice" lines "$work/b/all_scores.txt" 2 '^[0-9]'
# shellcheck disable=SC2016
printf '%s\n' 'cd /syncnet_python || exit' 'echo "from $PWD: $(ls eval/data)"' 'sleep 60 & wait' >"$work/b/run_commands.sh"
podman run --name mounted --no-healthcheck --network none "${mounts[@]}" \
    -v "$work/b/run_commands.sh:/syncnet_python/run_commands.sh:ro" "$plain" >"$work/mounted.log" 2>&1 &
check "a run_commands.sh mounted over runs" await 30 grep -q "from /syncnet_python: 10_woman_doctor" "$work/mounted.log"
started=$(date +%s%N)
podman kill --signal TERM mounted >/dev/null
wait $!
took=$((($(date +%s%N) - started) / 1000000))
check "SIGTERM ends that too, without a trap ($took ms)" [ "$took" -le 2000 ]

say "wrong mounts"
inputs "$work/c"
mkdir -p "$work/c/empty" "$work/c/private" "$work/c/results" "$work/c/directory"
cp "$talking/10_woman_doctor.mp4" "$work/c/private/"
chmod 700 "$work/c/private"
data=(-v "$work/c/data:/app/eval/data")
scores=(-v "$work/c/all_scores.txt:/app/all_scores.txt")
check "all_scores.txt is a directory" refuses 3 "all_scores.txt is a directory" \
    run "${data[@]}" -v "$work/c/directory:/app/all_scores.txt" "$plain"
check "all_scores.txt is a directory, with arguments" refuses 3 "all_scores.txt is a directory" \
    run -v "$work/c/directory:/app/all_scores.txt" "$plain" score eval/data
check "all_scores.txt is mounted read-only" refuses 3 "all_scores.txt is not writable" \
    run "${data[@]}" -v "$work/c/all_scores.txt:/app/all_scores.txt:ro" "$plain"
chmod 644 "$work/c/all_scores.txt"
check "all_scores.txt is root's" refuses 3 "all_scores.txt is not writable for user 4321 (owner 0, mode 644)" \
    run --user 4321:4321 "${data[@]}" "${scores[@]}" "$plain"
check "all_scores.txt is not there" refuses 3 "touch all_scores.txt" run --user 4321:4321 "${data[@]}" "$plain"
check "all_scores.txt is not there, read-only" refuses 3 "touch all_scores.txt" run --read-only "${data[@]}" "$plain"
check "no eval/data" refuses 3 "eval/data is empty" run "${scores[@]}" "$plain"
check "eval/data is empty" refuses 3 "eval/data is empty" \
    run -v "$work/c/empty:/app/eval/data" "${scores[@]}" "$plain"
chmod 666 "$work/c/all_scores.txt"
check "eval/data is another user's" refuses 3 "eval/data is not readable for user 4321" \
    run --user 4321:4321 -v "$work/c/private:/app/eval/data" "${scores[@]}" "$plain"
check "eval/results is another user's" refuses 3 "eval/results is not writable for user 4321" \
    run --user 4321:4321 "${data[@]}" "${scores[@]}" -v "$work/c/results:/app/eval/results" "$plain"
check "no temporary folder" refuses 3 "add --tmpfs /tmp" \
    run --read-only --read-only-tmpfs=false "${data[@]}" "${scores[@]}" "$plain"
check "wrong usage ends with 2" ends 2 "$work/usage.log" run "$plain" score --no-such-option
rm -r "$work/c/data"
mkdir "$work/c/data"
echo "no video" >"$work/c/data/broken.mp4"
check "a video that cannot be scored ends with 1" ends 1 "$work/broken.log" run "${data[@]}" "${scores[@]}" "$plain"
check "it is named in all_scores.txt" lines "$work/c/all_scores.txt" 1 '^# broken media_error '

say "weights in the build context"
cp "$shared/conformance/kit_weights.py" "$work/"
check "the kit's weights are made" in_image "$plain" 'python /in/kit_weights.py /out' \
    -v "$shared/conformance:/in:ro" -v "$context/weights:/out"
check "weights that are not the published ones are refused" refuses 3 "weights/syncnet_v2.model is not the published syncnet_v2.model" \
    build "$weighted"
check "they are baked in with ALLOW_UNVERIFIED" ends 0 "$work/weighted.log" \
    build "$weighted" --build-arg ALLOW_UNVERIFIED=1
check "the log says so" lines "$work/weighted.log" 2 "from weights/ of the build context.*NOT VERIFIED"
check "nothing else was built again" uses_cache "$work/weighted.log" "-r requirements.txt"
printf '\n# a change in the code\n' >>"$context/eval/__init__.py"
check "a change in the code" ends 0 "$work/changed.log" build "$weighted" --build-arg ALLOW_UNVERIFIED=1
check "installs no package again" uses_cache "$work/changed.log" "-r requirements.txt"
check "bakes no weights again" uses_cache "$work/changed.log" "bake_weights.py"
check "the weights are there, and not the published ones" refuses 3 "is not the published file" \
    run "$weighted" weights verify
check "they do not score unasked" refuses 3 "--allow-unverified" \
    run -v "$shared/clips/real:/in:ro" "$weighted" score /in/example.avi --protocol wav2lip-lrs
mkdir -p "$work/d/data" "$work/d/results"
touch "$work/d/all_scores.txt"
cp "$talking/10_woman_doctor.mp4" "$work/d/data/"
check "they score where that was allowed" ends 0 "$work/kit.log" run -v "$work/d/data:/app/eval/data" \
    -v "$work/d/results:/app/eval/results" -v "$shared/conformance/detections/avi:/boxes:ro" \
    "$weighted" score eval/data --allow-unverified --detections /boxes
check "it says so" says "$work/kit.log" "ALLOW_UNVERIFIED" "weights not verified"
check "the record says so" json "$work/d/results/scores.jsonl" \
    "records[0]['model'] == 'vgg' and not records[0]['comparable'] and 'weights not verified' in str(records[0]['notes'])"
check "run.json says so" json "$work/d/results/run.json" "not any(file['verified'] for file in records['weights'])"
check "its numbers are the kit's" python3 - "$shared" "$work/d/results/scores.jsonl" <<'END'
import json, sys
golden = json.load(open(f"{sys.argv[1]}/conformance/golden.json"))["clips"]["closeup_doctor"]["wav2lip"]["tracks"][0]
track = json.loads(open(sys.argv[2]).readline())["tracks"][0]
assert track["offset"] == golden["offset"], (track["offset"], golden["offset"])
assert abs(track["lse_d"] - golden["lse_d"]) < 0.02, (track["lse_d"], golden["lse_d"])
END

say "sizes"
podman history "$weighted" --no-trunc --format '{{.Size}}  {{.CreatedBy}}' | grep -v '^0 B' | cut -c 1-110
podman images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep localhost/lipscore
