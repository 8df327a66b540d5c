#!/usr/bin/env bash
# Make bytes.model and plain.model of this folder, and encoded.txt: the tokens
# that SentencePiece's own tool makes of text.txt, line by line, with each.
# Needs Debian's package sentencepiece (0.1.97 made what is stored).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

train() {
    spm_train --input=text.txt --model_prefix="$1" --num_threads=1 \
        --minloglevel=2 --normalization_rule_name=identity \
        --remove_extra_whitespaces=false "${@:2}"
    rm "$1.vocab"
}

train bytes --model_type=bpe --vocab_size=300 --byte_fallback=true
train plain --model_type=unigram --vocab_size=60 --character_coverage=0.99
for model in bytes plain; do
    echo "$model"
    spm_encode --model="$model.model" --output_format=id <text.txt
done >encoded.txt
