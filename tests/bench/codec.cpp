// How fast are the codecs, beside what else there is?
//
//     bench_codec [--rounds N] [--sizes N...] [--ratios R...] [--values FILE]
//                 [--csv FILE] [--no-peers]
//
// One thread. For each size n and each ratio n/k: GB/s of f32 input of the
// selection of the k largest magnitudes (ours, without and with the threshold
// of the call before), beside a memcpy of the same bytes, std::nth_element of
// the magnitudes (which finds the threshold only), at::topk of the magnitudes,
// and a throwaway selection with a histogram in two passes; of packing the
// indices; and of whole codecs. Candidates alternate; prints median, quartiles.
//
// Time is processor time of the thread, so that waiting for a core that others
// use does not count; what they do to caches and memory does.
//
// Numbers are normal, or those of a file of f32 (a recorded trace). They change
// from call to call as from micro-batch to micro-batch: four draws take turns.
// Each selection is compared with the throwaway one, once.

#include "fusionllm/codec/codec.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "fusionllm/codec/index_pack.hpp"
#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/codec/top_k_select.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/random.hpp"

namespace {

using namespace fusionllm;

constexpr std::size_t num_draws = 4;
constexpr std::uint64_t columns = 1024;

struct Options {
    int rounds = 15;
    std::vector<std::uint64_t> sizes = {1u << 16, 1u << 20, 1u << 22, 1u << 24};
    std::vector<double> ratios = {10, 100, 300};
    std::string values;
    std::string csv;
    bool has_no_peers = false;
};

using Numbers = std::vector<float>;
using Indices = std::vector<std::uint32_t>;

std::uint32_t key_of(float x) {
    return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
}

//! Box-Muller
Numbers draw_normal(std::uint64_t size, std::uint32_t seed) {
    Numbers numbers(size);
    for (std::uint64_t i = 0; i < size; i += 4) {
        const PhiloxBlock block = philox(
            {{static_cast<std::uint32_t>(i), 0, 0, seed}}, make_philox_key(1));
        for (std::uint64_t j = 0; j < 4 && i + j < size; ++j) {
            const double u = (block.words[j / 2 * 2] + 0.5) * 0x1p-32;
            const double angle =
                2 * std::numbers::pi * block.words[j / 2 * 2 + 1] * 0x1p-32;
            numbers[i + j] = static_cast<float>(
                std::sqrt(-2 * std::log(u)) *
                (j % 2 == 0 ? std::cos(angle) : std::sin(angle)));
        }
    }
    return numbers;
}

Numbers read_values(const std::string& path) {
    const std::string bytes = read_file(path);
    Numbers numbers(bytes.size() / sizeof(float));
    std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(float));
    return numbers;
}

//! Successive parts of the trace, which begins again where it ends.
std::vector<Numbers> make_draws(const Numbers& trace, std::uint64_t size) {
    std::vector<Numbers> draws;
    for (std::size_t i = 0; i < num_draws; ++i) {
        if (trace.empty()) {
            draws.push_back(draw_normal(size, static_cast<std::uint32_t>(i)));
            continue;
        }
        Numbers part(size);
        for (std::uint64_t j = 0; j < size; ++j) {
            part[j] = trace[(i * size + j) % trace.size()];
        }
        draws.push_back(std::move(part));
    }
    return draws;
}

//! The peer: count magnitudes by their upper bits, collect the large ones.
class Throwaway {
public:
    void select(const Numbers& numbers, Indices& indices) {
        const std::uint64_t kept = indices.size();
        bins_.assign(4u << 11, 0);
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            // Four of each bin: the next count need not wait for this one.
            ++bins_[key_of(numbers[i]) >> 20 << 2 | (i & 3)];
        }
        std::uint64_t count = 0;
        std::uint32_t bin = 1u << 11;
        while (count < kept) {
            --bin;
            count += std::reduce(&bins_[4 * bin], &bins_[4 * bin] + 4);
        }
        large_.clear();
        large_.reserve(count);
        for (std::uint32_t i = 0; i < numbers.size(); ++i) {
            const std::uint32_t key = key_of(numbers[i]);
            if (key >> 20 >= bin) {
                large_.push_back(std::uint64_t{~key} << 32 | i);
            }
        }
        sorted_ = large_;
        const auto last =
            sorted_.begin() + static_cast<std::ptrdiff_t>(kept) - 1;
        std::nth_element(sorted_.begin(), last, sorted_.end());
        auto out = indices.begin();
        for (const std::uint64_t element : large_) {
            if (element <= *last) {
                *out++ = static_cast<std::uint32_t>(element);
            }
        }
    }

private:
    std::vector<std::uint32_t> bins_;
    std::vector<std::uint64_t> large_;
    std::vector<std::uint64_t> sorted_;
};

//! What is timed: a call with the numbers of one draw.
struct Candidate {
    std::string name;
    std::function<void(const Numbers&)> call;
    std::vector<double> gb_per_s{};
};

double processor_s() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) +
           1e-9 * static_cast<double>(now.tv_nsec);
}

