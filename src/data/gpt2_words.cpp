#include "gpt2_words.hpp"

#include "fusionllm/util/error.hpp"

#include "unicode_classes.hpp"

namespace fusionllm::detail {
namespace {

//! Bytes of 's, 't, 're and so on, or 0.
std::size_t contraction_bytes(std::string_view text) {
    if (text.front() != '\'') {
        return 0;
    }
    for (const std::string_view ending :
         {"s", "t", "re", "ve", "m", "ll", "d"}) {
        if (text.substr(1).starts_with(ending)) {
            return 1 + ending.size();
        }
    }
    return 0;
}

//! Where the characters of a class end that begin at a byte.
std::size_t end_of_run(std::string_view text,
                       std::size_t at,
                       CharacterClass kind) {
    while (at < text.size()) {
        const Character next = read_character(text, at);
        if (next.kind != kind) {
            break;
        }
        at += next.num_bytes;
    }
    return at;
}

//! All spaces at the begin but for the last one, which belongs to what follows.
std::size_t space_bytes(std::string_view text) {
    std::size_t end = 0;
    std::size_t last = 0;
    while (end < text.size()) {
        const Character next = read_character(text, end);
        if (next.kind != CharacterClass::space) {
            return last > 0 ? last : end;
        }
        last = end;
        end += next.num_bytes;
    }
    return end;
}

std::size_t word_bytes(std::string_view text) {
    if (const std::size_t bytes = contraction_bytes(text)) {
        return bytes;
    }
    const std::size_t begin = text.front() == ' ' && text.size() > 1 ? 1 : 0;
    const Character first = read_character(text, begin);
    return first.kind == CharacterClass::space
               ? space_bytes(text)
               : end_of_run(text, begin + first.num_bytes, first.kind);
}

}  // namespace

std::string_view first_word(std::string_view text) {
    FUSIONLLM_EXPECTS(!text.empty());
    return text.substr(0, word_bytes(text));
}

}  // namespace fusionllm::detail
