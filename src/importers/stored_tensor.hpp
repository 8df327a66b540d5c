#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/importers/weight_source.hpp"
#include "fusionllm/importers/zip_archive.hpp"
#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm::detail {

//! A tensor as a view of a storage: counts and places in elements.
struct StoredTensor {
    std::string storage;  //!< entry of the archive
    TensorType type;
    std::vector<std::int64_t> strides;
    std::int64_t offset = 0;
    std::int64_t storage_elements = 0;  //!< 0: all that there are

    friend bool operator==(const StoredTensor&, const StoredTensor&) = default;
};

using StoredTensors = std::vector<std::pair<std::string, StoredTensor>>;

/*!
 * Throws `InputError` for negative or enormous sizes, and for a tensor that
 * reaches outside its storage.
 */
void check_stored(const std::string& name, const StoredTensor& tensor);

//! The tensor's place in the file of the archive whose `entry` is its storage;
//! throws `InputError` as `check_stored`, and if the entry is too short.
WeightLocation locate_stored(const std::string& name,
                             const StoredTensor& tensor,
                             const std::string& entry,
                             const ZipArchive& archive);

//! "torch.FloatStorage" and "torch.float32" alike; throws for other types.
DType parse_torch_dtype(const std::string& name);

}  // namespace fusionllm::detail
