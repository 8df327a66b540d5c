#pragma once

#include <string>

#include "fusionllm/comm/mpi.hpp"

namespace fusionllm {

/*!
 * End all ranks with this exit status. The message is said once: by rank 0 at
 * once, by others, with their rank, if rank 0 has not ended the run by then.
 */
[[noreturn]] void fail_together(const mpi::Communicator& world,
                                const std::string& message,
                                int status);

}  // namespace fusionllm
