#include "fusionllm/runtime/compute_thread.hpp"

#include <utility>

namespace fusionllm {

ComputeThread::ComputeThread(IdleWait& wait,
                             std::function<std::shared_ptr<void>()> scope)
    : wait_(wait), thread_([this, scope = std::move(scope)] { loop(scope); }) {}

ComputeThread::~ComputeThread() {
    {
        const std::lock_guard lock(mutex_);
        is_closing_ = true;
        num_pending_ -= tasks_.size();
        tasks_.clear();
    }
    condition_.notify_one();
    thread_.join();
}

void ComputeThread::submit(std::function<void()> task) {
    {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(std::move(task));
        ++num_pending_;
    }
    condition_.notify_one();
}

std::size_t ComputeThread::num_pending() const {
    const std::lock_guard lock(mutex_);
    return num_pending_;
}

void ComputeThread::rethrow() {
    const std::lock_guard lock(mutex_);
    if (failure_) {
        std::rethrow_exception(failure_);
    }
}

void ComputeThread::run(std::function<void()> task,
                        const std::function<void()>& progress) {
    submit(std::move(task));
    wait_.reset();
    while (num_pending() > 0) {
        progress();
        wait_.idle();
    }
    wait_.reset();
    rethrow();
}

void ComputeThread::loop(const std::function<std::shared_ptr<void>()>& scope) {
    std::shared_ptr<void> alive;
    const auto guarded = [this](const auto& task) {
        try {
            task();
        } catch (...) {
            // Whatever it is, it is the main thread's to handle: `rethrow`.
            const std::lock_guard lock(mutex_);
            if (!failure_) {
                failure_ = std::current_exception();
            }
        }
    };
    guarded([&] { alive = scope(); });
    while (true) {
        std::function<void()> task;
        bool is_dropped = false;
        {
            std::unique_lock lock(mutex_);
            condition_.wait(lock,
                            [&] { return is_closing_ || !tasks_.empty(); });
            if (tasks_.empty()) {
                return;
            }
            task = std::move(tasks_.front());
            tasks_.pop_front();
            is_dropped = failure_ != nullptr;
        }
        if (!is_dropped) {
            guarded(task);
        }
        task = nullptr;  // its tensors die here, on their thread
        {
            const std::lock_guard lock(mutex_);
            --num_pending_;
        }
        wait_.wake();
    }
}

}  // namespace fusionllm
