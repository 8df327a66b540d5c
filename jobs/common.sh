# shellcheck shell=bash
# Sourced by quickstart.sh, tests/run.sh and .ci/run.

# Open MPI refuses to run as root (in a container, say) without these.
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# A file that includes LibTorch takes 1.1 GB to compile.
build_jobs() {
    local cores by_memory
    cores=$(nproc)
    by_memory=$(awk '/^MemAvailable/ { print int($2 / 1500000) }' /proc/meminfo)
    if [ "$by_memory" -lt 1 ]; then
        by_memory=1
    fi
    echo $((cores < by_memory ? cores : by_memory))
}

# Let Open MPI's ranks end a step and write a checkpoint when mpirun is told to
# end: it waits so many seconds before it tells them, and again before it kills
# them. A run that fails takes as long to end, so no test asks for this; with
# more than 4, mpirun may take over 10 s to end after a rank has died.
give_time_to_stop() {
    export OMPI_MCA_odls_base_sigkill_timeout
    : "${OMPI_MCA_odls_base_sigkill_timeout:=4}"
}

# An OpenBLAS that is older than the processor computes as for one of 2004,
# several times slower than it could (docs/how-to/cluster.md).
choose_blas_kernel() { # PROGRAM
    if [ -n "${OPENBLAS_CORETYPE:-}" ] ||
        ! "$1" --version 2>/dev/null | grep -q '(Prescott)'; then
        return 0
    fi
    if grep -qw avx512dq /proc/cpuinfo; then
        export OPENBLAS_CORETYPE=SKYLAKEX
    elif grep -qw avx2 /proc/cpuinfo; then
        export OPENBLAS_CORETYPE=HASWELL
    fi
}

group=

# Run a command in a process group of its own, without a terminal, so that a
# signal to this script (Ctrl-C, a cancelled job) ends all that it started.
run_group() {
    local status=0
    set -m
    "$@" </dev/null &
    group=$!
    set +m
    wait "$group" || status=$?
    group=
    return "$status"
}

# mpirun ends its ranks when it is told to end, which takes a moment.
end_group() {
    local tries
    if [ -z "$group" ]; then
        return 0
    fi
    kill -TERM -- "-$group" 2>/dev/null || true
    for ((tries = 0; tries < 150; ++tries)); do
        kill -0 -- "-$group" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$group" 2>/dev/null || true
}

trap 'end_group; exit 129' HUP
trap 'end_group; exit 130' INT
trap 'end_group; exit 143' TERM
