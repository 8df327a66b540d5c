#!/usr/bin/env bash
# From a fresh clone to a trained model, in a few minutes: build FusionLLM,
# train inputs/quickstart.toml as a pipeline of four ranks on this machine,
# and let the trained model write.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
# shellcheck source=jobs/common.sh
source jobs/common.sh

program=build/release/bin/fusionllm
output=runs/quickstart

title() {
    printf '\n== %s\n' "$*"
}

# The folder of the checkpoint with the highest step.
last_checkpoint() {
    find "$output/checkpoints" -mindepth 1 -maxdepth 1 -name 'step-*' |
        sort -V | tail -n 1
}

title "Set-up"
run_group bash jobs/setup.sh

title "Build"
run_group cmake --preset release
run_group cmake --build --preset release --target fusionllm -j "$(build_jobs)"

# Four ranks also where there are fewer cores; other MPIs do so by default.
mpi_options=(-np 4)
if mpirun --version | grep -qE 'Open MPI|OpenRTE'; then
    mpi_options+=(--oversubscribe --bind-to none)
fi

give_time_to_stop
choose_blas_kernel "$program"

title "Train: mpirun ${mpi_options[*]} $program inputs/quickstart.toml"
run_group mpirun "${mpi_options[@]}" "$program" inputs/quickstart.toml \
    --overwrite

title "Generate"
checkpoint=$(last_checkpoint)
run_group "$program" generate "$checkpoint" --prompt "The " --tokens 200 \
    --temperature 0.8 --seed 1

title "Done"
cat <<END
The run is in $output: input.toml, plan.txt, metrics.jsonl, checkpoints.
Next, train on your own text: docs/how-to/own-text.md
END