//! Calls are repeated until they are long enough for the clock.
void run_rounds(std::vector<Candidate>& candidates,
                const std::vector<Numbers>& draws,
                int rounds) {
    const std::uint64_t size = draws[0].size();
    const std::uint64_t calls =
        std::max<std::uint64_t>(num_draws, (1u << 20) / size);
    for (int round = -1; round < rounds; ++round) {
        for (Candidate& candidate : candidates) {
            const double begin = processor_s();
            for (std::uint64_t call = 0; call < calls; ++call) {
                candidate.call(draws[call % num_draws]);
            }
            const double seconds = processor_s() - begin;
            if (round >= 0) {  // the first warms up
                candidate.gb_per_s.push_back(
                    1e-9 * 4 * static_cast<double>(size * calls) / seconds);
            }
        }
    }
}

class Report {
public:
    explicit Report(const std::string& path)
        : file_(path.empty() ? nullptr : std::fopen(path.c_str(), "w")) {
        FUSIONLLM_VALIDATE(path.empty() || file_ != nullptr,
                           "{} cannot be written; name another --csv",
                           path);
        write("elements,kept,what,gb_per_s,low,high,of_copy\n");
    }
    ~Report() {
        if (file_ != nullptr) {
            std::fclose(file_);
        }
    }
    Report(const Report&) = delete;
    Report& operator=(const Report&) = delete;

    void add(std::uint64_t size,
             std::uint64_t kept,
             const std::vector<Candidate>& candidates) {
        const double copy = quantile(candidates[0].gb_per_s, 0.5);
        fmt::print("\n{} elements, {} kept\n", size, kept);
        for (const Candidate& candidate : candidates) {
            const double median = quantile(candidate.gb_per_s, 0.5);
            const double low = quantile(candidate.gb_per_s, 0.25);
            const double high = quantile(candidate.gb_per_s, 0.75);
            fmt::print("  {:26} {:7.2f} GB/s ({:.2f} to {:.2f}), {:.2f} copy\n",
                       candidate.name,
                       median,
                       low,
                       high,
                       median / copy);
            write(fmt::format("{},{},\"{}\",{:.4g},{:.4g},{:.4g},{:.4g}\n",
                              size,
                              kept,
                              candidate.name,
                              median,
                              low,
                              high,
                              median / copy));
        }
        std::fflush(stdout);
    }

private:
    static double quantile(std::vector<double> values, double share) {
        std::ranges::sort(values);
        return values[static_cast<std::size_t>(
            share * static_cast<double>(values.size() - 1) + 0.5)];
    }

    void write(const std::string& line) {
        if (file_ != nullptr) {
            std::fputs(line.c_str(), file_);
        }
    }

    std::FILE* file_;
};

//! Both ends of a codec, forward.
class CodecPeer {
public:
    CodecPeer(const std::string& choice, std::uint64_t size)
        : shape_(size % columns == 0 ? MatrixShape{size / columns, columns}
                                     : MatrixShape{1, size}),
          before_(make_codec(
              parse_codec_choice(choice, 1), shape_, MemorySpace::host)),
          after_(make_codec(
              parse_codec_choice(choice, 1), shape_, MemorySpace::host)),
          decoded_(size) {}

    void encode(const Numbers& numbers) {
        spec_ = before_->spec(Direction::forward, key_);
        payload_.resize(payload_bytes(spec_, shape_));
        before_->encode(Direction::forward, key_, numbers, payload_);
    }
    void decode() {
        after_->decode(Direction::forward, key_, spec_, payload_, decoded_);
    }

private:
    MatrixShape shape_;
    CodecKey key_{};
    CodecSpec spec_{};
    std::unique_ptr<Codec> before_;
    std::unique_ptr<Codec> after_;
    std::vector<std::byte> payload_;
    Numbers decoded_;
};

void add_codec(std::vector<Candidate>& candidates,
               const std::string& choice,
               const std::vector<Numbers>& draws) {
    const auto peer = std::make_shared<CodecPeer>(choice, draws[0].size());
    // A subspace makes its basis with the first message.
    peer->encode(draws[0]);
    peer->decode();
    candidates.push_back(
        {choice + " encode", [peer](const Numbers& x) { peer->encode(x); }});
    candidates.push_back(
        {choice + " decode", [peer](const Numbers&) { peer->decode(); }});
}

void add_copy(std::vector<Candidate>& candidates, std::uint64_t size) {
    const auto copy = std::make_shared<Numbers>(size);
    candidates.push_back(
        {"memcpy", [copy](const Numbers& x) {
             std::memcpy(copy->data(), x.data(), x.size() * sizeof(float));
         }});
}

