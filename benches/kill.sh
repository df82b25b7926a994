#!/usr/bin/env bash
# Kills a run with SIGKILL at random moments, resumes it each time, and compares the final student with that of a run
# that was never killed. A checkpoint is written at every step, so most kills land inside a write.
#
#   benches/kill.sh [KILLS] [LIMBECK]        default: 20 kills, target/release/limbeck
#
# Exit code 0 if the two students are the same bits.
set -euo pipefail

kills=${1:-20}
limbeck=$(realpath "${2:-$(dirname "$0")/../target/release/limbeck}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat > recipe.toml <<'RECIPE'
[data]
path = "digits"
augment = ["shift"]

[teacher]
arch = "mlp-64"

[student]
arch = "mlp-16"

[method]
name = "soft-targets"
temperature = 4.0

[train]
epochs = 12
batch = 32
average = 0.99
checkpoint_every = 1
RECIPE

options=(run recipe.toml --quiet --set baseline=false)
"$limbeck" "${options[@]}" --out unbroken > /dev/null

done_kills=0
in_writes=0
finished_early=0
while [ "$done_kills" -lt "$kills" ]; do
    resume=()
    [ -d killed ] && resume=(--resume)
    "$limbeck" "${options[@]}" --out killed "${resume[@]}" > /dev/null 2> error.txt &
    process=$!
    sleep "$(awk -v seed="$RANDOM" 'BEGIN { srand(seed); printf "%.3f", 0.05 + rand() * 0.75 }')"
    if kill -KILL "$process" 2> /dev/null; then
        wait "$process" 2> /dev/null || true
        done_kills=$((done_kills + 1))
        if find killed -name '.tmp*' 2> /dev/null | grep -q .; then
            in_writes=$((in_writes + 1))
        fi
        steps=$(cat killed/log.jsonl killed/teacher/log.jsonl 2> /dev/null | grep -c '"kind":"step"' || true)
        echo "kill $done_kills: $steps steps logged so far"
    else
        wait "$process"
        finished_early=$((finished_early + 1))
        echo "the run ended before kill $((done_kills + 1)); starting another"
        cmp unbroken/student.safetensors killed/student.safetensors
        rm -rf killed
    fi
done
"$limbeck" "${options[@]}" --out killed --resume > /dev/null

cmp unbroken/student.safetensors killed/student.safetensors
cmp unbroken/teacher/student.safetensors killed/teacher/student.safetensors
echo "$done_kills kills, $in_writes of them inside a write: the student has the same bits ($(sha256sum < killed/student.safetensors | cut -c1-16))"
