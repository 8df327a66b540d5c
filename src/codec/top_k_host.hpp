#pragma once

#include <memory>

#include "top_k_select.hpp"

namespace fusionllm::detail {

//! Selection in host memory, by one thread.
std::unique_ptr<TopKSelector::Method> make_host_top_k(const TopKTask& task);

}  // namespace fusionllm::detail
