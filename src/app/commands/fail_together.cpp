#include "app/commands/fail_together.hpp"

#include <chrono>
#include <cstdio>
#include <thread>

#include <fmt/core.h>

namespace fusionllm {

void fail_together(const mpi::Communicator& world,
                   const std::string& message,
                   int status) {
    constexpr int root = 0;
    if (world.rank() != root) {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    const std::string who = world.rank() == root && world.size() == 1
                                ? ""
                                : fmt::format("rank {}: ", world.rank());
    std::fprintf(stderr, "fusionllm: %s%s\n", who.c_str(), message.c_str());
    std::fflush(stderr);
    mpi::abort(status);
}

}  // namespace fusionllm
