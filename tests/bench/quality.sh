#!/usr/bin/env bash
# Does FusionLLM learn as well as a plain PyTorch loop? Trains the same small
# GPT on the same text with both, one after the other, and compares the losses
# on the last tenth of the text: they must be within 1% and below 1.9 nats.
#
#   tests/bench/quality.sh TEXT [FOLDER]
#
# TEXT is a text file, such as tinyshakespeare; FOLDER gets the results
# (default: a temporary one). It takes about half an hour.
#
#   PYTHON     a Python 3 with PyTorch 1.12 or later   (python3)
#   FUSIONLLM  the program                             (build/release/bin)
#   RANKS      of FusionLLM                            (1)
#   STEPS      of both, for a quick look               (2000)
#   SEED       of both, which draw other numbers of it (1)
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n 's/^# \{0,1\}//; 2,15p' "$0" >&2
    exit 2
fi
text=$(realpath "$1")
folder=${2:-$(mktemp -d "${TMPDIR:-/tmp}/fusionllm-quality.XXXXXX")}
mkdir -p "$folder"
folder=$(realpath "$folder")

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
# shellcheck source=jobs/common.sh
source "$root/jobs/common.sh"
python=${PYTHON:-python3}
fusionllm=${FUSIONLLM:-$root/build/release/bin/fusionllm}
steps=${STEPS:-2000}
seed=${SEED:-1}

# A twentieth of the steps warms up, as 100 of 2000 do.
warmup=$((steps / 20))
every=$((steps / 8))

# One thread on both sides; neither library asks the other's settings.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

echo "PyTorch ($(date +%T))"
run_group "$python" -u "$here/pytorch_gpt.py" "$text" --steps "$steps" \
    --warmup-steps "$warmup" --evaluate-every "$every" \
    --seed "$seed" --csv "$folder/pytorch.csv"

echo "FusionLLM ($(date +%T))"
run_group mpirun -np "${RANKS:-1}" --oversubscribe --bind-to none \
    "$fusionllm" "$here/quality.toml" \
    --set "data.path=\"$text\"" --set "run.output=\"$folder/fusionllm\"" \
    --set "train.steps=$steps" --set "train.warmup_steps=$warmup" \
    --set "train.evaluate_every=$every" --set "run.seed=$seed"

"$python" "$here/compare_quality.py" \
    "$folder/pytorch.csv" "$folder/fusionllm/metrics.jsonl"
