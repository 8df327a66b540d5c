#!/usr/bin/env bash
# Times the pipeline (bench_pipeline) and prints three figures:
#
#   - a step on 1 rank over a step of a bare LibTorch loop (at most 1.05),
#   - a step on 1 rank over a step on 2 ranks (at least 1.7; ideal 1.88),
#   - how much of a step each rank waits.
#
#   tests/bench/pipeline.sh [FOLDER] [options of bench_pipeline]
#
# Runs of 1 and 2 ranks alternate, one thread a rank, so that a machine whose
# speed drifts does not favour one of them. FOLDER gets what was printed and
# all figures as CSV (default: a temporary one). Nothing else should run: each
# round says how many cores other programs used meanwhile.
#
#   PROGRAM   bench_pipeline             (build/release/bin)
#   ROUNDS    of 1 and 2 ranks, in turn  (5)
set -euo pipefail

folder=${1:-$(mktemp -d "${TMPDIR:-/tmp}/fusionllm-pipeline.XXXXXX")}
shift || true
mkdir -p "$folder"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=jobs/common.sh
source "$root/jobs/common.sh"
program=${PROGRAM:-$root/build/release/bin/bench_pipeline}
rounds=${ROUNDS:-5}

# Quartiles of the numbers on stdin: "median (low to high, n)".
spread() {
    sort -g | awk '
        { x[NR] = $1 }
        function quantile(q,   p, i) {
            p = 1 + q * (NR - 1); i = int(p)
            return x[i] + (p - i) * (x[i < NR ? i + 1 : NR] - x[i])
        }
        END {
            printf "%.4f (quartiles %.4f to %.4f, %d rounds)\n",
                quantile(0.5), quantile(0.25), quantile(0.75), NR
        }'
}

# Median seconds of a step, of the counted steps of one run.
median_step() {
    awk -F, '$3 == "step" { print $4 }' "$1" | spread | cut -d' ' -f1
}

# Seconds of processor time: of the machine, and of what this script ran.
machine_s() {
    awk -v hz="$(getconf CLK_TCK)" '
        /^cpu / { print ($2 + $3 + $4 + $7 + $8) / hz }' /proc/stat
}
own_s() {
    times >"$folder/times.txt"
    awk -F '[ms ]+' 'NR == 2 { print 60 * ($1 + $3) + $2 + $4 }' \
        "$folder/times.txt"
}

run_ranks() {
    local ranks=$1 csv=$2
    shift 2
    rm -f "$csv"
    run_group mpirun -np "$ranks" --oversubscribe --bind-to none \
        "$program" --csv "$csv" "$@" >>"$folder/log.txt"
}

: >"$folder/log.txt"
: >"$folder/speed-up.txt"
run_ranks 1 "$folder/bare.csv" --bare "$@"
grep -A 20 '^1 ranks' "$folder/log.txt"
for ((round = 1; round <= rounds; ++round)); do
    machine=$(machine_s)
    own_s >"$folder/own.txt"
    begin=$EPOCHREALTIME
    run_ranks 1 "$folder/1-$round.csv" "$@"
    run_ranks 2 "$folder/2-$round.csv" "$@"
    own_s >>"$folder/own.txt"
    others=$(awk -v machine="$machine" -v now="$(machine_s)" \
        -v begin="$begin" -v end="$EPOCHREALTIME" '
        { own[NR] = $1 }
        END {
            printf "%.2f",
                (now - machine - own[2] + own[1]) / (end - begin)
        }' "$folder/own.txt")
    one=$(median_step "$folder/1-$round.csv")
    two=$(median_step "$folder/2-$round.csv")
    awk -v one="$one" -v two="$two" 'BEGIN { printf "%.4f\n", one / two }' |
        tee -a "$folder/speed-up.txt" |
        sed "s/^/round $round: $one s on 1 rank, $two s on 2 ranks: /
             s/$/ (others used $others cores)/"
done
for ranks in 1 2; do
    printf 'step on %s rank(s), s: ' "$ranks"
    for ((round = 1; round <= rounds; ++round)); do
        median_step "$folder/$ranks-$round.csv"
    done | spread
done
printf 'speed-up of 2 ranks over 1: '
spread <"$folder/speed-up.txt"
for rank in 0 1; do
    printf 'share of a step that rank %s of 2 waits: ' "$rank"
    for ((round = 1; round <= rounds; ++round)); do
        awk -F, -v rank="$rank" '
            $3 == "step" { step += $4; ++steps }
            $2 == rank && ($3 == "bubble" || $3 == "synchronise") { wait += $4 }
            END { print wait / (step / steps) }' "$folder/2-$round.csv"
    done | spread
done
