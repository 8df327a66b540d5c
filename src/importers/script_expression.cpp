#include "script_expression.hpp"

#include <cctype>
#include <charconv>
#include <limits>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

using Kind = ScriptExpression::Kind;

constexpr int most_depth = 200;

bool is_name_start(char c) {
    return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}
bool is_digit(char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

class Parser {
public:
    Parser(std::string_view text, const std::string& where)
        : rest_(text), where_(where) {}

    ScriptPart parse_all() {
        ScriptPart first = parse_one();
        if (!accept(',')) {
            check_end();
            return first;
        }
        // Without parentheses, as after "return".
        ScriptExpression tuple{.kind = Kind::tuple};
        tuple.parts.push_back(std::move(first));
        while (!at_end()) {
            tuple.parts.push_back(parse_one());
            if (!accept(',')) {
                break;
            }
        }
        check_end();
        return make(std::move(tuple));
    }

private:
    [[noreturn]] void fail() const {
        throw InputError(fmt::format(
            "the code of the archive cannot be understood ({}); save the model "
            "again with torch.jit.save(torch.jit.trace(model, inputs), path)",
            where_));
    }
    static ScriptPart make(ScriptExpression expression) {
        return std::make_shared<const ScriptExpression>(std::move(expression));
    }

    void skip_space() {
        while (!rest_.empty() &&
               (rest_.front() == ' ' || rest_.front() == '\n')) {
            rest_.remove_prefix(1);
        }
    }
    bool at_end() {
        skip_space();
        return rest_.empty();
    }
    void check_end() {
        if (!at_end()) {
            fail();
        }
    }
    char peek() {
        skip_space();
        return rest_.empty() ? '\0' : rest_.front();
    }
    bool accept(char c) {
        if (peek() != c || c == '\0') {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }
    void expect(char c) {
        if (!accept(c)) {
            fail();
        }
    }

    std::string take_name() {
        std::size_t size = 0;
        while (size < rest_.size() &&
               (is_name_start(rest_[size]) || is_digit(rest_[size]))) {
            ++size;
        }
        if (size == 0) {
            fail();
        }
        const std::string name(rest_.substr(0, size));
        rest_.remove_prefix(size);
        return name;
    }

    ScriptPart parse_one() {
        if (++depth_ > most_depth) {
            fail();
        }
        ScriptPart part = parse_start();
        while (true) {
            if (accept('.')) {
                part = make({.kind = Kind::attribute,
                             .text = take_name(),
                             .parts = {part}});
            } else if (accept('(')) {
                part = parse_call(part);
            } else if (accept('[')) {
                const ScriptPart index = parse_one();
                expect(']');
                part = make({.kind = Kind::subscript, .parts = {part, index}});
            } else {
                break;
            }
        }
        --depth_;
        return part;
    }

    ScriptPart parse_start() {
        const char c = peek();
        if (accept('[')) {
            return parse_items(']', Kind::list);
        }
        if (accept('(')) {
            return parse_items(')', Kind::tuple);
        }
        if (c == '"' || c == '\'') {
            return parse_text();
        }
        if (is_digit(c) || c == '-' || c == '.') {
            return parse_number();
        }
        if (is_name_start(c)) {
            return make({.kind = Kind::name, .text = take_name()});
        }
        fail();
    }

    //! (x) is x; (x, ) and [x] are of one item.
    ScriptPart parse_items(char end, Kind kind) {
        ScriptExpression items{.kind = kind};
        bool has_comma = false;
        while (!accept(end)) {
            items.parts.push_back(parse_one());
            if (!accept(',')) {
                expect(end);
                break;
            }
            has_comma = true;
        }
        const bool is_group =
            kind == Kind::tuple && items.parts.size() == 1 && !has_comma;
        return is_group ? items.parts.front() : make(std::move(items));
    }

    ScriptPart parse_call(const ScriptPart& callee) {
        ScriptExpression call{.kind = Kind::call, .parts = {callee}};
        while (!accept(')')) {
            ScriptPart argument = parse_one();
            if (argument->kind == Kind::name && accept('=')) {
                call.keywords.emplace_back(argument->text, parse_one());
            } else {
                call.parts.push_back(std::move(argument));
            }
            if (!accept(',')) {
                expect(')');
                break;
            }
        }
        return make(std::move(call));
    }

    ScriptPart parse_text() {
        const char quote = rest_.front();
        rest_.remove_prefix(1);
        std::string text;
        while (!rest_.empty() && rest_.front() != quote) {
            if (rest_.front() == '\\' && rest_.size() > 1) {
                rest_.remove_prefix(1);
            }
            text += rest_.front();
            rest_.remove_prefix(1);
        }
        expect(quote);
        return make({.value = std::move(text)});
    }

    ScriptPart parse_number() {
        const bool is_negative = accept('-');
        if (is_name_start(peek())) {
            const std::string name = take_name();
            if (!is_negative || name != "inf") {
                fail();
            }
            return make({.value = -std::numeric_limits<double>::infinity()});
        }
        const std::size_t size = std::min<std::size_t>(
            rest_.find_first_not_of("0123456789.eE+-"), rest_.size());
        const std::string_view digits = rest_.substr(0, size);
        rest_.remove_prefix(size);
        const bool is_whole =
            digits.find_first_not_of("0123456789") == digits.npos;
        const double sign = is_negative ? -1.0 : 1.0;
        return is_whole ? make({.value = (is_negative ? -1 : 1) *
                                         read<std::int64_t>(digits)})
                        : make({.value = sign * read<double>(digits)});
    }

    template <class Number>
    Number read(std::string_view digits) const {
        Number number = 0;
        const char* end = digits.data() + digits.size();
        const auto [stop, error] = std::from_chars(digits.data(), end, number);
        if (error != std::errc() || stop != end) {
            fail();
        }
        return number;
    }

    std::string_view rest_;
    const std::string& where_;
    int depth_ = 0;
};

}  // namespace

ScriptPart parse_expression(std::string_view text, const std::string& where) {
    return Parser(text, where).parse_all();
}

}  // namespace fusionllm::detail
