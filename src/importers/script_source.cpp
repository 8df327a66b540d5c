#include "script_source.hpp"

#include <algorithm>
#include <optional>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "script_expression.hpp"

namespace fusionllm::detail {
namespace {

//! A statement with its continuation lines.
struct Line {
    std::size_t indent = 0;
    std::size_t number = 0;
    std::string_view text;
};

class Lines {
public:
    explicit Lines(std::string_view text) {
        std::size_t number = 1;
        while (!text.empty()) {
            const std::size_t size = end_of_statement(text);
            const std::string_view whole = text.substr(0, size);
            const std::string_view trimmed = trim(whole);
            if (!trimmed.empty() && trimmed.front() != '#') {
                lines_.push_back(
                    {static_cast<std::size_t>(trimmed.data() - whole.data()),
                     number,
                     trimmed});
            }
            number += static_cast<std::size_t>(std::ranges::count(whole, '\n'));
            text.remove_prefix(size);
        }
    }

    const std::vector<Line>& all() const { return lines_; }

private:
    //! Behind the first end of a line outside of brackets and texts.
    static std::size_t end_of_statement(std::string_view text) {
        int depth = 0;
        char quote = '\0';
        for (std::size_t i = 0; i < text.size(); ++i) {
            const char c = text[i];
            if (quote != '\0') {
                i += c == '\\' ? 1 : 0;
                quote = c == quote || c == '\n' ? '\0' : quote;
            } else if (c == '"' || c == '\'') {
                quote = c;
            } else if (c == '(' || c == '[' || c == '{') {
                ++depth;
            } else if (c == ')' || c == ']' || c == '}') {
                --depth;
            } else if (c == '\n' && depth <= 0) {
                return i + 1;
            }
        }
        return text.size();
    }

    std::vector<Line> lines_;
};

bool is_name(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c >= '0' && c <= '9') || c == '_';
    });
}

//! Where the statement assigns: the first "=" outside of brackets and texts.
std::size_t find_assignment(std::string_view text) {
    int depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '"' || c == '\'') {
            return text.npos;  // no target has a text
        }
        depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
        if (c == '=' && depth == 0) {
            return text.substr(i, 2) == "==" ? text.npos : i;
        }
    }
    return text.npos;
}

class FileParser {
public:
    FileParser(std::string_view text, const std::string& name)
        : lines_(text), name_(name) {}

    ScriptFile parse() {
        const auto& lines = lines_.all();
        while (at_ < lines.size()) {
            const Line& line = lines[at_];
            if (line.text.starts_with("class ")) {
                parse_class(line);
            } else if (line.text.starts_with("def ")) {
                parse_function(file_.functions, line);
            } else {
                ++at_;
            }
        }
        return std::move(file_);
    }

private:
    std::string where(const Line& line) const {
        constexpr std::size_t most_shown = 160;
        return fmt::format("{}, line {}: {}{}",
                           name_,
                           line.number,
                           line.text.substr(0, most_shown),
                           line.text.size() > most_shown ? "..." : "");
    }

    void parse_class(const Line& head) {
        const std::string_view rest = head.text.substr(6);
        ScriptClass& type =
            file_
                .classes[std::string(rest.substr(0, rest.find_first_of("(:")))];
        ++at_;
        const auto& lines = lines_.all();
        while (at_ < lines.size() && lines[at_].indent > head.indent) {
            const Line& line = lines[at_];
            if (line.text.starts_with("def ")) {
                parse_function(type.methods, line);
                continue;
            }
            if (line.text.starts_with("__parameters__")) {
                type.parameters = parse_names(line);
            } else if (line.text.starts_with("__buffers__")) {
                type.buffers = parse_names(line);
            }
            ++at_;
        }
    }

    std::set<std::string> parse_names(const Line& line) const {
        const std::size_t at = find_assignment(line.text);
        std::set<std::string> names;
        if (at == line.text.npos) {
            return names;
        }
        const ScriptPart list =
            parse_expression(line.text.substr(at + 1), where(line));
        for (const ScriptPart& part : list->parts) {
            if (const auto* name = std::get_if<std::string>(&part->value)) {
                names.insert(*name);
            }
        }
        return names;
    }

    //! "def name(self: T, x: Tensor) -> Tensor:" and its body.
    void parse_function(std::map<std::string, ScriptFunction>& functions,
                        const Line& head) {
        const std::size_t open = head.text.find('(');
        const std::size_t close = head.text.rfind(") ->");
        FUSIONLLM_VALIDATE(
            open != head.text.npos && close != head.text.npos && open < close,
            "the code of the archive cannot be understood ({}); save the model "
            "again",
            where(head));
        ScriptFunction function;
        function.parameters =
            parse_parameters(head.text.substr(open + 1, close - open - 1));
        ++at_;
        const auto& lines = lines_.all();
        std::optional<std::size_t> indent;
        while (at_ < lines.size() && lines[at_].indent > head.indent) {
            const Line& line = lines[at_];
            indent = indent.value_or(line.indent);
            // Deeper lines belong to control flow, which is refused as a whole.
            if (line.indent == *indent) {
                function.body.push_back(parse_statement(line));
            }
            ++at_;
        }
        functions[std::string(trim(head.text.substr(4, open - 4)))] =
            std::move(function);
    }

    static std::vector<std::string> parse_parameters(std::string_view text) {
        std::vector<std::string> names;
        int depth = 0;
        std::size_t begin = 0;
        for (std::size_t i = 0; i <= text.size(); ++i) {
            const char c = i < text.size() ? text[i] : ',';
            depth += c == '[' || c == '(' ? 1 : c == ']' || c == ')' ? -1 : 0;
            if (c == ',' && depth == 0) {
                const std::string_view one = text.substr(begin, i - begin);
                const std::string_view name =
                    trim(one.substr(0, one.find(':')));
                if (!name.empty()) {
                    names.emplace_back(name);
                }
                begin = i + 1;
            }
        }
        return names;
    }

    ScriptStatement parse_statement(const Line& line) const {
        ScriptStatement statement;
        statement.where = where(line);
        if (line.text.starts_with("return")) {
            statement.kind = ScriptStatement::Kind::give_back;
            const std::string_view value = trim(line.text.substr(6));
            statement.value = parse_expression(value.empty() ? "None" : value,
                                               statement.where);
            return statement;
        }
        const std::size_t at = find_assignment(line.text);
        if (at == line.text.npos) {
            return statement;
        }
        const std::string_view left = trim(line.text.substr(0, at));
        for (const std::string& part : split(left, ',')) {
            std::string_view name = trim(part);
            name = trim(name.substr(0, name.find(':')));  // its type
            if (!name.empty()) {
                statement.targets.emplace_back(name);
            }
        }
        if (!std::ranges::all_of(statement.targets, is_name)) {
            return statement;
        }
        statement.is_taken_apart =
            left.find(',') != left.npos && left.find(':') == left.npos;
        statement.kind = ScriptStatement::Kind::assign;
        statement.value =
            parse_expression(line.text.substr(at + 1), statement.where);
        return statement;
    }

    Lines lines_;
    const std::string& name_;
    std::size_t at_ = 0;
    ScriptFile file_;
};

}  // namespace

ScriptFile parse_script(std::string_view text, const std::string& name) {
    return FileParser(text, name).parse();
}

}  // namespace fusionllm::detail
