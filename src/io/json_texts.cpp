#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include <nlohmann/json.hpp>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"

#include "safetensors_header.hpp"

namespace fusionllm {
namespace {

using nlohmann::json;

constexpr const char* format_name = "fusionllm checkpoint";
constexpr std::uint64_t format_version = 1;

//! Many readers of JSON keep numbers as doubles, which end at 2^53.
std::string to_hex(std::uint64_t number) {
    return fmt::format("0x{:016x}", number);
}

//! Reads the keys of one manifest; its errors name the file and the key.
class ManifestReader {
public:
    ManifestReader(const json& root, const std::filesystem::path& file)
        : root_(root), file_(file) {}

    std::uint64_t number(const char* key) const {
        const json& value = get(key);
        expect(value.is_number_unsigned(), key, "a whole number");
        return value.get<std::uint64_t>();
    }

    std::uint64_t hex(const char* key) const {
        const std::string digits = text(key);
        std::uint64_t number = 0;
        const char* end = digits.data() + digits.size();
        const bool has_prefix = digits.starts_with("0x") && digits.size() > 2;
        const auto result = std::from_chars(
            digits.data() + (has_prefix ? 2 : 0), end, number, 16);
        expect(has_prefix && result.ec == std::errc{} && result.ptr == end,
               key,
               "a text like \"0x0123456789abcdef\"");
        return number;
    }

    std::string text(const char* key) const {
        const json& value = get(key);
        expect(value.is_string(), key, "a text");
        return value.get<std::string>();
    }

    std::map<std::string, std::string> texts(const char* key) const {
        const json& value = get(key);
        expect(value.is_object(), key, "an object of texts");
        std::map<std::string, std::string> texts;
        for (const auto& [name, item] : value.items()) {
            expect(item.is_string(), key, "an object of texts");
            texts[name] = item.get<std::string>();
        }
        return texts;
    }

private:
    const json& get(const char* key) const {
        FUSIONLLM_VALIDATE(root_.contains(key),
                           "the manifest '{}' has no key '{}'; the checkpoint "
                           "cannot be used, take another one",
                           file_.string(),
                           key);
        return root_.at(key);
    }

    void expect(bool condition, const char* key, const char* kind) const {
        FUSIONLLM_VALIDATE(condition,
                           "the manifest '{}' is damaged: '{}' is {}, not {}",
                           file_.string(),
                           key,
                           root_.at(key).dump(),
                           kind);
    }

    const json& root_;
    const std::filesystem::path& file_;
};

json parse_json(const std::string& text, const std::filesystem::path& file) {
    try {
        return json::parse(text);
    } catch (const json::exception& error) {
        throw InputError(fmt::format(
            "the manifest '{}' is damaged: {}", file.string(), error.what()));
    }
}

}  // namespace

std::string to_json(const CheckpointManifest& manifest) {
    const nlohmann::ordered_json root = {
        {"format", format_name},
        {"version", format_version},
        {"step", manifest.step},
        {"seed", to_hex(manifest.seed)},
        {"graph_hash", to_hex(manifest.graph_hash)},
        {"data_hash", to_hex(manifest.data_hash)},
        {"samples", manifest.samples},
        {"micro_batches", manifest.micro_batches},
        {"save_id", to_hex(manifest.save_id)},
        {"optimizer", manifest.optimizer},
        {"plan", manifest.plan},
        {"input", manifest.input},
        {"versions", manifest.versions},
        {"tensors", manifest.tensors}};
    // A path in `input` may be no UTF-8: that must not cost the checkpoint.
    return root.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
}

CheckpointManifest parse_manifest(const std::string& text,
                                  const std::filesystem::path& file) {
    const json root = parse_json(text, file);
    FUSIONLLM_VALIDATE(
        root.is_object() && root.value("format", json()) == format_name,
        "'{}' is not the manifest of a checkpoint: it has no \"format\": "
        "\"{}\"",
        file.string(),
        format_name);
    const ManifestReader reader(root, file);
    const std::uint64_t version = reader.number("version");
    FUSIONLLM_VALIDATE(version == format_version,
                       "the manifest '{}' has version {}, but this program "
                       "reads version {}; use the program that wrote it",
                       file.string(),
                       version,
                       format_version);
    CheckpointManifest manifest;
    manifest.step = reader.number("step");
    manifest.seed = reader.hex("seed");
    manifest.graph_hash = reader.hex("graph_hash");
    manifest.data_hash = reader.hex("data_hash");
    manifest.samples = reader.number("samples");
    manifest.micro_batches = reader.number("micro_batches");
    manifest.save_id = root.contains("save_id") ? reader.hex("save_id") : 0;
    manifest.optimizer = reader.text("optimizer");
    manifest.plan = reader.text("plan");
    manifest.input = reader.text("input");
    manifest.versions = reader.texts("versions");
    manifest.tensors = reader.texts("tensors");
    return manifest;
}

namespace detail {
namespace {

constexpr const char* metadata_key = "__metadata__";

//! "F32", as safetensors spells it; ours is "f32".
std::string to_safetensors(DType dtype) {
    FUSIONLLM_VALIDATE(dtype != DType::c128,
                       "safetensors has no complex numbers of 128 bits; write "
                       "the model with --format h5");
    std::string text(to_text(dtype));
    std::ranges::transform(text, text.begin(), [](unsigned char c) {
        return static_cast<char>(std::toupper(c));
    });
    return text;
}

DType parse_safetensors_dtype(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    return parse_dtype(text);
}

SafetensorsPlace parse_place(const std::string& name, const json& entry) {
    const auto sizes = entry.at("shape").get<std::vector<std::uint64_t>>();
    const auto offsets =
        entry.at("data_offsets").get<std::array<std::uint64_t, 2>>();
    SafetensorsPlace place{
        {parse_safetensors_dtype(entry.at("dtype").get<std::string>()), {}},
        offsets[0],
        offsets[1]};
    std::uint64_t elements = 1;
    for (const std::uint64_t size : sizes) {
        constexpr std::uint64_t most = 1ull << 48;
        FUSIONLLM_VALIDATE(
            size <= most && (size == 0 || elements <= most / size),
            "the tensor '{}' has absurd sizes",
            name);
        elements *= size;
        place.type.sizes.push_back(static_cast<std::int64_t>(size));
    }
    return place;
}

}  // namespace

std::map<std::string, SafetensorsPlace> parse_safetensors_header(
    const std::string& text) {
    std::map<std::string, SafetensorsPlace> places;
    try {
        const json header = json::parse(text);
        for (const auto& [name, entry] :
             header.get_ref<const json::object_t&>()) {
            if (name != metadata_key) {
                places[name] = parse_place(name, entry);
            }
        }
    } catch (const json::exception& error) {
        throw InputError(error.what());
    }
    return places;
}

std::string make_safetensors_header(
    const std::vector<TensorEntry>& entries,
    const std::map<std::string, std::string>& metadata) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) {
        header[metadata_key] = metadata;
    }
    std::uint64_t begin = 0;
    for (const TensorEntry& entry : entries) {
        const std::uint64_t end = begin + num_bytes(entry.type);
        header[entry.name] = {{"dtype", to_safetensors(entry.type.dtype)},
                              {"shape", entry.type.sizes},
                              {"data_offsets", {begin, end}}};
        begin = end;
    }
    std::string text =
        header.dump(-1, ' ', false, json::error_handler_t::replace);
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
}

}  // namespace detail

}  // namespace fusionllm
