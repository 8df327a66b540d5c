#pragma once

#include <memory>

#include "fusionllm/comm/rank_table.hpp"

namespace fusionllm {

//! What somebody outside wants of the run; polled at step boundaries.
enum class StopRequest {
    none,
    stop,     //!< SIGTERM or SIGINT: write a checkpoint and end
    requeue,  //!< SIGUSR1: the same, and exit with `requeue_status`
};

//! Exit status that asks the batch system to start the job again.
inline constexpr int requeue_status = 75;

/*!
 * Listens to signals for as long as it lives, one in a process.
 *
 * A thread looks at each signal, whatever the main thread hangs in:
 *
 * - SIGTERM: mpirun sends it when a rank has died, and SIGKILL a second later.
 *   If ranks of this host are dead, one rank prints a sentence for each of
 *   them to stderr, and this process exits at once with status 1. Otherwise
 *   (somebody ended the job, or the death was on another host): stop.
 * - SIGINT: stop; the second one exits at once with status 130.
 * - SIGUSR1: requeue; a SIGTERM that follows does not change that.
 *
 * Where no signal comes it looks now and then whether this rank has been in a
 * meeting of all ranks (`is_meeting`), or at its own part of one, for
 * `long_wait_s`; one rank of the host then prints to stderr why
 * (`describe_stall`). It only reads the table: no other thread than the main
 * one may call MPI.
 *
 * The request may reach some ranks only or earlier than others: the ranks have
 * to agree on it before they act.
 */
class Watchman {
public:
    //! Enters this rank into the table; the destructor leaves it.
    //! \param long_wait_s 0: says nothing of ranks that stand still
    Watchman(RankTable& table, double long_wait_s);
    ~Watchman();
    Watchman(const Watchman&) = delete;
    Watchman& operator=(const Watchman&) = delete;

    StopRequest stop_request() const;
    void set_long_wait(double long_wait_s);

private:
    class Watch;
    std::unique_ptr<Watch> watch_;
};

}  // namespace fusionllm
