#pragma once

#include <string>
#include <string_view>

#include "script_source.hpp"

namespace fusionllm::detail {

//! The expression that is all of the text; `where` begins messages. Throws
//! `InputError`.
ScriptPart parse_expression(std::string_view text, const std::string& where);

}  // namespace fusionllm::detail
