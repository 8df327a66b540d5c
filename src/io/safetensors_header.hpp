#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fusionllm/io/tensor_entry.hpp"

namespace fusionllm::detail {

//! What the header of a safetensors file says of a tensor.
struct SafetensorsPlace {
    TensorType type;
    std::uint64_t begin = 0;  //!< from the end of the header
    std::uint64_t end = 0;
};

//! Throws `InputError` without the name of the file.
std::map<std::string, SafetensorsPlace> parse_safetensors_header(
    const std::string& json);

//! Tensors one behind the other; padded with blanks to a multiple of 8 bytes.
std::string make_safetensors_header(
    const std::vector<TensorEntry>& entries,
    const std::map<std::string, std::string>& metadata);

}  // namespace fusionllm::detail
