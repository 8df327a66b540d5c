#!/usr/bin/env bash
# What cmake --install wrote is complete, and the program runs from there.
set -euo pipefail

prefix=$1
version=$2
data=$prefix/share/fusionllm
failed=0

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

for file in inputs/quickstart.toml docs/how-to/own-text.md src/app/main.cpp \
    include/fusionllm/util/error.hpp README.md LICENSE jobs/train.sbatch \
    jobs/two-sites.sh jobs/common.sh tools/netlab/site-exec; do
    [ -s "$data/$file" ] || fail "$data/$file was not installed"
done

# No variable of the shell may be needed to find the libraries.
if ! answer=$(env -i "$prefix/bin/fusionllm" --version 2>&1); then
    fail "fusionllm --version says: $answer"
elif [[ $answer != *"$version"* ]]; then
    fail "fusionllm --version does not name $version: $answer"
fi

answer=$(env -i OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    PATH=/usr/bin:/bin "$prefix/bin/fusionllm" validate \
    "$data/inputs/quickstart.toml" 2>&1) ||
    fail "the installed quickstart.toml is not valid: $answer"

model=$(dirname "${BASH_SOURCE[0]}")/../data/sentencepiece/bytes.model
if compgen -G "$prefix/lib*/libfusionllm_sentencepiece.so" >/dev/null; then
    answer=$(env -i "$prefix/bin/fusionllm" tokenize "$data/README.md" \
        -o "$prefix/tokens.bin" --tokenizer sentencepiece \
        --sentencepiece-file "$model" 2>&1) ||
        fail "the installed program cannot use SentencePiece: $answer"
    rm -f "$prefix/tokens.bin"
fi

exit "$failed"
