#include "fusionllm/util/text.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <numeric>

#include <fmt/format.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

std::string to_lower(std::string_view text) {
    std::string lower(text);
    for (char& c : lower) {
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return lower;
}

/*!
 * Insertions, deletions, substitutions and swaps of neighbours that turn one
 * text into the other (optimal string alignment); O(|a| |b|).
 */
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> current(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        current[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
            current[j] = std::min(
                {last[j] + 1, current[j - 1] + 1, last[j - 1] + change});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1]) {
                current[j] = std::min(current[j], before_last[j - 2] + 1);
            }
        }
        before_last.swap(last);
        last.swap(current);
    }
    return last[b.size()];
}

//! Columns on the screen: code points of UTF-8, each taken as one wide.
std::size_t width(std::string_view cell) {
    return static_cast<std::size_t>(
        std::count_if(cell.begin(), cell.end(), [](char c) {
            return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
        }));
}

//! "12", "-1.5", "30 %", "11.0 GiB"; not "3090-a".
bool is_number(std::string_view cell) {
    double value = 0.0;
    const char* end = cell.data() + cell.size();
    const auto result = std::from_chars(cell.data(), end, value);
    return result.ec == std::errc{} &&
           (result.ptr == end || *result.ptr == ' ' || *result.ptr == '%');
}

struct Column {
    std::size_t width = 0;
    bool is_right = false;
};

Column measure(const std::string& head,
               const std::vector<std::vector<std::string>>& rows,
               std::size_t index) {
    Column column{width(head), false};
    bool has_text = false;
    for (const auto& row : rows) {
        const std::string& cell = row[index];
        column.width = std::max(column.width, width(cell));
        const bool is_blank = cell.empty() || cell == "-";
        column.is_right = column.is_right || is_number(cell);
        has_text = has_text || !(is_blank || is_number(cell));
    }
    column.is_right = column.is_right && !has_text;
    return column;
}

std::string format_row(const std::vector<std::string>& cells,
                       const std::vector<Column>& columns) {
    std::string line;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const std::string pad(columns[i].width - width(cells[i]), ' ');
        line += i == 0 ? "" : "  ";
        line += columns[i].is_right ? pad + cells[i] : cells[i] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line + '\n';
}

}  // namespace

std::optional<std::string> find_nearest(
    std::string_view word, const std::vector<std::string>& candidates) {
    const std::string wanted = to_lower(word);
    std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
    std::optional<std::string> best;
    for (const std::string& candidate : candidates) {
        const std::size_t distance = edit_distance(wanted, to_lower(candidate));
        // A word of one or two letters is not near to another one by
        // changing all of it.
        if (distance < best_distance && distance < candidate.size()) {
            best_distance = distance;
            best = candidate;
        }
    }
    return best;
}

std::string did_you_mean(std::string_view word,
                         const std::vector<std::string>& candidates) {
    const auto nearest = find_nearest(word, candidates);
    return nearest ? fmt::format("; did you mean '{}'?", *nearest) : "";
}

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (;;) {
        const std::size_t end = text.find(separator, begin);
        parts.emplace_back(text.substr(begin, end - begin));
        if (end == std::string_view::npos) {
            return parts;
        }
        begin = end + 1;
    }
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n\v\f";
    const std::size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::string format_table(const std::vector<std::string>& head,
                         const std::vector<std::vector<std::string>>& rows) {
    std::vector<Column> columns;
    std::vector<std::string> rule;
    for (const auto& row : rows) {
        FUSIONLLM_EXPECTS(row.size() == head.size());
    }
    for (std::size_t i = 0; i < head.size(); ++i) {
        columns.push_back(measure(head[i], rows, i));
        rule.emplace_back(columns.back().width, '-');
    }
    std::string text = format_row(head, columns) + format_row(rule, columns);
    for (const auto& row : rows) {
        text += format_row(row, columns);
    }
    return text;
}

}  // namespace fusionllm
