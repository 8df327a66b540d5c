#!/usr/bin/env bash
# See that the packages of packaging/debian-packages.txt are there.
#
#   jobs/setup.sh [check]
#
# As root on Debian the missing ones are installed; otherwise they are named,
# and what was built by hand or loaded as a module may stand in for them: the
# configure step decides. With `check`, the tools of .ci/run too.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
list=$root/packaging/debian-packages.txt

say() {
    printf 'setup: %s\n' "$*" >&2
}

packages_for() {
    awk -v purpose="$1" '!/^#/ && $2 == purpose { print $1 }' "$list"
}

is_installed() {
    local status
    status=$(dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null) &&
        grep -qx installed <<<"$status"
}

missing_packages() {
    local package
    for package in "$@"; do
        is_installed "$package" || printf '%s\n' "$package"
    done
}

install_packages() {
    local log
    say "installing $# packages, which takes a minute or two: $*"
    log=$(mktemp)
    if ! {
        apt-get update &&
            apt-get install -y --no-install-recommends "$@"
    } </dev/null >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        say "apt-get failed, see above"
        exit 1
    fi
    rm -f "$log"
}

# LibTorch calls whatever BLAS /usr/lib/*/libblas.so.3 stands for. The
# reference BLAS, which other packages bring along, is tens of times slower
# than OpenBLAS.
check_blas() {
    local name blas
    name=libblas.so.3-$(dpkg-architecture -qDEB_HOST_MULTIARCH)
    blas=$(readlink -f "/etc/alternatives/$name" || true)
    case $blas in
        */blas/libblas.so*) ;;
        *) return 0 ;;
    esac
    if [ "$(id -u)" -eq 0 ]; then
        update-alternatives --auto "$name" >&2
        update-alternatives --auto "${name/blas/lapack}" >&2
        blas=$(readlink -f "/etc/alternatives/$name")
    fi
    case $blas in
        */blas/libblas.so*)
            say "warning: the BLAS in use is the reference one ($blas), tens" \
                "of times slower than OpenBLAS. Try, as root:" \
                "update-alternatives --config $name"
            ;;
    esac
}

setup_debian() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    if [ "${#missing[@]}" -gt 0 ]; then
        if [ "$(id -u)" -eq 0 ]; then
            install_packages "${missing[@]}"
        else
            say "these Debian packages are missing: ${missing[*]}"
            say "install them with: sudo apt-get install" \
                "--no-install-recommends ${missing[*]}"
            say "going on with what CMake finds in their place"
        fi
    fi
    if command -v dpkg-architecture >/dev/null; then
        check_blas
    fi
}

main() {
    local packages
    mapfile -t packages < <(packages_for build)
    if [ "${1:-}" = check ]; then
        mapfile -t -O "${#packages[@]}" packages < <(packages_for check)
    fi
    if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        setup_debian "${packages[@]}"
        return
    fi
    say "this is not Debian, so nothing was installed. Needed are: a C++20" \
        "compiler, CMake 3.25, Ninja, Python 3, and the libraries Open MPI 4" \
        "or another MPI 3, HDF5 with MPI, LibTorch 1.13 or later with a fast" \
        "BLAS, Kokkos 3.4 or later, fmt, toml++, CLI11, nlohmann-json and" \
        "GoogleTest (docs/how-to/cluster.md shows the way by Spack)"
    say "going on with what CMake finds (CMAKE_PREFIX_PATH says where to look)"
}

main "$@"
