#!/bin/sh
# A trial in plain shell, for command-sh.yaml: gradient descent on x^2, which goes on where it was stopped.
# Usage: command.sh LR. Everything else comes from the environment; see docs/command.md.
set -eu
lr=$1
steps=20

say() {
    printf '%s\n' "$1" >"$TUNER_REPORT_FILE"
}

save() { # a folder of its own for each checkpoint: once announced it is taken away
    folder=$TUNER_SCRATCH/checkpoint-$step
    mkdir "$folder"
    echo "$x" >"$folder/x"
    say "{\"checkpoint\": {\"step\": $step, \"path\": \"$folder\"}}"
}

x=1.0
if [ -n "${TUNER_RESUME_PATH:-}" ]; then
    x=$(cat "$TUNER_RESUME_PATH/x")
    echo "going on from step $TUNER_START_STEP with x = $x"
fi
step=$TUNER_START_STEP
while [ "$step" -lt "$steps" ]; do
    x=$(awk "BEGIN { printf \"%.17g\", $x - $lr * 2 * $x }")
    loss=$(awk "BEGIN { printf \"%.17g\", $x * $x }")
    say "{\"report\": {\"step\": $step, \"values\": {\"loss\": $loss}}}"
    if [ -e "$TUNER_VERDICT_FILE" ]; then # prune, pause or stop
        echo "told to $(cat "$TUNER_VERDICT_FILE")"
        save
        exit 0
    fi
    [ $((step % 5)) -ne 4 ] || save
    step=$((step + 1))
done
say "{\"user_attrs\": {\"x\": $x}}"
say "{\"tell\": {\"loss\": $loss}}"
