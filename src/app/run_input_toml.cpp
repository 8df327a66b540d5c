#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include <toml++/toml.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

#include "app/run_input_check.hpp"
#include "app/run_input_keys.hpp"
#include "app/run_input_names.hpp"
#include "app/toml_text.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;
using detail::IntegerRange;
using detail::NumberRange;

//! Parse TOML; a syntax error becomes "x.toml:3:7: ...".
toml::table parse_toml(const std::string& text, const std::string& file) {
    try {
        return toml::parse(text, file);
    } catch (const toml::parse_error& error) {
        throw InputError(fmt::format("{}:{}:{}: {}",
                                     file,
                                     error.source().begin.line,
                                     error.source().begin.column,
                                     error.description()));
    }
}

//! A value as a message shows it.
std::string describe(const toml::node& node) {
    if (const auto* text = node.as_string()) {
        return detail::toml_string(text->get());
    }
    if (const auto* number = node.as_integer()) {
        return std::to_string(number->get());
    }
    if (const auto* number = node.as_floating_point()) {
        return detail::toml_float(number->get());
    }
    if (const auto* truth = node.as_boolean()) {
        return truth->get() ? "true" : "false";
    }
    return node.is_table()   ? "a table"
           : node.is_array() ? "a list"
                             : "a date or time";
}

//! A table whose "value" is the value; a bare word is a string.
toml::table parse_override_value(const std::string& value,
                                 const std::string& given) {
    toml::table holder;
    try {
        holder = toml::parse("value = " + value);
    } catch (const toml::parse_error& error) {
        const bool is_bare = value.find_first_of("\"'[{") != 0 &&
                             value.find('\n') == std::string::npos;
        FUSIONLLM_VALIDATE(is_bare, "{}: {}", given, error.description());
        holder.insert("value", value);
    }
    FUSIONLLM_VALIDATE(
        holder.size() == 1, "{}: give one value, in one line", given);
    return holder;
}

//! An input as TOML, with the places that its values come from.
class Document {
public:
    Document(const std::string& text,
             const fs::path& file,
             const std::vector<std::string>& overrides)
        : file_(file.string()), root_(parse_toml(text, file_)) {
        check_names();
        for (const std::string& override : overrides) {
            apply(override);
        }
    }

    const toml::node* find(std::string_view section,
                           std::string_view key) const {
        const toml::table* table = root_[section].as_table();
        return table == nullptr ? nullptr : table->get(key);
    }

    //! "x.toml:12", "--set a.b=c", or "x.toml" for what is not there.
    std::string place(std::string_view section, std::string_view key) const {
        const auto override = overrides_.find(detail::dotted(section, key));
        if (override != overrides_.end()) {
            return override->second;
        }
        const toml::node* node = find(section, key);
        return node == nullptr ? file_ : place(node->source());
    }

    //! Of a part of the value of a key.
    std::string place(std::string_view section,
                      std::string_view key,
                      const toml::node& part) const {
        return overrides_.contains(detail::dotted(section, key))
                   ? place(section, key)
                   : place(part.source());
    }

private:
    std::string place(const toml::source_region& source) const {
        return fmt::format("{}:{}", file_, source.begin.line);
    }

    void check_names() const {
        for (const auto& [name, node] : root_) {
            const std::string here = place(name.source());
            FUSIONLLM_VALIDATE(
                node.is_table() || known_.has_section(name.str()),
                "{}: the key '{}' is in no section; put it under one of [{}]",
                here,
                name.str(),
                fmt::join(known_.sections(), "], ["));
            known_.check_section(name.str(), here);
            FUSIONLLM_VALIDATE(node.is_table(),
                               "{}: '{}' must be a section, written [{}], not "
                               "{}",
                               here,
                               name.str(),
                               name.str(),
                               describe(node));
            for (const auto& [key, value] : *node.as_table()) {
                known_.check_key(name.str(), key.str(), place(key.source()));
            }
        }
    }

