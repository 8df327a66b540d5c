#include "top_k_host.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>
#include <optional>
#include <vector>

#include "fusionllm/util/random.hpp"

namespace fusionllm::detail {
namespace {

// Elements that are compared together: a bit of a word for each.
constexpr std::uint64_t block_size = 64;
// Among so few, sorting in part beats counting.
constexpr std::uint64_t few = 2048;
// Samples are taken where they share a cache line.
constexpr std::uint64_t line_size = 16;

//! The elements that may be kept, in order.
class Candidates {
public:
    explicit Candidates(std::uint64_t capacity)
        : capacity_(capacity),
          keys_(new std::uint32_t[capacity + block_size]),
          indices_(new std::uint32_t[capacity + block_size]) {}

    std::uint64_t size() const { return size_; }
    bool are_too_many() const { return size_ > capacity_; }
    bool fits(std::uint64_t count) const { return count <= capacity_; }
    std::span<const std::uint32_t> keys() const { return {keys_.get(), size_}; }
    std::span<const std::uint32_t> indices() const {
        return {indices_.get(), size_};
    }

    //! All whose key is `least` or more; stops when they are too many.
    void find(std::span<const float> numbers, std::uint32_t least);

private:
    void append(const float* numbers, std::uint64_t i);

    std::uint64_t capacity_;
    std::uint64_t size_ = 0;
    std::unique_ptr<std::uint32_t[]> keys_;
    std::unique_ptr<std::uint32_t[]> indices_;
};

/*!
 * Bit i: whether element i is large. Loops that every compiler makes vectors
 * of; signed, for that is what every vector instruction set compares.
 */
std::uint64_t find_large(const float* numbers, std::uint32_t least) {
    const auto below = static_cast<std::int32_t>(least) - 1;
    std::array<std::uint8_t, block_size> are_large;
    for (std::uint64_t i = 0; i < block_size; ++i) {
        const auto key = static_cast<std::int32_t>(magnitude_key(numbers[i]));
        are_large[i] = key > below ? 1 : 0;
    }
    // Eight bytes of 0 or 1 become eight bits.
    constexpr std::uint64_t collect = 0x0102040810204080u;
    std::uint64_t bits = 0;
    for (std::uint64_t i = 0; i < block_size; i += 8) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, are_large.data() + i, sizeof(eight));
        bits |= (eight * collect >> 56) << i;
    }
    return bits;
}

void Candidates::append(const float* numbers, std::uint64_t i) {
    keys_[size_] = magnitude_key(numbers[i]);
    indices_[size_] = static_cast<std::uint32_t>(i);
    ++size_;
}

void Candidates::find(std::span<const float> numbers, std::uint32_t least) {
    const std::uint64_t in_blocks = numbers.size() / block_size * block_size;
    size_ = 0;
    for (std::uint64_t i = 0; i < in_blocks; i += block_size) {
        std::uint64_t large = find_large(numbers.data() + i, least);
        for (; large != 0; large &= large - 1) {
            append(numbers.data(),
                   i + static_cast<std::uint64_t>(std::countr_zero(large)));
        }
        if (are_too_many()) {
            return;
        }
    }
    for (std::uint64_t i = in_blocks; i < numbers.size(); ++i) {
        if (magnitude_key(numbers[i]) >= least) {
            append(numbers.data(), i);
        }
    }
}

/*!
 * Counts of keys by some of their bits. The first level tells 64 magnitudes of
 * an octave apart; three levels all.
 */
class Histogram {
public:
    static constexpr std::array<int, 3> shifts = {17, 8, 0};
    static constexpr std::array<int, 3> widths = {14, 9, 8};

    struct Bin {
        std::uint32_t prefix = 0;     //!< of the keys, down to this level
        std::uint64_t num_above = 0;  //!< in the bins above
        std::uint64_t count = 0;
    };

    Histogram() : bins_(std::size_t{1} << widths[0]) {}

    //! The bin with the `rank`-th largest (from 1) of the keys that have this
    //! prefix.
    template <class KeyAt>
    Bin find(KeyAt key_at,
             std::uint64_t size,
             int level,
             std::uint32_t prefix,
             std::uint64_t rank) {
        const int shift = shifts[level];
        const int width = widths[level];
        const std::uint32_t mask = (1u << width) - 1;
        std::fill_n(bins_.begin(), std::size_t{1} << width, 0);
        std::uint32_t* bins = bins_.data();
        for (std::uint64_t i = 0; i < size; ++i) {
            const std::uint32_t digits = key_at(i) >> shift;
            if (level == 0) {
                ++bins[digits];
            } else if (digits >> width == prefix) {
                ++bins[digits & mask];
            }
        }
        return find_bin(prefix << width, mask, rank);
    }

    //! The `kept`-th largest, beginning behind a known first level.
    template <class KeyAt>
    Threshold refine(KeyAt key_at,
                     std::uint64_t size,
                     Bin bin,
                     std::uint64_t kept) {
        std::uint64_t rank = kept - bin.num_above;
        for (const int level : {1, 2}) {
            bin = find(key_at, size, level, bin.prefix, rank);
            rank -= bin.num_above;
        }
        return {bin.prefix, rank};
    }

private:
    Bin find_bin(std::uint32_t prefix,
                 std::uint32_t last,
                 std::uint64_t rank) const {
        std::uint64_t num_above = 0;
        std::uint32_t bin = last;
        while (bin > 0 && num_above + bins_[bin] < rank) {
            num_above += bins_[bin--];
        }
        return {prefix | bin, num_above, bins_[bin]};
    }

