#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "exported_program.hpp"

namespace fusionllm::detail {

//! What a sum adds to the counter of that name: a number, or, of a batch
//! norm's, the constant 1 of a trace; none if it is something else.
std::optional<std::int64_t> find_increment(const ExportedNode& node,
                                           const std::string& counter);

//! Whether the model gives this value back as the new one of a buffer.
bool is_new_buffer(const ExportedProgram& program, const std::string& value);

}  // namespace fusionllm::detail
