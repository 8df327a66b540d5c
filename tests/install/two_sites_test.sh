#!/usr/bin/env bash
# jobs/two-sites.sh takes hosts with other processors and libraries, refuses
# those with another FusionLLM or MPI, and gives all ranks the same BLAS kernel.
# The hosts, mpirun and the program are made up.
set -euo pipefail

script=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/fusionllm-two-sites.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"

cat >"$work/bin/fusionllm" <<'END'
#!/usr/bin/env bash
echo "FusionLLM  ${FUSIONLLM_IS:-0.1.0}"
echo "LibTorch   ${LIBTORCH_IS:-1.13.0}"
echo "BLAS       OpenBLAS 0.3.21 (${OPENBLAS_CORETYPE:-Prescott})"
echo "MPI        ${MPI_IS:-Open MPI v4.1.4}"
echo "UCX        ${UCX_IS:-1.13.1}"
END
# In place of ssh: a host does not get the variables of the caller.
cat >"$work/bin/rsh" <<'END'
#!/usr/bin/env bash
host=$1
shift
exec env -i PATH="$PATH" bash -c ". '$HOSTS/$host' && $*"
END
cat >"$work/bin/mpirun" <<'END'
#!/usr/bin/env bash
echo "mpirun: $*"
END
chmod +x "$work"/bin/*
mkdir "$work/hosts"
touch "$work/hosts/lyon"

run_script() {
    env -u FUSIONLLM_NETWORK -u FUSIONLLM_PORTS -u FUSIONLLM_PML \
        -u FUSIONLLM_PROGRAM -u OPENBLAS_CORETYPE \
        ${KERNEL:+OPENBLAS_CORETYPE=$KERNEL} PATH="$work/bin:$PATH" \
        HOSTS="$work/hosts" FUSIONLLM_RSH=rsh FUSIONLLM_HOSTS="lyon:1 osaka:1" \
        bash "$script" in.toml >"$work/log" 2>&1
}

# What osaka has, the status and a line of the log.
expect() {
    local want_status=$2 want_text=$3 status=0
    echo "export $1" >"$work/hosts/osaka"
    run_script || status=$?
    if [ "$status" -ne "$want_status" ] ||
        ! grep -qE -e "$want_text" "$work/log"; then
        echo "FAILED: status $status, not $want_status, or no" \
            "'$want_text' in:" >&2
        cat "$work/log" >&2
        exit 1
    fi
}

started="^mpirun: -np 2 .* fusionllm in.toml"
expect "OPENBLAS_CORETYPE=Cooperlake" 0 "$started"
expect "LIBTORCH_IS=2.9.1 UCX_IS='not found'" 0 "$started"
if grep -q OPENBLAS_CORETYPE "$work/log"; then
    echo "FAILED: a kernel that nobody asked for" >&2
    exit 1
fi
KERNEL=SKYLAKEX expect "UCX_IS=1.13.1" 0 \
    "^mpirun: .* -x OPENBLAS_CORETYPE=SKYLAKEX .*fusionllm in.toml"

expect "FUSIONLLM_IS=0.2.0" 2 \
    "osaka has 'FusionLLM 0.2.0, MPI Open MPI v4.1.4', and this host"
expect "MPI_IS='MPICH 4.0'" 2 "osaka has 'FusionLLM 0.1.0, MPI MPICH 4.0'"
