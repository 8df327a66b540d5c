#include "fusionllm/comm/watchman.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

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

    //! Wait for the next byte.
    unsigned char read_byte() const {
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
    explicit Watch(RankTable& table)
        : table_(table), handlers_(pipe_.input()), thread_([this] { run(); }) {
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

private:
    void run() {
        for (unsigned char signal = pipe_.read_byte(); signal != end_of_watch;
             signal = pipe_.read_byte()) {
            handle(signal);
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
        for (const RankStatus& status : dead) {
            if (table_.claim_report(status)) {
                print_line(describe_death(status, table_.host()));
            }
        }
        leave_at_once(1);
    }

    [[noreturn]] void leave_at_once(int status) {
        table_.leave();
        _exit(status);
    }

    RankTable& table_;
    std::atomic<StopRequest> request_{StopRequest::none};
    int num_interrupts_ = 0;
    Pipe pipe_;
    Handlers handlers_;
    std::jthread thread_;
};

Watchman::Watchman(RankTable& table) : watch_(std::make_unique<Watch>(table)) {}

Watchman::~Watchman() = default;

StopRequest Watchman::stop_request() const {
    return watch_->stop_request();
}

}  // namespace fusionllm
