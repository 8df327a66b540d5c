#include "fusionllm/util/error.hpp"

#include "app/run_input_keys.hpp"
#include "app/toml_text.hpp"
#include "app/topology_toml.hpp"

namespace fusionllm {
namespace detail {

std::string toml_string(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        const auto code = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            quoted += {'\\', c};
        } else if (code < 0x20 || code == 0x7f) {
            quoted += fmt::format("\\u{:04x}", code);
        } else {
            quoted += c;
        }
    }
    return quoted + '"';
}

std::string toml_float(double number) {
    std::string text = fmt::format("{}", number);
    if (text.find_first_of(".en") == std::string::npos) {
        text += ".0";
    }
    return text;
}

}  // namespace detail

namespace {

using namespace detail;

class TomlWriter {
public:
    std::string take() { return std::move(toml_); }

    void section(const char* name, const char* comment) {
        toml_ += fmt::format(
            "{}# {}\n[{}]\n", toml_.empty() ? "" : "\n", comment, name);
    }
    template <class Value, class Rule>
    void key(const char* name,
             const Value& value,
             const Rule& rule,
             const char* comment) {
        toml_ +=
            fmt::format("# {}\n{} = {}\n", comment, name, show(value, rule));
    }

private:
    static std::string show(const std::string& value, const Any&) {
        return toml_string(value);
    }
    static std::string show(const std::string& value, const Choices&) {
        return toml_string(value);
    }
    static std::string show(ResnetStem value, const Choices& choices) {
        return toml_string(choices.words[static_cast<std::size_t>(value)]);
    }
    static std::string show(bool value, const Choices& choices) {
        return toml_string(choices.words[value ? 1 : 0]);
    }
    static std::string show(bool value, const Any&) {
        return value ? "true" : "false";
    }
    static std::string show(std::int64_t value, const IntegerRange&) {
        return std::to_string(value);
    }
    static std::string show(double value, const NumberRange&) {
        return toml_float(value);
    }
    static std::string show(const std::filesystem::path& value, const Any&) {
        return toml_string(value.string());
    }
    static std::string show(const std::vector<std::filesystem::path>& paths,
                            const Any&) {
        std::vector<std::string> items;
        for (const auto& path : paths) {
            items.push_back(toml_string(path.string()));
        }
        return list(items);
    }
    static std::string show(const std::vector<std::string>& words, const Any&) {
        std::vector<std::string> items;
        for (const std::string& word : words) {
            items.push_back(toml_string(word));
        }
        return list(items);
    }
    static std::string show(const std::vector<double>& numbers, const Any&) {
        std::vector<std::string> items;
        for (const double number : numbers) {
            items.push_back(toml_float(number));
        }
        return fmt::format("[{}]", fmt::join(items, ", "));
    }
    static std::string show(const std::vector<std::int64_t>& steps,
                            const StepRange&) {
        return fmt::format("[{}]", fmt::join(steps, ", "));
    }
    template <class Value>
    static std::string show(const Value& value, const TopologyKey& rule) {
        return rule.nothing != nullptr ? rule.nothing : show_part(value);
    }
    static std::string show_part(const Link& link) { return show_toml(link); }
    template <class Item>
    static std::string show_part(const std::vector<Item>& values) {
        std::vector<std::string> items;
        for (const Item& value : values) {
            items.push_back(show_toml(value));
        }
        return list(items);
    }

    static std::string list(const std::vector<std::string>& items) {
        if (items.size() < 2) {
            return fmt::format("[{}]", fmt::join(items, ""));
        }
        return fmt::format("[\n    {},\n]", fmt::join(items, ",\n    "));
    }

    std::string toml_;
};

}  // namespace

std::string to_toml(const RunInput& input) {
    TomlWriter writer;
    detail::visit_keys(input, writer);
    return writer.take();
}

}  // namespace fusionllm
