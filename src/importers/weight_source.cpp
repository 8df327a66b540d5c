#include "fusionllm/importers/weight_source.hpp"

#include <cstring>
#include <span>

#include "fusionllm/importers/zip_archive.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

bool is_row_major(const WeightLocation& weight) {
    std::int64_t expected = 1;
    for (std::size_t i = weight.strides.size(); i-- > 0;) {
        const std::int64_t size = weight.type.sizes[i];
        if (size != 1 && weight.strides[i] != expected) {
            return false;
        }
        expected *= size;
    }
    return true;
}

//! First and last element that the view reaches, as a range of the storage.
std::pair<std::uint64_t, std::uint64_t> element_range(
    const WeightLocation& weight) {
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < weight.strides.size(); ++i) {
        if (weight.type.sizes[i] == 0) {
            return {0, 0};
        }
        last += static_cast<std::uint64_t>(weight.type.sizes[i] - 1) *
                static_cast<std::uint64_t>(weight.strides[i]);
    }
    const auto begin = static_cast<std::uint64_t>(weight.offset);
    return {begin, begin + last + 1};
}

std::vector<std::byte> gather(const WeightLocation& weight,
                              const std::vector<std::byte>& source) {
    const std::size_t element = size_bytes(weight.type.dtype);
    std::vector<std::byte> result(num_bytes(weight.type));
    std::vector<std::int64_t> index(weight.strides.size(), 0);
    std::int64_t from = 0;
    for (std::size_t to = 0; to < result.size(); to += element) {
        std::memcpy(&result[to],
                    &source[static_cast<std::size_t>(from) * element],
                    element);
        for (std::size_t i = index.size(); i-- > 0;) {
            from += weight.strides[i];
            if (++index[i] < weight.type.sizes[i]) {
                break;
            }
            from -= index[i] * weight.strides[i];
            index[i] = 0;
        }
    }
    return result;
}

}  // namespace

std::vector<std::string> WeightSource::names() const {
    std::vector<std::string> names;
    for (const auto& [name, location] : locations_) {
        names.push_back(name);
    }
    return names;
}

const WeightLocation& WeightSource::location(const std::string& name) const {
    const auto found = locations_.find(name);
    FUSIONLLM_VALIDATE(found != locations_.end(),
                       "'{}' holds no tensor '{}'{}",
                       file_.string(),
                       name,
                       did_you_mean(name, names()));
    return found->second;
}

HostTensor WeightSource::load(const std::string& name) const {
    const WeightLocation& weight = location(name);
    const std::size_t element = size_bytes(weight.type.dtype);
    const auto [begin, end] = element_range(weight);
    FUSIONLLM_VALIDATE(end * element <= weight.storage_bytes,
                       "the tensor '{}' of '{}' reaches outside its storage; "
                       "the file is damaged",
                       name,
                       file_.string());
    std::vector<std::byte> bytes((end - begin) * element);
    if (bytes.empty()) {
        return {weight.type, {}};
    }
    read_file_part(file_, weight.storage_offset + begin * element, bytes);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                                bytes.size());
    // A part of a storage has no checksum of its own.
    FUSIONLLM_VALIDATE(bytes.size() != weight.storage_bytes ||
                           crc32(text) == weight.storage_crc,
                       "the tensor '{}' of '{}' does not have its checksum; "
                       "the file is damaged, copy or make it again",
                       name,
                       file_.string());
    if (is_row_major(weight)) {
        return {weight.type, std::move(bytes)};
    }
    return {weight.type, gather(weight, bytes)};
}

}  // namespace fusionllm
