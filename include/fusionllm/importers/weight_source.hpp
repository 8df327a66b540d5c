#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! Where a tensor lies in a file, as a view of a storage.
struct WeightLocation {
    TensorType type;
    std::vector<std::int64_t> strides;  //!< in elements
    std::int64_t offset = 0;            //!< in elements, from the storage
    std::uint64_t storage_offset = 0;   //!< in bytes, from the file's begin
    std::uint64_t storage_bytes = 0;
    std::uint32_t storage_crc = 0;

    friend bool operator==(const WeightLocation&,
                           const WeightLocation&) = default;
};

/*!
 * The tensors of an imported model, by the model's own names, read one by one
 * when they are wanted.
 *
 * Memory: the directory, and while a tensor is loaded its own bytes, twice if
 * it does not lie in row-major order. Two names may be one tensor.
 */
class WeightSource {
public:
    WeightSource(std::filesystem::path file,
                 std::map<std::string, WeightLocation> locations)
        : file_(std::move(file)), locations_(std::move(locations)) {}

    bool has(const std::string& name) const {
        return locations_.contains(name);
    }
    //! Ascending.
    std::vector<std::string> names() const;
    //! Throws `InputError` with the nearest right name.
    const WeightLocation& location(const std::string& name) const;
    const TensorType& type(const std::string& name) const {
        return location(name).type;
    }
    //! Row-major. Throws `InputError` if the file changed or is damaged.
    HostTensor load(const std::string& name) const;

private:
    std::filesystem::path file_;
    std::map<std::string, WeightLocation> locations_;
};

}  // namespace fusionllm
