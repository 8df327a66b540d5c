#pragma once

#include <string>
#include <string_view>

namespace fusionllm::detail {

//! A character of a name that is written without quotes.
bool is_word_character(char c);

//! The name as it is, or in quotes if it has other characters.
std::string write_name(std::string_view name);

//! The text in quotes, with escapes \" \\ and \xNN.
std::string write_quoted(std::string_view text);

//! The shortest text that gives the same double; never looks like an integer.
std::string write_double(double number);

/*!
 * Reads one line of a graph's text form from left to right.
 *
 * Blanks between things are skipped. What does not fit throws `InputError`
 * without the line's number: who reads the lines adds it.
 */
class LineReader {
public:
    explicit LineReader(std::string_view line) : rest_(line) {}

    //! True at the end of the line, or at a comment.
    bool is_at_end();
    //! Skip the character if it is next.
    bool accept(char c);
    void expect(char c);
    void expect_end();
    //! A run of word characters; `what` names it in the error.
    std::string_view read_word(std::string_view what);
    //! A word or a quoted text.
    std::string read_name(std::string_view what);
    std::string read_quoted();
    //! "f32[8,128]", to be parsed.
    std::string_view read_type();
    char peek();

private:
    void skip_blanks();
    char read_escaped();

    std::string_view rest_;
};

}  // namespace fusionllm::detail
