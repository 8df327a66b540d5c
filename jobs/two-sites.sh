#!/usr/bin/env bash
# Train on several sites that reach each other by ssh and TCP:
#
#   FUSIONLLM_HOSTS="node1.lyon.example:2 node1.osaka.example:2" \
#       jobs/two-sites.sh INPUT.toml [fusionllm options]
#
# Start it on the first host, from a shared or local folder; the input is read
# there only. The variables:
#
#   FUSIONLLM_HOSTS      HOST:RANKS ..., in the order of the sites
#   FUSIONLLM_NETWORK    what joins the sites: a network such as 10.8.0.0/24, or
#                        an interface such as wg0 that all hosts call the same.
#                        Not set: MPI takes all networks that it finds
#   FUSIONLLM_PORTS      FIRST-LAST, which the firewalls let through between
#                        all hosts (20000-20999); of ob1 only
#   FUSIONLLM_PML        ob1 (if not set) or ucx, MPI's way to send messages
#   FUSIONLLM_RSH        starts a command on a host, as "ssh HOST COMMAND" does
#   FUSIONLLM_PROGRAM    path of the program on all hosts (fusionllm)
#   OPENBLAS_CORETYPE    if set, the ranks on all hosts get it too
#
# docs/how-to/two-sites.md says more.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=jobs/common.sh
source "$root/jobs/common.sh"

hosts=${FUSIONLLM_HOSTS:-}
network=${FUSIONLLM_NETWORK:-}
ports=${FUSIONLLM_PORTS:-20000-20999}
pml=${FUSIONLLM_PML:-ob1}
rsh=${FUSIONLLM_RSH:-ssh -o BatchMode=yes -o ConnectTimeout=10}
program=${FUSIONLLM_PROGRAM:-fusionllm}

fail() {
    printf 'two-sites: %s\n' "$*" >&2
    exit 2
}

# What must be equal on all hosts, of what --version says. The others may
# differ: the ranks themselves compare how they write messages, and operators.
common_versions() {
    awk '$1 == "FusionLLM" || $1 == "MPI" {
        $1 = $1
        text = text separator $0
        separator = ", "
    } END { print text }' <<<"$1"
}

# Each host must answer, and with the same versions as this one.
check_hosts() {
    local host version ours
    ours=$("$program" --version) ||
        fail "cannot run '$program' here; set FUSIONLLM_PROGRAM to its path"
    ours=$(common_versions "$ours")
    for host in "$@"; do
        # Word splitting of the agent and its options is wanted.
        # shellcheck disable=SC2086
        version=$($rsh "$host" "$program --version" </dev/null) ||
            fail "'$rsh $host $program --version' failed; $host must let you" \
                "in without a password and have the program at the same path"
        version=$(common_versions "$version")
        [ "$version" = "$ours" ] ||
            fail "$host has '$version', and this host '$ours'; install the" \
                "same versions on all hosts"
    done
}

# The first half of the ports is for the ranks, the other for the launcher.
port_options() {
    local first=${ports%-*} last=${ports#*-} half
    [[ $ports =~ ^[0-9]+-[0-9]+$ && $((last - first)) -ge 99 ]] ||
        fail "FUSIONLLM_PORTS is '$ports'; give a hundred ports or more as in" \
            "20000-20999"
    half=$(((last - first + 1) / 2))
    mpi_options+=(--mca btl_tcp_port_min_v4 "$first"
        --mca btl_tcp_port_range_v4 "$half"
        --mca oob_tcp_dynamic_ipv4_ports "$((first + half))-$last")
}

pml_options() {
    case $pml in
        ob1)
            mpi_options+=(--mca pml ob1 --mca btl "self,vader,tcp")
            if [ -n "$network" ]; then
                mpi_options+=(--mca btl_tcp_if_include "$network")
            fi
            port_options
            ;;
        ucx)
            # Without the first two UCX is not taken where there is no
            # InfiniBand ("No components were able to be opened").
            mpi_options+=(--mca pml ucx --mca pml_ucx_tls any
                --mca pml_ucx_devices any -x "UCX_TLS=self,sm,tcp")
            case $network in
                '') ;;
                */*) fail "UCX wants the name of an interface in" \
                    "FUSIONLLM_NETWORK, not the network $network" ;;
                *) mpi_options+=(-x "UCX_NET_DEVICES=$network") ;;
            esac
            ;;
        *) fail "FUSIONLLM_PML is '$pml'; it must be ob1 or ucx" ;;
    esac
}

if [ $# -lt 1 ]; then
    fail "usage: two-sites.sh INPUT.toml [fusionllm options]"
fi
[ -n "$hosts" ] ||
    fail "set FUSIONLLM_HOSTS, as in FUSIONLLM_HOSTS=\"node1.lyon.example:2" \
        "node1.osaka.example:2\""

names=()
ranks=0
hostfile=$(mktemp)
trap 'rm -f "$hostfile"' EXIT
for host in $hosts; do
    [[ $host =~ ^([^:]+):([0-9]+)$ ]] ||
        fail "'$host' in FUSIONLLM_HOSTS is not HOST:RANKS"
    names+=("${BASH_REMATCH[1]}")
    ranks=$((ranks + BASH_REMATCH[2]))
    echo "${BASH_REMATCH[1]} slots=${BASH_REMATCH[2]}" >>"$hostfile"
done

mpi_options=(-np "$ranks" --hostfile "$hostfile" --map-by slot --bind-to none
    --mca plm rsh --mca plm_rsh_agent "$rsh")
if [ -n "$network" ]; then
    mpi_options+=(--mca oob_tcp_if_include "$network")
fi
if [ -n "${OPENBLAS_CORETYPE:-}" ]; then
    mpi_options+=(-x "OPENBLAS_CORETYPE=$OPENBLAS_CORETYPE")
fi
pml_options
check_hosts "${names[@]}"

give_time_to_stop
echo "two-sites: mpirun ${mpi_options[*]} $program $*"
run_group mpirun "${mpi_options[@]}" "$program" "$@"
