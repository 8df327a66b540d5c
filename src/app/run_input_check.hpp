#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "app/run_input.hpp"

namespace fusionllm::detail {

//! Where a key was given: "x.toml:12", "--set a.b=c", or the file if nowhere.
using FindPlace =
    std::function<std::string(std::string_view section, std::string_view key)>;

//! What no key can say alone; throws `InputError` that starts with the place.
void check_run_input(const RunInput& input, const FindPlace& place);

//! "; it is of kind = \"resnet\"" if the model's size is one of another kind.
std::string other_kind_hint(const RunInput& input);

//! Data and plan files exist.
void check_files(const RunInput& input, const FindPlace& place);

}  // namespace fusionllm::detail
