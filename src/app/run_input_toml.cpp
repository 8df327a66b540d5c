#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "app/run_input_check.hpp"
#include "app/run_input_keys.hpp"
#include "app/run_input_names.hpp"
#include "app/toml_value.hpp"
#include "app/topology_toml.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;
using detail::IntegerRange;
using detail::NumberRange;
using detail::TomlValue;

//! An input as TOML, with the places that its values come from.
class Document {
public:
    Document(const std::string& text,
             const fs::path& file,
             const std::vector<std::string>& overrides)
        : file_(file.string()), root_(detail::parse_toml(text, file_)) {
        check_names();
        for (const std::string& override : overrides) {
            apply(override);
        }
    }

    const TomlValue* find(std::string_view section,
                          std::string_view key) const {
        const auto override = overrides_.find(detail::dotted(section, key));
        if (override != overrides_.end()) {
            return &override->second;
        }
        const TomlValue* table = root_.find(section);
        return table == nullptr ? nullptr : table->find(key);
    }

    //! "x.toml:12", "--set a.b=c", or "x.toml" for what is not there.
    std::string place(std::string_view section, std::string_view key) const {
        const TomlValue* value = find(section, key);
        return value == nullptr ? file_ : value->place;
    }

    //! The section is in the file, or a key of it is set.
    bool has_section(const std::string& name) const {
        const auto override = overrides_.lower_bound(name + '.');
        return root_.find(name) != nullptr ||
               (override != overrides_.end() &&
                override->first.starts_with(name + '.'));
    }

    bool is_override(std::string_view section, std::string_view key) const {
        return overrides_.contains(detail::dotted(section, key));
    }

private:
    void check_names() const {
        for (const auto& [name, here, value] : *root_.get<TomlValue::Table>()) {
            const auto* section = value.get<TomlValue::Table>();
            FUSIONLLM_VALIDATE(
                section != nullptr || known_.has_section(name),
                "{}: the key '{}' is in no section; put it under one of [{}]",
                here,
                name,
                fmt::join(known_.sections(), "], ["));
            known_.check_section(name, here);
            FUSIONLLM_VALIDATE(section != nullptr,
                               "{}: '{}' must be a section, written [{}], not "
                               "{}",
                               here,
                               name,
                               name,
                               describe(value));
            for (const detail::TomlEntry& entry : *section) {
                known_.check_key(name, entry.key, entry.place);
            }
        }
    }

    void apply(const std::string& override) {
        const std::string given = "--set " + override;
        const auto [section, key, value] =
            detail::parse_setting(override, given);
        known_.check_section(section, given);
        known_.check_key(section, key, given);
        overrides_.insert_or_assign(detail::dotted(section, key),
                                    detail::parse_setting_value(value, given));
    }

    detail::KnownKeys known_;
    std::string file_;
    TomlValue root_;
    std::map<std::string, TomlValue> overrides_;
};

//! The topology of a file, in place of what the section would say.
TopologySpec load_topology(const fs::path& file,
                           const std::optional<std::string>& other_key,
                           const std::string& place) {
    FUSIONLLM_VALIDATE(!other_key,
                       "{}: 'file' in [topology] and '{}' are both given; "
                       "keep one of them",
                       place,
                       other_key.value_or(""));
    FUSIONLLM_VALIDATE(fs::exists(file),
                       "{}: 'file' in [topology] names '{}', which does not "
                       "exist; paths are relative to the input file",
                       place,
                       file.string());
    return load_topology_spec(file);
}

//! Fills an input from a document; what is not there keeps its default.
class InputReader {
public:
    InputReader(const Document& document, const fs::path& file)
        : document_(document),
          folder_(fs::absolute(file).parent_path()),
          topology_(folder_, " in [topology]") {}

    void section(const char* name, const char*) { section_ = name; }

    template <class Value, class Rule>
    void key(const char* name, Value& value, const Rule& rule, const char*) {
        key_ = name;
        if (const TomlValue* given = document_.find(section_, key_)) {
            read(*given, value, rule);
        }
    }

    //! Once all keys are read.
    TopologySpec take_topology(const fs::path& file) {
        return file.empty()
                   ? topology_.finish()
                   : load_topology(file,
                                   topology_.first_key(),
                                   document_.place("topology", "file"));
    }

private:
    void expect(bool condition,
                const std::string& kind,
                const TomlValue& given) const {
        FUSIONLLM_VALIDATE(condition,
                           "{}: '{}' in [{}] must be {}, not {}",
                           given.place,
                           key_,
                           section_,
                           kind,
                           describe(given));
    }

    //! The value as a type that it must have.
    template <class Type>
    const Type& get(const TomlValue& given, const char* kind) const {
        expect(given.get<Type>() != nullptr, kind, given);
        return *given.get<Type>();
    }

    void read(const TomlValue& given,
              std::int64_t& value,
              const IntegerRange& range) const {
        value = get<std::int64_t>(given, "an integer");
        expect(value >= range.min && value <= range.max, to_text(range), given);
    }

    void read(const TomlValue& given,
              double& value,
              const NumberRange& range) const {
        const auto* integer = given.get<std::int64_t>();
        value = integer != nullptr ? static_cast<double>(*integer)
                                   : get<double>(given, "a number");
        expect(std::isfinite(value), "a finite number", given);
        expect(range.contains(value), range.text, given);
    }

    void read(const TomlValue& given, bool& value, const detail::Any&) const {
        value = get<bool>(given, "true or false");
    }

