#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm::detail {

//! Put bare infinities and NaN, which Python writes and JSON does not know,
//! into quotes.
std::string quote_special_numbers(const std::string& source);

//! By PyTorch's numbers of its export schema; none for types not known here.
std::optional<DType> dtype_of(std::int64_t code);

//! Throws `InputError` for negative or enormous sizes.
void check_sizes(const std::string& name,
                 const std::vector<std::int64_t>& sizes);

//! The last frame of a Python stack trace on one line, or an empty text.
std::string source_line(const std::string& trace);

//! "h.0.attn" from "L__self__,,m.Net;L__self___h_0_attn,h.0.attn,m.Attn".
std::string module_path(const std::string& stack);

}  // namespace fusionllm::detail
