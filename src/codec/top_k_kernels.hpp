#pragma once

#include <algorithm>
#include <optional>

#include "top_k_row_kernel.hpp"
#include "top_k_select.hpp"

namespace fusionllm::detail {

//! Elements in order: all of them, or those that were found to matter.
struct KeyList {
    const float* numbers;
    const std::uint32_t* chosen;  //!< null: all
    std::uint64_t size;

    KOKKOS_INLINE_FUNCTION std::uint32_t index(std::uint64_t i) const {
        return chosen == nullptr ? static_cast<std::uint32_t>(i) : chosen[i];
    }
    KOKKOS_INLINE_FUNCTION std::uint32_t key(std::uint64_t i) const {
        return magnitude_key(numbers[index(i)]);
    }
};

//! Counts the keys with a prefix by their next digit.
struct CountDigits {
    KeyList list;
    std::uint32_t* bins;
    std::uint32_t prefix;
    int shift;
    int width;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i) const {
        const std::uint32_t digits = list.key(i) >> shift;
        if (digits >> width == prefix) {
            Kokkos::atomic_increment(&bins[digits & ((1u << width) - 1)]);
        }
    }
};

//! Writes the kept ones where they belong.
struct WriteKept {
    KeyList list;
    std::uint32_t* indices;
    Keeping keeping;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i,
                                           std::uint64_t& before,
                                           bool is_final) const {
        const std::uint32_t key = list.key(i);
        if (is_final && keeping.is_kept(key, before)) {
            indices[keeping.place(before)] = list.index(i);
        }
        before += keeping.count(key);
    }
};

//! Writes where keys are `least` or more; counts them beyond `capacity`, too.
struct FindLarge {
    const float* numbers;
    std::uint32_t* found;
    std::uint32_t least;
    std::uint64_t capacity;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i,
                                           std::uint64_t& before,
                                           bool is_final) const {
        if (magnitude_key(numbers[i]) >= least) {
            if (is_final && before < capacity) {
                found[before] = static_cast<std::uint32_t>(i);
            }
            ++before;
        }
    }
};

struct WriteAll {
    std::uint32_t* indices;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t i) const {
        indices[i] = static_cast<std::uint32_t>(i);
    }
};

//! Selection by kernels, wherever Kokkos runs them.
template <class Space>
class KernelTopK final : public TopKSelector::Method {
public:
    explicit KernelTopK(const TopKTask& task)
        : task_(task),
          bins_("FusionLLM::TopK::bins", num_bins),
          found_(Kokkos::view_alloc(Kokkos::WithoutInitializing,
                                    "FusionLLM::TopK::found"),
                 task.is_by_row() ? 0 : task.capacity()) {}

    void select(std::span<const float> numbers,
                std::span<std::uint32_t> indices) override {
        guess_ = TopKSelector::Guess::none;
        if (task_.kept == 0) {
            return;
        }
        if (task_.kept == task_.shape.size()) {
            Kokkos::parallel_for("FusionLLM::TopK::all",
                                 range(indices.size()),
                                 WriteAll{indices.data()});
        } else if (task_.is_by_row()) {
            select_rows(numbers, indices);
        } else {
            const std::optional<std::uint32_t> last = hint_;
            select_of(find_candidates(numbers), indices);
            is_steady_ = !last || guess_ == TopKSelector::Guess::carried ||
                         margin_.has(*last, *hint_);
        }
        space_.fence();
    }

    void set_hint(std::uint32_t threshold) override {
        hint_ = std::min(threshold, 0x7fffffffu);
        is_steady_ = true;
    }
    void forget_hint() override { hint_.reset(); }
    TopKSelector::Guess last_guess() const override { return guess_; }

private:
    static constexpr std::size_t num_bins = std::size_t{1} << 11;
    using Range = Kokkos::RangePolicy<Space, Kokkos::IndexType<std::uint64_t>>;

    Range range(std::uint64_t size) const { return Range(space_, 0, size); }

    //! A superset of what is kept; all where no hint is worth a try, or a wrong
    //! one was.
    KeyList find_candidates(std::span<const float> numbers) {
        const KeyList all{numbers.data(), nullptr, numbers.size()};
        if (!hint_ || !is_steady_) {
            return all;
        }
        std::uint64_t num_found = 0;
        Kokkos::parallel_scan("FusionLLM::TopK::find",
                              range(numbers.size()),
                              FindLarge{numbers.data(),
                                        found_.data(),
                                        margin_.below(*hint_),
                                        found_.size()},
                              num_found);
        if (num_found < task_.kept || num_found > found_.size()) {
            guess_ = TopKSelector::Guess::wrong;
            if (num_found < task_.kept) {
                margin_.widen();
            }
            return all;
        }
        guess_ = TopKSelector::Guess::carried;
        margin_.adapt(num_found, task_.kept);
        return {numbers.data(), found_.data(), num_found};
    }

    void select_of(const KeyList& list, std::span<std::uint32_t> indices) {
        Threshold threshold{0, task_.kept};
        // 11 + 10 + 10 bits of a key
        narrow(list, 20, 11, threshold);
        narrow(list, 10, 10, threshold);
        narrow(list, 0, 10, threshold);
        Kokkos::parallel_scan(
            "FusionLLM::TopK::write",
            range(list.size),
            WriteKept{
                list, indices.data(), {threshold.key, threshold.num_equal}});
        hint_ = threshold.key;
    }

    //! Append a digit to the key; rank and key of the bin where it is.
    void narrow(const KeyList& list,
                int shift,
                int width,
                Threshold& threshold) {
        Kokkos::deep_copy(space_, bins_, 0u);
        Kokkos::parallel_for(
            "FusionLLM::TopK::count",
            range(list.size),
            CountDigits{list, bins_.data(), threshold.key, shift, width});
        const auto bins_host = Kokkos::create_mirror_view_and_copy(
            Kokkos::HostSpace(), bins_, "FusionLLM::TopK::bins_host");
        std::uint32_t bin = (1u << width) - 1;
        while (bin > 0 && bins_host(bin) < threshold.num_equal) {
            threshold.num_equal -= bins_host(bin--);
        }
        threshold.key = threshold.key << width | bin;
    }

    void select_rows(std::span<const float> numbers,
                     std::span<std::uint32_t> indices) {
        using Kernel = SelectOfRow<Space>;
        const auto scratch =
            Kokkos::PerTeam(Kernel::Bins::shmem_size(Kernel::num_bins));
        const auto num_rows = static_cast<int>(task_.shape.rows);
        Kokkos::parallel_for(
            "FusionLLM::TopK::select_rows",
            Kokkos::TeamPolicy<Space>(space_, num_rows, Kokkos::AUTO)
                .set_scratch_size(0, scratch),
            Kernel{numbers.data(),
                   indices.data(),
                   task_.shape.columns,
                   task_.kept_of_row()});
    }

    TopKTask task_;
    Space space_;
    Kokkos::View<std::uint32_t*, Space> bins_;
    Kokkos::View<std::uint32_t*, Space> found_;
    Margin margin_;
    std::optional<std::uint32_t> hint_;
    bool is_steady_ = true;  //!< the hint is worth a try
    TopKSelector::Guess guess_ = TopKSelector::Guess::none;
};

}  // namespace fusionllm::detail
