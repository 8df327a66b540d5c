#include "fusionllm/comm/watchman.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "fusionllm/comm/rank_stall.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr std::array watched_signals{SIGTERM, SIGINT, SIGUSR1};
constexpr unsigned char end_of_watch = 0;

//! A handler gets nothing but the number: where to write it must be global.
std::atomic<int> pipe_of_handler{-1};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void fusionllm_pass_on_signal(int signal) {
    const int saved_errno = errno;
    const auto number = static_cast<unsigned char>(signal);
    // A full pipe holds signals enough: nothing to do when this one is lost.
    [[maybe_unused]] const auto written =
        write(pipe_of_handler.load(), &number, 1);
    errno = saved_errno;
}

//! Short beside the wait that is looked for, and no burden.
std::chrono::milliseconds time_between_looks(double long_wait_s) {
    return std::chrono::milliseconds(
        std::clamp(static_cast<int>(1e3 * long_wait_s / 8), 20, 1000));
}

void print_line(std::string line) {
    line += '\n';
    // One call, so that lines of several ranks do not mix.
    [[maybe_unused]] const auto written =
        write(STDERR_FILENO, line.data(), line.size());
}

//! The handlers, and back to the former ones.
class Handlers {
public:
    explicit Handlers(int pipe) {
        FUSIONLLM_EXPECTS(pipe_of_handler.load() == -1);
        pipe_of_handler = pipe;
        struct sigaction action {};
        action.sa_handler = fusionllm_pass_on_signal;
        action.sa_flags = SA_RESTART;
        sigemptyset(&action.sa_mask);
        for (std::size_t i = 0; i < watched_signals.size(); ++i) {
            sigaction(watched_signals[i], &action, &former_[i]);
        }
    }

    ~Handlers() {
        for (std::size_t i = 0; i < watched_signals.size(); ++i) {
            sigaction(watched_signals[i], &former_[i], nullptr);
        }
        pipe_of_handler = -1;
    }

    Handlers(const Handlers&) = delete;
    Handlers& operator=(const Handlers&) = delete;

private:
    std::array<struct sigaction, watched_signals.size()> former_{};
};

class Pipe {
public:
    Pipe() {
        if (pipe2(ends_.data(), O_CLOEXEC) != 0) {
            throw Error(fmt::format(
                "no pipe for signals can be made: {}; check the limit of open "
                "files (ulimit -n)",
                std::generic_category().message(errno)));
        }
        // A handler must never wait.
        fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    }

    ~Pipe() {
        close(ends_[0]);
        close(ends_[1]);
    }

    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;

    int input() const { return ends_[1]; }

    //! Wait for the next byte; none if it does not come in that time.
    std::optional<unsigned char> read_byte(
        std::chrono::milliseconds time) const {
        pollfd end{ends_[0], POLLIN, 0};
        if (poll(&end, 1, static_cast<int>(time.count())) <= 0) {
            return std::nullopt;
        }
        unsigned char byte = end_of_watch;
        while (read(ends_[0], &byte, 1) < 0 && errno == EINTR) {
        }
        return byte;
    }

private:
    std::array<int, 2> ends_{-1, -1};
};

}  // namespace

class Watchman::Watch {
public:
    Watch(RankTable& table, double long_wait_s)
        : table_(table),
          long_wait_s_(long_wait_s),
          handlers_(pipe_.input()),
          thread_([this] { run(); }) {
        // Last: with the handlers in place SIGTERM is no death of this rank.
        table_.enter();
    }

    ~Watch() {
        table_.leave();
        [[maybe_unused]] const auto written =
            write(pipe_.input(), &end_of_watch, 1);
    }

    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    StopRequest stop_request() const { return request_; }
    void set_long_wait(double seconds) { long_wait_s_ = seconds; }

private:
    void run() {
        for (;;) {
            const double after_s = long_wait_s_;
            const auto byte = pipe_.read_byte(time_between_looks(after_s));
            if (byte == end_of_watch) {
                return;
            }
            if (byte) {
                handle(*byte);
            } else if (after_s > 0) {
                look(after_s);
            }
        }
    }

    void look(double after_s) {
        const auto describe = [&](const std::vector<RankStay>& stays) {
            return describe_stall(
                stays, after_s, table_.host(), table_.ranks_here());
        };
        if (describe(table_.find_stays()).empty() ||
            !table_.claim_notice(after_s)) {
            return;
        }
        // Empty if it has gone on meanwhile.
        const auto text = describe(table_.find_stays_and_processes());
        if (!text.empty()) {
            print_line("fusionllm: " + text);
        }
    }

    void handle(int signal) {
        if (signal == SIGUSR1) {
            request_ = StopRequest::requeue;
        } else if (signal == SIGINT) {
            if (num_interrupts_++ > 0) {
                leave_at_once(130);
            }
            request_ = StopRequest::stop;
        } else {
            exit_if_ranks_died();
            auto none = StopRequest::none;
            request_.compare_exchange_strong(none, StopRequest::stop);
        }
    }

    void exit_if_ranks_died() {
        const std::vector<RankStatus> dead = table_.find_dead();
        if (dead.empty()) {
            return;
        }
        // Open MPI kills the others when the first of them has left. So who is
        // first has looked before any of those kills, and what a later one
        // finds may be of them. None leaves before that has been said.
        if (table_.begin_report()) {
            for (const RankStatus& status : dead) {
                print_line(describe_death(status, table_.host()));
            }
            table_.end_report();
        } else {
            wait_for_report();
        }
        leave_at_once(1);
    }

    void wait_for_report() const {
        using namespace std::chrono_literals;
        const auto deadline = std::chrono::steady_clock::now() + 1s;
        while (!table_.has_report_ended() &&
               std::chrono::steady_clock::now() < deadline) {
            std::this_thread::sleep_for(1ms);
        }
    }

    [[noreturn]] void leave_at_once(int status) {
        table_.leave();
        _exit(status);
    }

    RankTable& table_;
    std::atomic<double> long_wait_s_;
    std::atomic<StopRequest> request_{StopRequest::none};
    int num_interrupts_ = 0;
    Pipe pipe_;
    Handlers handlers_;
    std::jthread thread_;
};

Watchman::Watchman(RankTable& table, double long_wait_s)
    : watch_(std::make_unique<Watch>(table, long_wait_s)) {}

Watchman::~Watchman() = default;

StopRequest Watchman::stop_request() const {
    return watch_->stop_request();
}

void Watchman::set_long_wait(double long_wait_s) {
    watch_->set_long_wait(long_wait_s);
}

}  // namespace fusionllm
