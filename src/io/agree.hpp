#pragma once

#include <functional>

#include "fusionllm/io/checkpoint.hpp"

namespace fusionllm::detail {

/*!
 * Run `action` on every rank of the group (collective). If it throws on any
 * of them, all throw an `Error` with the message of the lowest such rank, so
 * that no rank waits for one that has left. Says `WritePart::own` before it,
 * and `agree` after it.
 */
void run_agreed(const WriteGroup& group, const std::function<void()>& action);

}  // namespace fusionllm::detail
