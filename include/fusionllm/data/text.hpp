#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "fusionllm/data/dataset.hpp"
#include "fusionllm/data/tokenizer.hpp"

namespace fusionllm {

//! Training and validation part of one source.
struct DatasetSplit {
    std::shared_ptr<const Dataset> train;
    std::shared_ptr<const Dataset> validation;  //!< null if there is none
    std::int64_t classes = 0;  //!< of images: all labels are below
};

/*!
 * Text files as byte tokens (vocabulary 256).
 *
 * `paths` are files or folders; folders are walked in sorted order, hidden
 * files and binary files (a zero byte in the first 8 KiB) are left out. A file
 * that is named itself is taken although it is hidden, and refused if it is
 * binary; a file that is named twice is taken once. The last
 * `validation_fraction` of every file's bytes is validation. A training sample
 * is any window of context+1 bytes of the concatenated training text, "tokens"
 * i64 (T) and "labels" i64 (T) shifted by one; validation windows do not
 * overlap, in their labels neither. Files are mapped, not loaded: they must not
 * be shortened while they are used. Throws `InputError` for a missing path or
 * too little text.
 */
DatasetSplit make_text_dataset(const std::vector<std::filesystem::path>& paths,
                               std::size_t context,
                               double validation_fraction);

/*!
 * The same with the tokens of a tokenizer, each file by itself; validation is
 * the last `validation_fraction` of every file's tokens. Text is tokenized
 * here, once; memory: 2 bytes a token, 4 if the vocabulary is above 65536.
 */
DatasetSplit make_text_dataset(const std::vector<std::filesystem::path>& paths,
                               const Tokenizer& tokenizer,
                               std::size_t context,
                               double validation_fraction);

/*!
 * A made-up sequence task that can be learned: tokens follow a fixed random
 * successor table (seeded) with some noise. Unlimited in practice (2^20
 * samples), no file. A token is the successor of the one before it, except
 * one in eight, which is any token: with V tokens the best possible loss is
 * -p ln p - (V - 1) q ln q with q = 1/(8 V) and p = 7/8 + q. The last
 * `validation_fraction` of the samples is validation.
 */
DatasetSplit make_synthetic_dataset(std::uint64_t seed,
                                    std::size_t context,
                                    std::size_t vocabulary,
                                    double validation_fraction);

}  // namespace fusionllm
