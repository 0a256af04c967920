#!/usr/bin/env bash
# The whole path on real CT: scans, store, pre-training, two fine-tunings, prediction, evaluation, one page.
# What is there already is reused; what was stopped goes on.
set -euo pipefail

folder=${1:?name the folder of the demo}
mim3d=${BIN:+$BIN/}mim3d
structures="aorta,autochthon_left,autochthon_right"
note="One patient's chest, cut into three blocks along the body: the lowest teaches, the middle one chooses the
best step, the top one is the test; pre-training saw the first block, two lung scans, a spine and, where
it could be fetched, a head, but never the test block.

That shows that every part of the path works on real scans. It does not show that anything generalises: the
test block belongs to the patient who taught, and one run of each kind tells nothing about chance. Differences
between the two fine-tuned runs here are not evidence for or against pre-training."

step() { printf '\n== %s\n' "$1" >&2; shift; printf '   %s\n' "mim3d $*" >&2; "$mim3d" "$@"; }

started=$SECONDS
step "1/9 fetch real CT (90 MB, once)" samples "$folder/raw"
step "2/9 prepare: one store at 3 mm" prepare "$folder/raw" "$folder/store" --spacing 3
step "3/9 pre-train without labels" pretrain "$folder/store" "$folder/pretrain" \
  --preset tiny --steps 60 --optimisation.warmup-steps 10 --resume
for kind in mim scratch; do
  init=$folder/pretrain
  number=4
  if [ $kind = scratch ]; then init=none number=5; fi
  step "$number/9 fine-tune from $kind" finetune segmentation "$folder/store" "$folder/finetune-$kind" \
    --init "$init" --preset tiny --labels organs --structures "$structures" \
    --crop 64 64 16 --optimisation.lr 4e-3 --steps 200 --validate-every 50 --resume
done
for kind in mim scratch; do
  out=$folder/predictions/$kind/chest-test.nii.gz
  mkdir -p "$(dirname "$out")"
  number=6
  if [ $kind = scratch ]; then number=7; fi
  if [ "$out" -nt "$folder/finetune-$kind/weights.safetensors" ]; then
    printf '\n== %s/9 predict the test block, %s: there already\n' "$number" "$kind" >&2
  else
    step "$number/9 predict the test block, $kind" predict "$folder/finetune-$kind" \
      "$folder/raw/chest/chest-test.nii.gz" "$out" --overwrite
  fi
done
for kind in mim scratch; do
  step "8/9 evaluate, $kind" evaluate \
    "$folder/predictions/$kind/chest-test.nii.gz" "$folder/raw/chest/chest-test-organs.nii.gz" \
    --truth-labels "$folder/raw/label_sets.json:organs" --out "$folder/finetune-$kind/evaluation.json"
done
printf '\n== 9/9 report\n' >&2
report=$("$mim3d" report "$folder/pretrain" "$folder/finetune-mim" "$folder/finetune-scratch" \
  --out "$folder/report.html" --note "$note")
printf '\n%s\n' "$note" >&2
printf '\nDone in %d min %02d s. Open this page:\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)) >&2
echo "$report"
