#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "text_words.hpp"

namespace fusionllm {
namespace {

using detail::LineReader;

template <class Number>
Number parse_number(std::string_view word) {
    Number number{};
    const auto [end, error] =
        std::from_chars(word.data(), word.data() + word.size(), number);
    FUSIONLLM_VALIDATE(error == std::errc{} && end == word.data() + word.size(),
                       "'{}' is not an argument; write a number, None, true, "
                       "false, an element type, a %value, a \"text\" or a list",
                       word);
    return number;
}

Initializer::Kind parse_kind(std::string_view word) {
    using Kind = Initializer::Kind;
    constexpr std::pair<std::string_view, Kind> kinds[] = {
        {"zeros", Kind::zeros},
        {"ones", Kind::ones},
        {"normal", Kind::normal},
        {"uniform", Kind::uniform}};
    const auto* found = std::ranges::find(
        kinds, word, &std::pair<std::string_view, Kind>::first);
    FUSIONLLM_VALIDATE(found != std::end(kinds),
                       "'{}' is not a way to start a tensor; use zeros, "
                       "ones, normal(scale) or uniform(scale)",
                       word);
    return found->second;
}

class GraphParser {
public:
    OpGraph parse(std::string_view text) {
        std::size_t line_number = 0;
        for (const std::string& line : split(text, '\n')) {
            line_ = ++line_number;
            try {
                parse_line(LineReader(line));
            } catch (const InputError& error) {
                fail(line_, error.what());
            }
        }
        if (!name_) {
            fail(1, "a graph begins with a line 'graph NAME'");
        }
        check_defined();
        return {
            *name_, std::move(values_), std::move(ops_), std::move(signature_)};
    }

private:
    [[noreturn]] static void fail(std::size_t line, std::string_view sentence) {
        throw InputError(
            fmt::format("line {} of the graph: {}", line, sentence));
    }

    void parse_line(LineReader reader) {
        if (reader.is_at_end()) {
            return;
        }
        if (reader.peek() == '%' || reader.peek() == '=') {
            require_head();
            parse_op(reader);
        } else {
            parse_statement(std::string(reader.read_word("a statement")),
                            reader);
        }
        reader.expect_end();
    }

    void require_head() const {
        FUSIONLLM_VALIDATE(name_, "a graph begins with a line 'graph NAME'");
    }

    void parse_statement(const std::string& keyword, LineReader& reader) {
        if (keyword == "graph") {
            FUSIONLLM_VALIDATE(
                !name_,
                "the graph has a name already; one file holds one graph");
            name_ = reader.read_name("the name of the graph");
            return;
        }
        require_head();
        if (keyword == "input") {
            FUSIONLLM_VALIDATE(signature_.num_labels == 0,
                               "an input comes after a label; move it up");
            signature_.inputs.push_back(parse_definition(reader));
        } else if (keyword == "label") {
            signature_.inputs.push_back(parse_definition(reader));
            ++signature_.num_labels;
        } else if (keyword == "parameter") {
            parse_parameter(reader);
        } else if (keyword == "buffer") {
            parse_buffer(reader);
        } else if (keyword == "loss") {
            FUSIONLLM_VALIDATE(!signature_.loss,
                               "the graph has a loss already");
            signature_.loss = parse_use(reader);
        } else if (keyword == "output") {
            FUSIONLLM_VALIDATE(!signature_.output,
                               "the graph has an output already");
            signature_.output = parse_use(reader);
        } else {
            throw InputError(fmt::format(
                "'{}' is no statement{}; a line begins with graph, input, "
                "label, parameter, buffer, loss, output or a %value",
                keyword,
                did_you_mean(keyword,
                             {"graph",
                              "input",
                              "label",
                              "parameter",
                              "buffer",
                              "loss",
                              "output"})));
        }
    }

    void parse_parameter(LineReader& reader) {
        Parameter parameter{
            reader.read_name("the name of a parameter"), ValueId(0), {}, true};
        parameter.value = parse_definition(reader);
        parameter.initializer = parse_initializer(reader);
        const std::string_view decay = reader.read_word("decay or no_decay");
        FUSIONLLM_VALIDATE(decay == "decay" || decay == "no_decay",
                           "'{}' is neither decay nor no_decay",
                           decay);
        parameter.has_weight_decay = decay == "decay";
        signature_.parameters.push_back(std::move(parameter));
    }

    void parse_buffer(LineReader& reader) {
        ModelBuffer buffer{
            reader.read_name("the name of a buffer"), ValueId(0), {}};
        buffer.value = parse_definition(reader);
        buffer.initializer = parse_initializer(reader);
        signature_.buffers.push_back(std::move(buffer));
    }

    static Initializer parse_initializer(LineReader& reader) {
        Initializer initializer;
        initializer.kind = parse_kind(reader.read_word("zeros"));
        if (reader.accept('(')) {
            initializer.scale =
                parse_number<double>(reader.read_word("a number"));
            reader.expect(')');
        }
        return initializer;
    }

