// What does matching receives by probing cost against posting them ahead?
//
//     mpirun -np 2 bench_receives [--rounds N] [--messages N] [--window N]
//                                 [--pause-us N] [--sizes BYTES...]
//
// Two ranks send each other the same stream of messages at once, with a window
// of them on the way. `posted` has an MPI_Irecv waiting for each message of the
// window; `probed` asks MPI_Improbe until nothing has come and then receives
// by MPI_Imrecv, as MpiTransport does. Both use the same buffers. Rounds of the
// two alternate. Prints a CSV line a size: median and quartiles of microseconds
// a message, by the clock and of processor time (both of the slower rank), and
// of the ratio of the rounds that follow each other. `--pause-us` is the
// computing that a rank does between two looks at its messages.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/timing.hpp"

namespace {

using namespace fusionllm;

constexpr int data_tag = 1;

struct Options {
    int rounds = 31;
    int messages = 200;
    int window = 8;
    int pause_us = 0;
    std::vector<int> sizes = {4096, 65536, 524288, 4194304};
};

//! Microseconds a message.
struct Cost {
    double clock;
    double processor;
};

double processor_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) +
           1e-9 * static_cast<double>(now.tv_nsec);
}

//! One direction's messages, `window` of them at a time; the i-th uses place
//! i % window.
class Stream {
public:
    Stream(MPI_Comm comm, int num_bytes, int messages, int window)
        : comm_(comm),
          peer_(1 - rank_of(comm)),
          num_bytes_(num_bytes),
          messages_(messages),
          buffers_(static_cast<std::size_t>(window)),
          requests_(static_cast<std::size_t>(window), MPI_REQUEST_NULL) {
        for (auto& buffer : buffers_) {
            buffer.resize(static_cast<std::size_t>(num_bytes));
        }
    }

    bool is_done() const { return done_ == messages_; }

    //! Complete what is complete, oldest first.
    void complete() {
        while (done_ < started_) {
            int is_complete = 0;
            FUSIONLLM_MPI_CALL(MPI_Test(
                &requests_[place(done_)], &is_complete, MPI_STATUS_IGNORE));
            if (is_complete == 0) {
                return;
            }
            ++done_;
        }
    }

    void send() {
        for (; can_start(); ++started_) {
            FUSIONLLM_MPI_CALL(MPI_Isend(buffers_[place(started_)].data(),
                                         num_bytes_,
                                         MPI_BYTE,
                                         peer_,
                                         data_tag,
                                         comm_,
                                         &requests_[place(started_)]));
        }
    }

    void post() {
        for (; can_start(); ++started_) {
            FUSIONLLM_MPI_CALL(MPI_Irecv(buffers_[place(started_)].data(),
                                         num_bytes_,
                                         MPI_BYTE,
                                         peer_,
                                         data_tag,
                                         comm_,
                                         &requests_[place(started_)]));
        }
    }

    void probe() {
        for (; can_start(); ++started_) {
            int has_come = 0;
            MPI_Message message = MPI_MESSAGE_NULL;
            FUSIONLLM_MPI_CALL(MPI_Improbe(MPI_ANY_SOURCE,
                                           MPI_ANY_TAG,
                                           comm_,
                                           &has_come,
                                           &message,
                                           MPI_STATUS_IGNORE));
            if (has_come == 0) {
                return;
            }
            FUSIONLLM_MPI_CALL(MPI_Imrecv(buffers_[place(started_)].data(),
                                          num_bytes_,
                                          MPI_BYTE,
                                          &message,
                                          &requests_[place(started_)]));
        }
    }

private:
    static int rank_of(MPI_Comm comm) {
        int rank = 0;
        FUSIONLLM_MPI_CALL(MPI_Comm_rank(comm, &rank));
        return rank;
    }

    bool can_start() const {
        return started_ < messages_ &&
               started_ - done_ < static_cast<int>(requests_.size());
    }

    std::size_t place(int message) const {
        return static_cast<std::size_t>(message) % requests_.size();
    }

    MPI_Comm comm_;
    int peer_;
    int num_bytes_;
    int messages_;
    int started_ = 0;
    int done_ = 0;
    std::vector<std::vector<char>> buffers_;
    std::vector<MPI_Request> requests_;
};

