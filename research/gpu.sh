#!/usr/bin/env bash
# Train F of `fast` on, with the noise, JPEG and clipping of cameras, and say whether it may be embedded.
#
#   research/gpu.sh DATA OUT               one graphics card, about 12 minutes (8 of them training)
#   SMOKE=1 research/gpu.sh DATA OUT       the same on a CPU, minutes, most of them for the tables: no verdict on the weights
#
# DATA holds photos, urban, reds_train, reds_val, gopro_avg_train, gopro_crops_train and gopro240.mp4. The machine needs the
# extra `train` and scikit-image, and build/sets (`make sets`). OUT gets before/, f/, model/, the tables, verdict.txt.
# Fixed before any run: from the embedded F, a third of the pairs photographed, a fifth with white noise up to 0.06; the
# end is judged, once, by research/noise_rule.py.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$1 out=$2 python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD/src
golf="$python -m golfdeblur"

most=9 minutes=9
length=(--set steps=18000 --set warmup_steps=300 --set validate_every=6000 --set log_every=100 --set compiled=true
  --set mixture.batch=16 --set mixture.patch_px=384 --set mixture.block_px=416 --set mixture.block_pairs=192
  --set mixture.steps_per_block=96 --set mixture.blocks_kept=12 --set mixture.streams=1)
if [ -n "${SMOKE:-}" ]; then
  most=1 minutes=1
  length=(--set steps=2 --set warmup_steps=1 --set validate_every=2 --set log_every=1
    --set mixture.batch=2 --set mixture.patch_px=64 --set mixture.block_px=64 --set mixture.block_pairs=4
    --set mixture.streams=1)
fi

pairs=(--data photos="$data/photos" --data urban="$data/urban" --data reds-sharp="$data/reds_train"
  --data reds="$data/reds_train" --data gopro-video="$data/gopro240.mp4" --data gopro-sharp="$data/gopro_avg_train")
$python research/scripts/shaken_pairs.py "$data" build/shaken
judged=(--validation reds_val="$data/reds_val" --validation gopro_avg="$data/gopro_avg_train"
  --validation gopro_crops="$data/gopro_crops_train" --validation shaken=build/shaken)
if [ -n "${SMOKE:-}" ]; then judged=(--validation reds_val="$data/reds_val"); fi
start=(recipes/fast-f.toml --initial src/golfdeblur/weights/fast/F.onnx "${pairs[@]}" "${judged[@]}")

# One step of next to no length: what the embedded F has on the same validation.
$golf train run "${start[@]}" "${length[@]}" --set compiled=false --set steps=1 --set validate_every=1 --set warmup_steps=0 \
  --set ema=0.0 --set lr=1e-12 --set lr_end=1e-12 --out "$out/before"
$golf train run "${start[@]}" "${length[@]}" --set lr=3e-4 --set seed=120 --set blur.defocused=0.02 \
  --set blur.photographed=0.33 --set blur.noisy=0.2 --set blur.noisy_sigma=0.06 --max-minutes "$minutes" --out "$out/f"
$golf export "$out/f/F.safetensors" -o "$out/model" --name fast-noise --force
$python research/noise.py "$data" build/sets --most "$most" --out "$out/noise-before"
$python research/noise.py "$data" build/sets --most "$most" --model "$out/model" --out "$out/noise-after"
$python research/noise_rule.py "$out" | tee "$out/verdict.txt"
