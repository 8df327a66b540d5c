#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fusionllm {

//! The candidate nearest to the word by edits, if it is near enough to help.
std::optional<std::string> find_nearest(
    std::string_view word, const std::vector<std::string>& candidates);

//! "; did you mean 'x'?" or an empty text.
std::string did_you_mean(std::string_view word,
                         const std::vector<std::string>& candidates);

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);

/*!
 * A table of fixed-width columns for the screen: head, rule, rows. Columns
 * whose cells are numbers are aligned right.
 */
std::string format_table(const std::vector<std::string>& head,
                         const std::vector<std::vector<std::string>>& rows);

}  // namespace fusionllm