    void parse_op(LineReader& reader) {
        Op op;
        while (!reader.accept('=')) {
            op.outputs.push_back(parse_definition(reader));
            if (reader.peek() != '=') {
                reader.expect(',');
            }
        }
        op.name = reader.read_name("the name of an op");
        const std::string_view call = reader.read_word("a target");
        const std::size_t dot = std::min(call.find('.'), call.size());
        op.target = call.substr(0, dot);
        op.overload = call.substr(std::min(dot + 1, call.size()));
        reader.expect('(');
        while (!reader.accept(')')) {
            op.arguments.push_back(parse_argument(reader));
            if (reader.peek() != ')') {
                reader.expect(',');
            }
        }
        ops_.push_back(std::move(op));
    }

    Argument parse_argument(LineReader& reader) {
        if (reader.peek() == '%') {
            return parse_use(reader);
        }
        if (reader.peek() == '"') {
            return reader.read_quoted();
        }
        if (reader.accept('[')) {
            return parse_list<std::int64_t>(reader);
        }
        const std::string_view word = reader.read_word("an argument");
        if (reader.accept('[')) {
            return parse_named_list(word, reader);
        }
        return parse_word(word);
    }

    static Argument parse_word(std::string_view word) {
        if (word == "None") {
            return NoArgument{};
        }
        if (word == "true" || word == "false") {
            return word == "true";
        }
        const bool is_special = word == "inf" || word == "nan";
        const bool is_letter = (word[0] >= 'a' && word[0] <= 'z');
        if (is_letter && !is_special) {
            return parse_dtype(word);
        }
        if (word.find_first_of(".einf") != std::string_view::npos) {
            return parse_number<double>(word);
        }
        return parse_number<std::int64_t>(word);
    }

    Argument parse_named_list(std::string_view name, LineReader& reader) {
        if (name == "floats") {
            return parse_list<double>(reader);
        }
        if (name == "bools") {
            return parse_list<bool>(reader);
        }
        FUSIONLLM_VALIDATE(name == "values",
                           "'{}[' begins no list; use [ for integers, "
                           "floats[, bools[ or values[",
                           name);
        std::vector<ValueOrNone> list;
        while (!reader.accept(']')) {
            if (reader.peek() == '%') {
                list.emplace_back(parse_use(reader));
            } else {
                FUSIONLLM_VALIDATE(reader.read_word("a value") == "None",
                                   "a list of values holds %values and None");
                list.emplace_back(NoArgument{});
            }
            if (reader.peek() != ']') {
                reader.expect(',');
            }
        }
        return list;
    }

    template <class Element>
    static std::vector<Element> parse_list(LineReader& reader) {
        std::vector<Element> list;
        while (!reader.accept(']')) {
            const Argument element = parse_word(reader.read_word("an element"));
            FUSIONLLM_VALIDATE(
                std::holds_alternative<Element>(element),
                "a list holds elements of different kinds; [ is for integers, "
                "floats[ for numbers with a point, bools[ for true and false");
            list.push_back(std::get<Element>(element));
            if (reader.peek() != ']') {
                reader.expect(',');
            }
        }
        return list;
    }

    ValueId parse_use(LineReader& reader) {
        reader.expect('%');
        const std::string name = reader.read_name("the name of a value");
        const ValueId next(static_cast<std::uint32_t>(values_.size()));
        const auto [entry, is_new] = ids_.try_emplace(name, next);
        if (is_new) {
            values_.push_back({name, {}});
            first_lines_.push_back(line_);
            is_defined_.push_back(false);
        }
        return entry->second;
    }

    ValueId parse_definition(LineReader& reader) {
        const ValueId id = parse_use(reader);
        FUSIONLLM_VALIDATE(!is_defined_[id.get()],
                           "value '{}' is made a second time; give one of the "
                           "two another name",
                           values_[id.get()].name);
        values_[id.get()].type = parse_tensor_type(reader.read_type());
        is_defined_[id.get()] = true;
        return id;
    }

    void check_defined() const {
        for (std::size_t v = 0; v < values_.size(); ++v) {
            if (is_defined_[v]) {
                continue;
            }
            std::vector<std::string> names;
            for (std::size_t other = 0; other < values_.size(); ++other) {
                if (is_defined_[other]) {
                    names.push_back(values_[other].name);
                }
            }
            fail(first_lines_[v],
                 fmt::format("no line makes the value '{}'{}",
                             values_[v].name,
                             did_you_mean(values_[v].name, names)));
        }
    }

    std::optional<std::string> name_;
    std::vector<Value> values_;
    std::vector<std::size_t> first_lines_;  // by value
    std::vector<bool> is_defined_;          // by value
    std::unordered_map<std::string, ValueId> ids_;
    std::vector<Op> ops_;
    GraphSignature signature_;
    std::size_t line_ = 0;
};

}  // namespace

OpGraph parse_graph(std::string_view text) {
    return GraphParser().parse(text);
}

}  // namespace fusionllm