    std::vector<std::uint32_t> bins_;
};

class HostTopK final : public TopKSelector::Method {
public:
    explicit HostTopK(const TopKTask& task)
        : task_(task), candidates_(task.capacity()) {}

    void select(std::span<const float> numbers,
                std::span<std::uint32_t> indices) override {
        guess_ = TopKSelector::Guess::none;
        if (task_.kept == 0 || task_.kept == task_.shape.size()) {
            std::iota(indices.begin(), indices.end(), 0u);
        } else if (task_.is_by_row()) {
            select_rows(numbers, indices);
        } else {
            select_all(numbers, indices);
        }
    }

    void set_hint(std::uint32_t threshold) override {
        hint_ = std::min(threshold, 0x7fffffffu);
        is_steady_ = true;
    }
    void forget_hint() override { hint_.reset(); }
    TopKSelector::Guess last_guess() const override { return guess_; }

private:
    using Guess = TopKSelector::Guess;

    void select_all(std::span<const float> numbers,
                    std::span<std::uint32_t> indices);
    bool try_guess(std::span<const float> numbers,
                   std::span<std::uint32_t> indices,
                   std::uint32_t least);
    std::uint32_t sample(std::span<const float> numbers);
    void select_by_histogram(std::span<const float> numbers,
                             std::span<std::uint32_t> indices);
    void select_rows(std::span<const float> numbers,
                     std::span<std::uint32_t> indices);
    void find_in_row(std::span<const float> row, std::uint64_t kept);

    //! Whether the choice can be made among the candidates.
    bool are_enough(std::uint64_t kept) const {
        return candidates_.size() >= kept && !candidates_.are_too_many();
    }
    void choose(std::span<std::uint32_t> indices, std::uint32_t first);
    Threshold find_threshold(std::uint64_t kept);

    TopKTask task_;
    Candidates candidates_;
    Histogram histogram_;
    Margin margin_;
    std::vector<std::uint32_t> sorted_;   //!< memory of a part of a sort
    std::vector<std::uint32_t> sampled_;  //!< memory of a sample
    std::optional<std::uint32_t> hint_;
    bool is_steady_ = true;  //!< the hint is worth a try
    Guess guess_ = Guess::none;
};

Threshold HostTopK::find_threshold(std::uint64_t kept) {
    const auto keys = candidates_.keys();
    std::uint64_t rank = kept;
    if (keys.size() > few) {
        const auto key_at = [&](std::uint64_t i) { return keys[i]; };
        const auto bin = histogram_.find(key_at, keys.size(), 0, 0, kept);
        if (bin.count > keys.size() / 8) {
            return histogram_.refine(key_at, keys.size(), bin, kept);
        }
        sorted_.clear();
        std::ranges::copy_if(
            keys, std::back_inserter(sorted_), [&](std::uint32_t key) {
                return key >> Histogram::shifts[0] == bin.prefix;
            });
        rank -= bin.num_above;
    } else {
        sorted_.assign(keys.begin(), keys.end());
    }
    const auto last = sorted_.begin() + static_cast<std::ptrdiff_t>(rank) - 1;
    std::nth_element(sorted_.begin(), last, sorted_.end(), std::greater<>());
    const auto num_above = std::count_if(
        sorted_.begin(), last, [&](auto key) { return key > *last; });
    return {*last, rank - static_cast<std::uint64_t>(num_above)};
}

//! Writes where they are, those that `is_kept`, until all have been found.
template <class KeyAt, class IndexAt>
void write_kept(const Threshold& threshold,
                KeyAt key_at,
                IndexAt index_at,
                std::span<std::uint32_t> indices) {
    std::uint64_t num_equal = 0;
    std::uint64_t num_written = 0;
    for (std::uint64_t i = 0; num_written < indices.size(); ++i) {
        const std::uint32_t key = key_at(i);
        const bool is_equal = key == threshold.key;
        const bool is_kept = (key > threshold.key) |
                             (is_equal & (num_equal < threshold.num_equal));
        indices[num_written] = index_at(i);
        num_equal += is_equal ? 1 : 0;
        num_written += is_kept ? 1 : 0;
    }
}

void HostTopK::choose(std::span<std::uint32_t> indices, std::uint32_t first) {
    const Threshold threshold = find_threshold(indices.size());
    const std::uint32_t* keys = candidates_.keys().data();
    const std::uint32_t* found = candidates_.indices().data();
    write_kept(
        threshold,
        [&](std::uint64_t i) { return keys[i]; },
        [&](std::uint64_t i) { return first + found[i]; },
        indices);
    hint_ = threshold.key;
}

