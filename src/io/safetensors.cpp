#include "fusionllm/io/safetensors.hpp"

#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/file_beside.hpp"
#include "fusionllm/util/text.hpp"

#include "safetensors_header.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little);

constexpr std::uint64_t length_bytes = 8;
// What the format's own readers take.
constexpr std::uint64_t max_header_bytes = 100'000'000;

std::string read_header(const fs::path& file) {
    std::error_code error;
    const std::uint64_t size = fs::file_size(file, error);
    FUSIONLLM_VALIDATE(
        !error, "cannot read '{}': {}", file.string(), error.message());
    std::uint64_t length = 0;
    if (size >= length_bytes) {
        read_file_part(file, 0, std::as_writable_bytes(std::span(&length, 1)));
    }
    FUSIONLLM_VALIDATE(
        length > 1 && length <= max_header_bytes &&
            length <= size - length_bytes,
        "'{}' is no safetensors file: it does not begin with the length of a "
        "header",
        file.string());
    std::string header(length, '\0');
    read_file_part(
        file, length_bytes, std::as_writable_bytes(std::span(header)));
    return header;
}

}  // namespace

SafetensorsReader::SafetensorsReader(fs::path file) : file_(std::move(file)) {
    const std::string header = read_header(file_);
    const std::uint64_t begin = length_bytes + header.size();
    const std::uint64_t room = fs::file_size(file_) - begin;
    try {
        for (auto& [name, found] : detail::parse_safetensors_header(header)) {
            FUSIONLLM_VALIDATE(
                found.begin <= found.end && found.end <= room &&
                    found.end - found.begin == num_bytes(found.type),
                "the tensor '{}' does not lie where the header says",
                name);
            places_[name] = {std::move(found.type), begin + found.begin};
        }
    } catch (const InputError& error) {
        throw InputError(
            fmt::format("'{}' is no safetensors file, or damaged: {}",
                        file_.string(),
                        error.what()));
    }
}

std::vector<std::string> SafetensorsReader::names() const {
    std::vector<std::string> names;
    for (const auto& [name, place] : places_) {
        names.push_back(name);
    }
    return names;
}

const SafetensorsReader::Place& SafetensorsReader::place(
    const std::string& name) const {
    const auto found = places_.find(name);
    FUSIONLLM_VALIDATE(found != places_.end(),
                       "'{}' holds no tensor '{}'{}",
                       file_.string(),
                       name,
                       did_you_mean(name, names()));
    return found->second;
}

const TensorType& SafetensorsReader::type(const std::string& name) const {
    return place(name).type;
}

HostTensor SafetensorsReader::read(const std::string& name) const {
    const Place& found = place(name);
    HostTensor tensor{found.type, {}};
    tensor.bytes.resize(num_bytes(found.type));
    read_file_part(file_, found.begin, tensor.bytes);
    return tensor;
}

void write_safetensors(
    const fs::path& file,
    const std::vector<TensorEntry>& entries,
    const std::map<std::string, std::string>& metadata,
    const std::function<HostTensor(const std::string&)>& load) {
    const std::string header =
        detail::make_safetensors_header(entries, metadata);
    const std::uint64_t length = header.size();
    FileBeside out(file);
    out.append(std::as_bytes(std::span(&length, 1)));
    out.append(std::as_bytes(std::span(header)));
    for (const TensorEntry& entry : entries) {
        const HostTensor tensor = load(entry.name);
        FUSIONLLM_EXPECTS(tensor.type == entry.type);
        out.append(tensor.bytes);
    }
    out.commit();
}

}  // namespace fusionllm