    void read(const TomlValue& given,
              std::string& value,
              const detail::Any&) const {
        value = get<std::string>(given, "a text in quotes");
    }

    void read(const TomlValue& given,
              std::string& value,
              const detail::Choices& choices) const {
        const auto* text = given.get<std::string>();
        expect(text != nullptr && std::ranges::find(choices.words, *text) !=
                                      choices.words.end(),
               to_text(choices),
               given);
        value = *text;
    }

    void read(const TomlValue& given,
              bool& value,
              const detail::Choices& choices) const {
        std::string word;
        read(given, word, choices);
        value = word == choices.words[1];
    }

    void read(const TomlValue& given,
              ResnetStem& value,
              const detail::Choices& choices) const {
        std::string word;
        read(given, word, choices);
        value =
            word == choices.words[0] ? ResnetStem::imagenet : ResnetStem::cifar;
    }

    void read(const TomlValue& given,
              fs::path& value,
              const detail::Any&) const {
        const fs::path path = get<std::string>(given, "a path in quotes");
        value = path.empty() ? path : (folder_ / path).lexically_normal();
    }

    void read(const TomlValue& given,
              std::vector<fs::path>& value,
              const detail::Any& any) const {
        read_list(given, "a path in quotes or a list of them", value, any);
    }

    void read(const TomlValue& given,
              std::vector<std::string>& value,
              const detail::Any& any) const {
        read_list(given, "a text in quotes or a list of them", value, any);
    }

    //! One alone is a list, too.
    template <class T>
    void read_list(const TomlValue& given,
                   const char* what,
                   std::vector<T>& value,
                   const detail::Any& any) const {
        value.clear();
        if (given.get<std::string>() != nullptr) {
            read(given, value.emplace_back(), any);
            return;
        }
        for (const TomlValue& item : get<TomlValue::List>(given, what)) {
            read(item, value.emplace_back(), any);
        }
    }

    void read(const TomlValue& given,
              std::vector<double>& value,
              const detail::Any&) const {
        const char* kind = "a number or a list of them";
        const detail::NumberRange any{"", [](double) { return true; }};
        value.clear();
        if (given.get<TomlValue::List>() == nullptr) {
            expect(given.get<double>() != nullptr ||
                       given.get<std::int64_t>() != nullptr,
                   kind,
                   given);
            read(given, value.emplace_back(), any);
            return;
        }
        for (const TomlValue& item : get<TomlValue::List>(given, kind)) {
            read(item, value.emplace_back(), any);
        }
    }

    void read(const TomlValue& given,
              std::vector<std::int64_t>& value,
              const detail::StepRange&) const {
        const char* kind = "a last step or [first, last], counted from 1";
        value.clear();
        if (given.get<std::int64_t>() != nullptr) {
            value = {1, get<std::int64_t>(given, kind)};
        } else {
            for (const TomlValue& item : get<TomlValue::List>(given, kind)) {
                value.push_back(get<std::int64_t>(item, kind));
            }
        }
        expect(value.empty() ||
                   (value.size() == 2 && value[0] >= 1 && value[0] <= value[1]),
               kind,
               given);
    }

    template <class Value>
    void read(const TomlValue& given, Value&, const detail::TopologyKey&) {
        topology_.read(key_, given);
    }

    const Document& document_;
    fs::path folder_;
    detail::TopologyReader topology_;
    std::string section_;
    std::string key_;
};

/*!
 * Fill in the published sizes. A key that is given keeps its value, unless the
 * size is from --set and the key is not: then it is the size that was meant.
 */
void resolve_model(RunInput& input, const Document& document) {
    const TomlValue* size = document.find("model", "size");
    if (input.model_size.empty()) {
        return;
    }
    const auto keeps = [&](const char* key) {
        const TomlValue* given = document.find("model", key);
        return given != nullptr && (!document.is_override("model", "size") ||
                                    document.is_override("model", key));
    };
    try {
        if (input.model_kind == "resnet") {
            input.resnet.depth = parse_resnet_size(input.model_size);
            return;
        }
        const Gpt2Options published = published_gpt2(input.model_size);
        const auto fill = [&](const char* key, auto member) {
            if (!keeps(key)) {
                input.model.*member = published.*member;
            }
        };
        fill("layers", &Gpt2Options::layers);
        fill("width", &Gpt2Options::width);
        fill("heads", &Gpt2Options::heads);
        fill("context", &Gpt2Options::context);
        fill("vocabulary", &Gpt2Options::vocabulary);
    } catch (const InputError& error) {
        throw InputError(fmt::format("{}: 'size' in [model]: {}{}",
                                     size->place,
                                     error.what(),
                                     detail::other_kind_hint(input)));
    }
}

//! Fill in what follows from other keys.
void resolve(RunInput& input, const Document& document, const fs::path& file) {
    if (is_model_file(input.model_kind) &&
        document.find("train", "micro_batches") == nullptr) {
        input.micro_batches = 0;  // the file has their size
    }
    if (document.has_section("compression") &&
        document.find("compression", "rule") == nullptr) {
        input.compression.options.rule = "adaptive";
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
    input.topology.spec = reader.take_topology(input.topology.file);
    input.topology.file.clear();
    resolve_model(input, document);
    resolve(input, document, file);
    detail::check_run_input(input, place);
    if (files == Files::checked) {
        detail::check_files(input, place);
    }
    return input;
}

}  // namespace

bool is_model_file(const std::string& kind) {
    return kind == "pt2" || kind == "torchscript" || kind == "h5";
}

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
