#include "text_words.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {

bool is_word_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') ||
           std::string_view("_.:/$+-").find(c) != std::string_view::npos;
}

std::string write_name(std::string_view name) {
    return !name.empty() && std::ranges::all_of(name, is_word_character)
               ? std::string(name)
               : write_quoted(name);
}

std::string write_quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
            result += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            result += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
        } else {
            result += c;
        }
    }
    return result + '"';
}

std::string write_double(double number) {
    std::array<char, 40> characters;
    const auto end = std::to_chars(
        characters.data(), characters.data() + characters.size(), number);
    std::string text(characters.data(), end.ptr);
    if (text.find_first_of(".einf") == std::string::npos) {
        text += ".0";
    }
    return text;
}

void LineReader::skip_blanks() {
    rest_.remove_prefix(
        std::min(rest_.find_first_not_of(" \t\r"), rest_.size()));
}

char LineReader::peek() {
    skip_blanks();
    return rest_.empty() ? '\0' : rest_.front();
}

bool LineReader::is_at_end() {
    skip_blanks();
    return rest_.empty() || rest_.front() == '#';
}

bool LineReader::accept(char c) {
    if (peek() != c) {
        return false;
    }
    rest_.remove_prefix(1);
    return true;
}

void LineReader::expect(char c) {
    FUSIONLLM_VALIDATE(
        accept(c), "expected '{}' before '{}'", c, rest_.substr(0, 20));
}

void LineReader::expect_end() {
    FUSIONLLM_VALIDATE(is_at_end(),
                       "expected the end of the line before '{}'",
                       rest_.substr(0, 20));
}

std::string_view LineReader::read_word(std::string_view what) {
    skip_blanks();
    const auto length = static_cast<std::size_t>(
        std::ranges::find_if_not(rest_, is_word_character) - rest_.begin());
    FUSIONLLM_VALIDATE(
        length > 0, "expected {} before '{}'", what, rest_.substr(0, 20));
    const std::string_view word = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return word;
}

std::string LineReader::read_name(std::string_view what) {
    return peek() == '"' ? read_quoted() : std::string(read_word(what));
}

std::string LineReader::read_quoted() {
    expect('"');
    std::string text;
    while (!rest_.empty() && rest_.front() != '"') {
        text += read_escaped();
    }
    FUSIONLLM_VALIDATE(
        !rest_.empty(), "the text \"{} has no closing quote; add one", text);
    rest_.remove_prefix(1);
    return text;
}

char LineReader::read_escaped() {
    char c = rest_.front();
    rest_.remove_prefix(1);
    if (c != '\\') {
        return c;
    }
    FUSIONLLM_VALIDATE(!rest_.empty(), "a \\ ends the line inside quotes");
    c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '"' || c == '\\') {
        return c;
    }
    unsigned code = 0;
    const std::string_view digits = rest_.substr(0, 2);
    const auto end =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    FUSIONLLM_VALIDATE(
        c == 'x' && digits.size() == 2 && end.ptr == digits.data() + 2,
        "'\\{}' in a quoted text is none of \\\", \\\\ and \\xNN",
        c);
    rest_.remove_prefix(2);
    return static_cast<char>(code);
}

std::string_view LineReader::read_type() {
    skip_blanks();
    const std::size_t close = rest_.find(']');
    FUSIONLLM_VALIDATE(close != std::string_view::npos,
                       "expected a type like f32[8,128] before '{}'",
                       rest_.substr(0, 20));
    const std::string_view type = rest_.substr(0, close + 1);
    rest_.remove_prefix(close + 1);
    return type;
}

}  // namespace fusionllm::detail
