#!/usr/bin/env bash
# Build the release preset with its tests and run them all. Ends with ctest's
# summary; the exit status is not zero if anything failed.
#
#   tests/run.sh [ctest options, e.g. -R plan]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
# shellcheck source=jobs/common.sh
source jobs/common.sh

run_group bash jobs/setup.sh
run_group cmake --preset release -DFUSIONLLM_TESTS=ON
run_group cmake --build --preset release -j "$(build_jobs)"

choose_blas_kernel build/release/bin/fusionllm

# What a test or MPI leaves behind when it is stopped goes with this folder.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/fusionllm-tests.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

TMPDIR=$scratch run_group ctest --test-dir build/release \
    --output-on-failure --no-tests=error -j "$(nproc)" "$@"