    void apply(const std::string& override) {
        const std::string given = "--set " + override;
        const auto [section, key, value] =
            detail::parse_setting(override, given);
        known_.check_section(section, given);
        known_.check_key(section, key, given);
        const toml::table holder = parse_override_value(value, given);
        root_.insert(section, toml::table{});
        root_[section].as_table()->insert_or_assign(key, *holder.get("value"));
        overrides_[detail::dotted(section, key)] = given;
    }

    detail::KnownKeys known_;
    std::string file_;
    toml::table root_;
    std::map<std::string, std::string> overrides_;
};

/*!
 * The sites of a list of {name, ranks}. `what` names the list in messages,
 * `place` finds the line of a part of it.
 */
std::vector<SiteSpec> parse_sites(
    const toml::node& node,
    const std::string& what,
    const std::function<std::string(const toml::node&)>& place) {
    constexpr int max_ranks = 1'000'000;
    const auto expect = [&](bool condition, const toml::node& part) {
        FUSIONLLM_VALIDATE(condition,
                           "{}: {} must be a list of sites like {{name = "
                           "\"lyon\", ranks = 2}} with 1 to {} ranks, not {}",
                           place(part),
                           what,
                           max_ranks,
                           describe(part));
    };
    expect(node.is_array(), node);
    std::vector<SiteSpec> sites;
    for (const toml::node& item : *node.as_array()) {
        expect(item.is_table(), item);
        const toml::table& site = *item.as_table();
        for (const auto& [key, value] : site) {
            FUSIONLLM_VALIDATE(key == "name" || key == "ranks",
                               "{}: unknown key '{}' of a site in {}{}",
                               place(value),
                               key.str(),
                               what,
                               did_you_mean(key.str(), {"name", "ranks"}));
        }
        FUSIONLLM_VALIDATE(site.contains("name") && site.contains("ranks"),
                           "{}: a site in {} needs 'name' and 'ranks'",
                           place(item),
                           what);
        expect(site["name"].is_string(), *site.get("name"));
        const auto ranks = site["ranks"].value_exact<std::int64_t>();
        expect(ranks && *ranks >= 1 && *ranks <= max_ranks, *site.get("ranks"));
        sites.push_back(
            {*site["name"].value<std::string>(), static_cast<int>(*ranks)});
    }
    return sites;
}

//! Fills an input from a document; what is not there keeps its default.
class InputReader {
public:
    InputReader(const Document& document, const fs::path& file)
        : document_(document), folder_(fs::absolute(file).parent_path()) {}

    void section(const char* name, const char*) { section_ = name; }

    template <class Value, class Rule>
    void key(const char* name, Value& value, const Rule& rule, const char*) {
        key_ = name;
        if (const toml::node* node = document_.find(section_, key_)) {
            read(*node, value, rule);
        }
    }

private:
    void expect(bool condition,
                const std::string& kind,
                const toml::node& node) const {
        FUSIONLLM_VALIDATE(condition,
                           "{}: '{}' in [{}] must be {}, not {}",
                           document_.place(section_, key_, node),
                           key_,
                           section_,
                           kind,
                           describe(node));
    }

    void read(const toml::node& node,
              std::int64_t& value,
              const IntegerRange& range) const {
        expect(node.is_integer(), "an integer", node);
        value = node.as_integer()->get();
        expect(value >= range.min && value <= range.max, to_text(range), node);
    }

    void read(const toml::node& node,
              double& value,
              const NumberRange& range) const {
        expect(node.is_number(), "a number", node);
        value = node.is_integer()
                    ? static_cast<double>(node.as_integer()->get())
                    : node.as_floating_point()->get();
        expect(std::isfinite(value), "a finite number", node);
        expect(range.contains(value), range.text, node);
    }

    void read(const toml::node& node, bool& value, const detail::Any&) const {
        expect(node.is_boolean(), "true or false", node);
        value = node.as_boolean()->get();
    }

    void read(const toml::node& node,
              std::string& value,
              const detail::Any&) const {
        expect(node.is_string(), "a text in quotes", node);
        value = node.as_string()->get();
    }

    void read(const toml::node& node,
              std::string& value,
              const detail::Choices& choices) const {
        const auto text = node.value_exact<std::string>();
        expect(text && std::ranges::find(choices.words, *text) !=
                           choices.words.end(),
               to_text(choices),
               node);
        value = *text;
    }

