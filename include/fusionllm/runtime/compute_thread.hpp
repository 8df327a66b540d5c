#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "fusionllm/comm/wait.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm {

/*!
 * The one thread of a rank that runs LibTorch and Kokkos.
 *
 * The main thread makes all MPI and HDF5 calls and gives this one tasks, which
 * run in order. Every finished task wakes the main thread's `IdleWait`. After
 * a task throws, later ones are dropped and `rethrow` throws its exception.
 */
class ComputeThread {
public:
    /*!
     * \param scope runs first on the thread; what it returns lives as long as
     *        the thread does (Kokkos, the number of threads)
     */
    ComputeThread(IdleWait& wait, std::function<std::shared_ptr<void>()> scope);
    //! Drops tasks that have not started.
    ~ComputeThread();
    ComputeThread(const ComputeThread&) = delete;
    ComputeThread& operator=(const ComputeThread&) = delete;

    void submit(std::function<void()> task);
    //! Tasks submitted and not finished.
    std::size_t num_pending() const;
    //! Throw what a task threw.
    void rethrow();
    /*!
     * Submit, and wait until it and all before it are done; `progress` is
     * called in between (it moves messages on).
     */
    void run(std::function<void()> task, const std::function<void()>& progress);

    //! Seconds by section; used by tasks, and by others while none is pending.
    SectionTimer& timer() { return timer_; }

private:
    void loop(const std::function<std::shared_ptr<void>()>& scope);

    IdleWait& wait_;
    mutable std::mutex mutex_;
    std::condition_variable condition_;
    std::deque<std::function<void()>> tasks_;
    std::size_t num_pending_ = 0;
    bool is_closing_ = false;
    std::exception_ptr failure_;
    SectionTimer timer_;
    std::thread thread_;
};

}  // namespace fusionllm
