#pragma once

#include <memory>
#include <vector>

#include "fusionllm/comm/transport.hpp"

namespace fusionllm {

/*!
 * Transports that connect `num_ranks` threads of this process.
 *
 * Element r is rank r's; each may be used by one thread at a time. A message
 * is moved, not copied.
 */
std::vector<std::unique_ptr<Transport>> make_loopback(int num_ranks);

}  // namespace fusionllm
