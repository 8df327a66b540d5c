// Ranks that get signals; watchman_test.cmake looks at what comes of it.

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include <unistd.h>

#include "fusionllm/comm/wait.hpp"
#include "fusionllm/comm/watchman.hpp"

namespace {

using namespace fusionllm;

void meet(const mpi::Communicator& world) {
    FUSIONLLM_MPI_CALL(MPI_Barrier(world.get()));
}

//! As a rank does that waits for a message of a dead one.
[[noreturn]] void hang(const mpi::Communicator& world) {
    int token = 0;
    MPI_Recv(
        &token, 1, MPI_INT, MPI_ANY_SOURCE, 0, world.get(), MPI_STATUS_IGNORE);
    std::puts("nobody ended the wait");
    std::_Exit(0);
}

void wait_for(const Watchman& watchman, StopRequest request) {
    IdleWait idle_wait;
    while (watchman.stop_request() != request) {
        idle_wait.idle();
    }
}

void signal_oneself(const Watchman& watchman,
                    int signal,
                    StopRequest expected) {
    std::raise(signal);
    wait_for(watchman, expected);
}

int run(const std::string& mode, const std::string& job_id) {
    const auto world = mpi::Communicator::world();
    RankTable table(world, job_id);
    table.set_stage(world.rank() + 2);
    table.set_activity({12, Phase::forward, 3});
    const Watchman watchman(table, mode == "stall" ? 0.5 : 0);
    meet(world);
    const bool is_victim = world.rank() == world.size() - 1;

    if (mode == "die") {
        if (is_victim) {
            std::raise(SIGKILL);
        }
        hang(world);
    } else if (mode == "leave") {
        if (is_victim) {
            table.leave();
            _exit(3);
        }
        hang(world);
    } else if (mode == "terminate") {
        signal_oneself(watchman, SIGTERM, StopRequest::stop);
        meet(world);
        return 4;
    } else if (mode == "requeue") {
        signal_oneself(watchman, SIGUSR1, StopRequest::requeue);
        std::raise(SIGTERM);
        meet(world);
        return watchman.stop_request() == StopRequest::requeue ? requeue_status
                                                               : 1;
    } else if (mode == "interrupt") {
        signal_oneself(watchman, SIGINT, StopRequest::stop);
        meet(world);
        if (is_victim) {
            std::raise(SIGINT);
        }
        hang(world);
    } else if (mode == "stall") {
        // The victim comes late to a meeting; the others wait there.
        if (is_victim) {
            std::this_thread::sleep_for(std::chrono::seconds(2));
        }
        table.set_activity({13, Phase::checkpoint, 0});
        meet(world);
        table.set_activity({13, Phase::start, 0});
        return 5;
    }
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    const mpi::Environment environment(argc, argv);
    return argc == 3 ? run(argv[1], argv[2]) : 2;
}