void add_peers(std::vector<Candidate>& candidates, std::uint64_t kept) {
    const auto keys = std::make_shared<std::vector<std::uint32_t>>();
    candidates.push_back(
        {"std::nth_element", [keys, kept](const Numbers& x) {
             keys->resize(x.size());
             std::ranges::transform(x, keys->begin(), key_of);
             const auto last =
                 keys->begin() + static_cast<std::ptrdiff_t>(kept) - 1;
             std::nth_element(
                 keys->begin(), last, keys->end(), std::greater<>());
         }});
    candidates.push_back(
        {"at::topk", [kept](const Numbers& x) {
             const at::InferenceMode no_gradients;
             const auto size = static_cast<std::int64_t>(x.size());
             const at::Tensor tensor =
                 at::from_blob(const_cast<float*>(x.data()), {size});
             at::topk(at::abs(tensor), static_cast<std::int64_t>(kept));
         }});
    const auto throwaway = std::make_shared<Throwaway>();
    const auto indices = std::make_shared<Indices>(kept);
    candidates.push_back(
        {"two-pass histogram", [throwaway, indices](const Numbers& x) {
             throwaway->select(x, *indices);
         }});
}

void add_selection(std::vector<Candidate>& candidates,
                   std::uint64_t size,
                   std::uint64_t kept) {
    const MatrixShape shape{1, size};
    const auto indices = std::make_shared<Indices>(kept);
    const auto make = [&] {
        return std::make_shared<TopKSelector>(
            shape, Selection::tensor, kept, MemorySpace::host);
    };
    candidates.push_back(
        {"top-k, cold", [cold = make(), indices](const Numbers& x) {
             cold->forget_hint();
             cold->select(x, *indices);
         }});
    candidates.push_back({"top-k, carried threshold",
                          [carried = make(), indices](const Numbers& x) {
                              carried->select(x, *indices);
                          }});
}

//! Packing and unpacking the indices of a selection.
void add_packing(std::vector<Candidate>& candidates,
                 const Numbers& numbers,
                 std::uint64_t kept) {
    const std::uint64_t size = numbers.size();
    const auto indices = std::make_shared<Indices>(kept);
    TopKSelector({1, size}, Selection::tensor, kept, MemorySpace::host)
        .select(numbers, *indices);
    const auto packed = std::make_shared<std::vector<std::byte>>(
        index_layout(size, kept).bytes());
    candidates.push_back(
        {"indices, pack", [indices, packed, size](const Numbers&) {
             encode_indices(*indices, size, *packed, MemorySpace::host);
         }});
    const auto unpacked = std::make_shared<Indices>(kept);
    candidates.push_back(
        {"indices, unpack", [packed, unpacked, size](const Numbers&) {
             decode_indices(*packed, size, *unpacked, MemorySpace::host);
         }});
}

void check_selection(const std::vector<Numbers>& draws, std::uint64_t kept) {
    TopKSelector selector(
        {1, draws[0].size()}, Selection::tensor, kept, MemorySpace::host);
    for (const Numbers& numbers : draws) {
        Indices expected(kept);
        Indices found(kept);
        Throwaway().select(numbers, expected);
        selector.select(numbers, found);
        FUSIONLLM_VALIDATE(found == expected,
                           "top-k of {} elements is not exact: a bug; please "
                           "report it",
                           numbers.size());
    }
}

void measure_ratio(const Options& options,
                   const std::vector<Numbers>& draws,
                   double ratio,
                   Report& report) {
    const std::uint64_t size = draws[0].size();
    const auto kept = static_cast<std::uint64_t>(
        std::max(1.0, std::round(static_cast<double>(size) / ratio)));
    check_selection(draws, kept);
    std::vector<Candidate> candidates;
    add_copy(candidates, size);
    if (!options.has_no_peers) {
        add_peers(candidates, kept);
    }
    add_selection(candidates, size, kept);
    add_packing(candidates, draws[0], kept);
    add_codec(candidates, fmt::format("top_k({:g},int4)", ratio), draws);
    add_codec(candidates, fmt::format("top_k_row({:g},int4)", ratio), draws);
    run_rounds(candidates, draws, options.rounds);
    report.add(size, kept, candidates);
}

void measure(const Options& options) {
    const Numbers trace =
        options.values.empty() ? Numbers() : read_values(options.values);
    Report report(options.csv);
    double load[1] = {0};
    getloadavg(load, 1);
    fmt::print("{}, load {:.2f}\n", kokkos_version(), load[0]);
    for (const std::uint64_t size : options.sizes) {
        const auto draws = make_draws(trace, size);
        for (const double ratio : options.ratios) {
            measure_ratio(options, draws, ratio, report);
        }
        std::vector<Candidate> candidates;
        add_copy(candidates, size);
        for (const char* choice :
             {"int8", "int4", "int4s", "bf16", "subspace(16,int4)"}) {
            add_codec(candidates, choice, draws);
        }
        run_rounds(candidates, draws, options.rounds);
        report.add(size, size, candidates);
    }
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Codecs against a copy, and top-k against its peers");
    app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
    app.add_option("--sizes", options.sizes)->check(CLI::PositiveNumber);
    app.add_option("--ratios", options.ratios)->check(CLI::PositiveNumber);
    app.add_option("--values", options.values)->check(CLI::ExistingFile);
    app.add_option("--csv", options.csv);
    app.add_flag("--no-peers", options.has_no_peers);
    CLI11_PARSE(app, argc, argv);
    try {
        const KokkosScope kokkos(1);
        at::set_num_threads(1);
        measure(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "bench_codec: {}\n", error.what());
        return 1;
    }
    return 0;
}
