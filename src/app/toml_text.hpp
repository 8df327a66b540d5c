#pragma once

#include <string>
#include <string_view>

namespace fusionllm::detail {

//! A TOML basic string, with quotes.
std::string toml_string(std::string_view text);

//! The shortest TOML float that reads back as the same number: "1.0", "1e-08".
std::string toml_float(double number);

}  // namespace fusionllm::detail
