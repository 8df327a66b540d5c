#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fusionllm::detail {

//! What a word may be made of: \p{L}, \p{N}, \s, and the rest.
enum class CharacterClass : std::uint8_t { letter, number, space, other };

//! Of a Unicode code point. A table of our own, not the system's: all sites
//! must make the same tokens of a text.
CharacterClass class_of(std::uint32_t code);

struct Character {
    CharacterClass kind;
    std::size_t num_bytes;  //!< 1 to 4
};

//! The UTF-8 character at a byte; a byte that begins none is one of class
//! other.
Character read_character(std::string_view text, std::size_t at);

}  // namespace fusionllm::detail
