#!/usr/bin/env bash
# From GSM8K to a trained Qwen, with PRESET=errata or PRESET=paper. See README.md beside this file.
# MODEL, TRAIN and TEST may name a registered model and files or hub datasets of your own.
set -euo pipefail
PRESET=${PRESET:-errata}
MODEL=${MODEL:-qwen}
TRAIN=${TRAIN:-hub:openai/gsm8k}
TEST=${TEST:-hub:openai/gsm8k}
PAIRS=${PAIRS:-5000}

hub_split() { case $1 in hub:*) echo "--config main --split $2" ;; esac; }

train_set=$(errata problems upload "$TRAIN" $(hub_split "$TRAIN" train) --name "$PRESET-train")
test_set=$(errata problems upload "$TEST" $(hub_split "$TEST" test) --name "$PRESET-test")
errata estimate "$train_set" --model "$MODEL" --preset "$PRESET"
job=$(errata inject "$train_set" --model "$MODEL" --preset "$PRESET" --stop-pairs "$PAIRS" --watch)
dataset=$(errata datasets create "gsm8k-$PRESET" "$job" --watch)
errata train "$dataset" --base "$MODEL" --output "$MODEL-$PRESET" --preset "$PRESET" --preview
errata train "$dataset" --base "$MODEL" --output "$MODEL-$PRESET" --preset "$PRESET" --watch
before=$(errata eval "$test_set" --model "$MODEL" --watch)
after=$(errata eval "$test_set" --model "$MODEL-$PRESET" --watch)
errata compare "$before" "$after"
errata models download "$MODEL-$PRESET"