void HostTopK::select_all(std::span<const float> numbers,
                          std::span<std::uint32_t> indices) {
    if (candidates_.fits(numbers.size())) {
        candidates_.find(numbers, 0);
        choose(indices, 0);
        return;
    }
    const std::optional<std::uint32_t> last = hint_;
    const bool is_carried = last && is_steady_;
    if (is_carried && try_guess(numbers, indices, margin_.below(*last))) {
        guess_ = Guess::carried;
        margin_.adapt(candidates_.size(), indices.size());
        return;
    }
    if (is_carried && candidates_.size() < indices.size()) {
        margin_.widen();
    }
    guess_ = is_carried ? Guess::wrong : Guess::sampled;
    if (!try_guess(numbers, indices, sample(numbers))) {
        guess_ = Guess::wrong;
        select_by_histogram(numbers, indices);
    }
    is_steady_ = !last || margin_.has(*last, *hint_);
}

//! True if the choice could be made among those of `least` and more.
bool HostTopK::try_guess(std::span<const float> numbers,
                         std::span<std::uint32_t> indices,
                         std::uint32_t least) {
    candidates_.find(numbers, least);
    if (!are_enough(indices.size())) {
        return false;
    }
    choose(indices, 0);
    return true;
}

/*!
 * A key that slightly more elements than are kept should reach: of m samples
 * about r = m k/n are kept, give or take sqrt(r).
 */
std::uint32_t HostTopK::sample(std::span<const float> numbers) {
    const double n = static_cast<double>(numbers.size());
    const double k = static_cast<double>(task_.kept);
    const double wanted = std::clamp(400 * n / k, 4096.0, n / 16);
    const auto num_lines = static_cast<std::uint64_t>(wanted) / line_size + 1;
    const std::uint64_t stretch = numbers.size() / num_lines;
    const PhiloxKey key = make_philox_key(numbers.size());
    sampled_.clear();
    for (std::uint64_t i = 0; i < num_lines; ++i) {
        // At random, lest columns of a matrix be met at regular distances.
        const auto random =
            philox({{static_cast<std::uint32_t>(i), 0, 0, 0}}, key).words[0];
        const float* line =
            numbers.data() + i * stretch + random % (stretch - line_size + 1);
        for (std::uint64_t j = 0; j < line_size; ++j) {
            sampled_.push_back(magnitude_key(line[j]));
        }
    }
    const double rank = static_cast<double>(sampled_.size()) * k / n;
    const auto safe_rank =
        static_cast<std::uint64_t>(rank + 3 * std::sqrt(rank) + 4);
    const auto bin =
        histogram_.find([&](std::uint64_t i) { return sampled_[i]; },
                        sampled_.size(),
                        0,
                        0,
                        std::min<std::uint64_t>(safe_rank, sampled_.size()));
    return bin.prefix << Histogram::shifts[0];
}

void HostTopK::select_by_histogram(std::span<const float> numbers,
                                   std::span<std::uint32_t> indices) {
    const auto key_at = [&](std::uint64_t i) {
        return magnitude_key(numbers[i]);
    };
    const std::uint64_t kept = indices.size();
    const auto bin = histogram_.find(key_at, numbers.size(), 0, 0, kept);
    if (candidates_.fits(bin.num_above + bin.count)) {
        candidates_.find(numbers, bin.prefix << Histogram::shifts[0]);
        choose(indices, 0);
        return;
    }
    const Threshold threshold =
        histogram_.refine(key_at, numbers.size(), bin, kept);
    write_kept(
        threshold,
        key_at,
        [](std::uint64_t i) { return static_cast<std::uint32_t>(i); },
        indices);
    hint_ = threshold.key;
}

//! The threshold of one row is the guess for the next.
void HostTopK::select_rows(std::span<const float> numbers,
                           std::span<std::uint32_t> indices) {
    const std::uint64_t columns = task_.shape.columns;
    const std::uint64_t kept = task_.kept_of_row();
    guess_ = hint_ ? Guess::carried : Guess::none;
    for (std::uint64_t row = 0; row < task_.shape.rows; ++row) {
        const auto row_indices = indices.subspan(row * kept, kept);
        const auto row_numbers = numbers.subspan(row * columns, columns);
        find_in_row(row_numbers, kept);
        if (are_enough(kept)) {
            choose(row_indices, static_cast<std::uint32_t>(row * columns));
            margin_.adapt(candidates_.size(), kept);
            continue;
        }
        select_by_histogram(row_numbers, row_indices);
        for (std::uint32_t& index : row_indices) {
            index += static_cast<std::uint32_t>(row * columns);
        }
    }
}

//! A row is in the nearest cache: looking at it again costs little.
void HostTopK::find_in_row(std::span<const float> row, std::uint64_t kept) {
    constexpr std::uint32_t octave = 1u << 23;
    std::uint32_t least = hint_ ? margin_.below(*hint_) : 0;
    candidates_.find(row, least);
    while (candidates_.size() < kept) {
        margin_.widen();
        least = least > octave ? least - octave : 0;
        candidates_.find(row, least);
    }
}

}  // namespace

std::unique_ptr<TopKSelector::Method> make_host_top_k(const TopKTask& task) {
    return std::make_unique<HostTopK>(task);
}

}  // namespace fusionllm::detail