    void read(const toml::node& node,
              bool& value,
              const detail::Choices& choices) const {
        std::string word;
        read(node, word, choices);
        value = word == choices.words[1];
    }

    void read(const toml::node& node,
              fs::path& value,
              const detail::Any&) const {
        expect(node.is_string(), "a path in quotes", node);
        const fs::path path = node.as_string()->get();
        value = path.empty() ? path : (folder_ / path).lexically_normal();
    }

    void read(const toml::node& node,
              std::vector<fs::path>& value,
              const detail::Any& any) const {
        value.clear();
        if (node.is_string()) {
            read(node, value.emplace_back(), any);
            return;
        }
        expect(node.is_array(), "a path in quotes or a list of them", node);
        for (const toml::node& item : *node.as_array()) {
            read(item, value.emplace_back(), any);
        }
    }

    void read(const toml::node& node,
              std::vector<SiteSpec>& value,
              const detail::Any&) const {
        value = parse_sites(node,
                            fmt::format("'{}' in [{}]", key_, section_),
                            [&](const toml::node& part) {
                                return document_.place(section_, key_, part);
                            });
    }

    const Document& document_;
    fs::path folder_;
    std::string section_;
    std::string key_;
};

//! The sites of a topology file, which has the one key `sites`.
std::vector<SiteSpec> load_sites(const fs::path& file,
                                 const std::string& place) {
    FUSIONLLM_VALIDATE(fs::exists(file),
                       "{}: 'file' in [topology] names '{}', which does not "
                       "exist; paths are relative to the input file",
                       place,
                       file.string());
    const toml::table root = parse_toml(read_file(file), file.string());
    for (const auto& [key, node] : root) {
        FUSIONLLM_VALIDATE(key == "sites",
                           "{}:{}: unknown key '{}' in a topology{}",
                           file.string(),
                           key.source().begin.line,
                           key.str(),
                           did_you_mean(key.str(), {"sites"}));
    }
    FUSIONLLM_VALIDATE(root.contains("sites"),
                       "{}: a topology needs the key 'sites'",
                       file.string());
    return parse_sites(
        *root.get("sites"), "'sites'", [&](const toml::node& part) {
            return fmt::format(
                "{}:{}", file.string(), part.source().begin.line);
        });
}

//! Fill in what follows from other keys.
void resolve(RunInput& input, const Document& document, const fs::path& file) {
    TopologySection& topology = input.topology;
    if (!topology.file.empty()) {
        const std::string place = document.place("topology", "file");
        FUSIONLLM_VALIDATE(topology.sites.empty(),
                           "{}: 'file' in [topology] and 'sites' are both "
                           "given; keep one of them",
                           place);
        topology.sites = load_sites(topology.file, place);
        topology.file.clear();
    }
    if (input.run.output.empty()) {
        input.run.output =
            fs::absolute(file).parent_path() / ("out-" + input.run.name);
    }
    input.train.seed = static_cast<std::uint64_t>(input.run.seed);
    input.train.output = input.run.output;
}

enum class Files { unchecked, checked };

RunInput read_input(const std::string& text,
                    const fs::path& file,
                    const std::vector<std::string>& overrides,
                    Files files) {
    const Document document(text, file, overrides);
    const auto place = [&](std::string_view section, std::string_view key) {
        return document.place(section, key);
    };
    RunInput input;
    InputReader reader(document, file);
    detail::visit_keys(input, reader);
    resolve(input, document, file);
    detail::check_run_input(input, place);
    if (files == Files::checked) {
        detail::check_files(input, place);
    }
    return input;
}

}  // namespace

RunInput load_run_input(const fs::path& file,
                        const std::vector<std::string>& overrides) {
    return read_input(read_file(file), file, overrides, Files::checked);
}

RunInput parse_run_input(const std::string& text,
                         const fs::path& file,
                         const std::vector<std::string>& overrides) {
    return read_input(text, file, overrides, Files::unchecked);
}

}  // namespace fusionllm
