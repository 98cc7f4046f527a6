#!/usr/bin/env bash
# A timeline of Nsight Systems of a profiled model, with the parts of a forward as NVTX ranges.
#
#   bench/nsight_profile.sh MODEL_FOLDER OUTPUT_FOLDER [RULE ...]       RULE: topk:k=N
#
# Needs nsys and a GPU. It has not been run on one yet: no machine of the project had both.
set -euo pipefail
if [ "$#" -lt 2 ]; then
    echo "usage: $0 MODEL_FOLDER OUTPUT_FOLDER [RULE ...]" >&2
    exit 2
fi
command -v nsys >/dev/null || { echo "nsight_profile: nsys is not on PATH; install Nsight Systems" >&2; exit 2; }
model=$1 output=$2
shift 2
rules=()
for rule in "$@"; do rules+=(--rule "$rule"); done
mkdir -p "$output"
nsys profile --trace=cuda,nvtx,osrt,cublas --force-overwrite=true --output="$output/timeline" \
    python -m bench.nvtx --model "$model" "${rules[@]}"
nsys stats --report cuda_gpu_kern_sum,nvtx_sum "$output/timeline.nsys-rep" | tee "$output/summary.txt"
