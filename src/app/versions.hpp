#pragma once

#include <string>
#include <utility>
#include <vector>

namespace fusionllm {

//! Name and version of the program and of every library it runs on.
std::vector<std::pair<std::string, std::string>> list_versions();

}  // namespace fusionllm
