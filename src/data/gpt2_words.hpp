#pragma once

#include <cstddef>
#include <string_view>

namespace fusionllm::detail {

/*!
 * The first of the words that GPT-2 splits a text into, not empty; words make
 * up the text. What its regular expression finds:
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|
 *     \s+(?!\S)|\s+
 */
std::string_view first_word(std::string_view text);

}  // namespace fusionllm::detail