void compute(int microseconds) {
    const double end = monotonic_s() + 1e-6 * microseconds;
    while (monotonic_s() < end) {
    }
}

Cost run_round(MPI_Comm comm,
               const Options& options,
               int num_bytes,
               void (Stream::*receive)()) {
    Stream out(comm, num_bytes, options.messages, options.window);
    Stream in(comm, num_bytes, options.messages, options.window);
    FUSIONLLM_MPI_CALL(MPI_Barrier(comm));
    const double begin = monotonic_s();
    const double begin_processor = processor_seconds();
    while (!in.is_done() || !out.is_done()) {
        (in.*receive)();
        out.send();
        in.complete();
        out.complete();
        if (options.pause_us > 0) {
            compute(options.pause_us);
        }
    }
    double seconds[] = {monotonic_s() - begin,
                        processor_seconds() - begin_processor};
    FUSIONLLM_MPI_CALL(
        MPI_Allreduce(MPI_IN_PLACE, seconds, 2, MPI_DOUBLE, MPI_MAX, comm));
    return {1e6 * seconds[0] / options.messages,
            1e6 * seconds[1] / options.messages};
}

//! "median,lower quartile,upper quartile".
std::string spread(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const auto quantile = [&](double share) {
        return values[static_cast<std::size_t>(
            share * static_cast<double>(values.size() - 1) + 0.5)];
    };
    return fmt::format(
        "{:.4g},{:.4g},{:.4g}", quantile(0.5), quantile(0.25), quantile(0.75));
}

template <class Value>
std::string spread_of(const std::vector<Cost>& rounds, Value value) {
    std::vector<double> values;
    for (const Cost& round : rounds) {
        values.push_back(value(round));
    }
    return spread(values);
}

std::string compare(MPI_Comm comm, const Options& options, int num_bytes) {
    std::vector<Cost> posted;
    std::vector<Cost> probed;
    std::vector<Cost> ratios;
    run_round(comm, options, num_bytes, &Stream::post);  // warms up
    for (int round = 0; round < options.rounds; ++round) {
        posted.push_back(run_round(comm, options, num_bytes, &Stream::post));
        probed.push_back(run_round(comm, options, num_bytes, &Stream::probe));
        ratios.push_back({probed.back().clock / posted.back().clock,
                          probed.back().processor / posted.back().processor});
    }
    std::string line = std::to_string(num_bytes);
    for (const auto* rounds : {&posted, &probed, &ratios}) {
        line += "," + spread_of(*rounds, [](Cost cost) { return cost.clock; });
        line +=
            "," + spread_of(*rounds, [](Cost cost) { return cost.processor; });
    }
    return line;
}

void measure(const Options& options) {
    const auto world = mpi::Communicator::world();
    FUSIONLLM_VALIDATE(world.size() == 2,
                       "bench_receives needs 2 ranks, not {}; start it with "
                       "mpirun -np 2",
                       world.size());
    std::string header = "bytes";
    for (const char* what : {"posted", "probed", "ratio"}) {
        for (const char* kind : {"clock", "processor"}) {
            header +=
                fmt::format(",{0}_{1},{0}_{1}_low,{0}_{1}_high", what, kind);
        }
    }
    for (std::size_t i = 0; i <= options.sizes.size(); ++i) {
        const std::string line =
            i == 0 ? header
                   : compare(world.get(), options, options.sizes[i - 1]);
        if (world.rank() == 0) {
            fmt::print("{}\n", line);
            std::fflush(stdout);
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Receives that are posted ahead against probed ones");
    app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
    app.add_option("--messages", options.messages)->check(CLI::PositiveNumber);
    app.add_option("--window", options.window)->check(CLI::PositiveNumber);
    app.add_option("--pause-us", options.pause_us);
    app.add_option("--sizes", options.sizes)->check(CLI::PositiveNumber);
    CLI11_PARSE(app, argc, argv);
    try {
        const mpi::Environment environment(argc, argv);
        measure(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "bench_receives: {}\n", error.what());
        mpi::abort(1);
    }
    return 0;
}
