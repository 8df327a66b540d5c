#!/usr/bin/env bash
# The installed module files are filled in; `module load` finds the program.
set -euo pipefail

prefix=$1
version=$2
modules=$prefix/share/modulefiles

for file in "$modules/fusionllm/$version.lua" "$modules/fusionllm/$version"; do
    if grep -n '@[A-Z_]*@' "$file"; then
        echo "FAILED: $file has a place that was not filled in" >&2
        exit 1
    fi
    if ! grep -qF "$prefix" "$file"; then
        echo "FAILED: $file does not name the prefix $prefix" >&2
        exit 1
    fi
done

for init in "${LMOD_PKG:-/nowhere}/init/bash" \
    /usr/share/lmod/lmod/init/bash /usr/share/modules/init/bash; do
    if [ -r "$init" ]; then
        break
    fi
done
if ! [ -r "$init" ]; then
    echo "SKIPPED: module load was NOT tried, because neither Lmod nor" \
        "Environment Modules was found (Debian: apt-get install lmod)" >&2
    exit 77
fi

# Where both kinds are in one folder the module command picks one.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/fusionllm-modules.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lua/fusionllm" "$scratch/tcl/fusionllm"
cp "$modules/fusionllm/$version" "$scratch/tcl/fusionllm"
kinds=(tcl)
if [[ $init == *lmod* || -n ${LMOD_PKG:-} ]]; then
    cp "$modules/fusionllm/$version.lua" "$scratch/lua/fusionllm"
    kinds+=(lua)
fi

for kind in "${kinds[@]}"; do
    # In a bare shell, as the module command changes the environment.
    # shellcheck disable=SC2016
    env -i HOME=/ PATH=/usr/bin:/bin bash --noprofile --norc -c '
        source "$1"
        module use "$2"
        module load "fusionllm/$3" || exit 1
        [ "$(command -v fusionllm)" = "$4/bin/fusionllm" ] || exit 2
        [ "$FUSIONLLM_ROOT" = "$4" ] || exit 3
        module unload fusionllm
        ! command -v fusionllm || exit 4
    ' bash "$init" "$scratch/$kind" "$version" "$prefix" || {
        echo "FAILED: module load fusionllm/$version ($kind) with $init" \
            "(code $?)" >&2
        exit 1
    }
done
