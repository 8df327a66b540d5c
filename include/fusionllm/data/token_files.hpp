#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <variant>
#include <vector>

#include "fusionllm/data/text.hpp"
#include "fusionllm/data/tokenizer.hpp"
#include "fusionllm/util/stored_rows.hpp"

namespace fusionllm {

//! A file, or tokens in a file of another kind (HDF5): i64, one axis.
using TokenSource = std::variant<std::filesystem::path, StoredRows>;

/*!
 * Files of tokens: the layout of llm.c, a header of 256 32-bit integers (magic,
 * version, number of tokens) and tokens of 16 bits (magic 20240520) or 32 bits
 * (20240801); or that of nanoGPT, tokens of 16 bits alone. Little-endian.
 *
 * Samples and validation are as of `make_text_dataset`; files are mapped, or
 * read where they are wanted, not loaded, in the order given. All tokens are
 * looked at once, for the hash. Throws `InputError` for a file that is none of
 * these, is cut off, or has a token that is not below `vocabulary`.
 */
DatasetSplit make_tokens_dataset(const std::vector<TokenSource>& sources,
                                 std::size_t context,
                                 std::size_t vocabulary,
                                 double validation_fraction);

//! What stands behind the tokens of every text.
enum class TextEnd { nothing, end_of_text };

struct TokenizedText {
    std::size_t num_files = 0;
    std::uint64_t num_bytes = 0;
    std::uint64_t num_tokens = 0;
};

/*!
 * Write the tokens of text files and folders to `output` in the layout of
 * llm.c, with 16 bits a token if the vocabulary is at most 65536. Neither text
 * nor tokens are held in memory; `output` appears when it is complete. Throws
 * `InputError` for paths as `make_text_dataset` does, for 2^31 tokens or more,
 * or where there is no token for the end of a text.
 */
TokenizedText tokenize_files(const std::vector<std::filesystem::path>& paths,
                             const Tokenizer& tokenizer,
                             TextEnd end,
                             const std::filesystem::path& output);

}  // namespace fusionllm
