#pragma once

#include <functional>
#include <memory>
#include <string>
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

/*!
 * End the communication of all ranks that are connected to `transport`.
 *
 * Every later `test()` of a message that has not arrived throws `Error` "rank
 * r failed: reason", r being the rank of `transport`; the first call decides.
 * Requires a transport of `make_loopback`.
 */
void abort_loopback(Transport& transport, const std::string& reason);

/*!
 * Run `body` as every rank at once, one thread a rank, and wait for all.
 *
 * If a rank throws, the others are aborted and the exception of the rank that
 * failed first is rethrown: nobody waits for a rank that is gone.
 */
void run_loopback(int num_ranks, const std::function<void(Transport&)>& body);

}  // namespace fusionllm
