#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <Kokkos_Core.hpp>

#include "fusionllm/wire/codec_spec.hpp"

#include "row_levels.hpp"

namespace fusionllm::detail {

//! Of the level that a message begins with.
inline constexpr std::uint64_t level_bytes = 2;

//! A work item writes a byte of the message, and gives rows the level that who
//! reads it will.
template <class Rows>
struct PackLevels {
    Rows meaning;
    std::uint16_t* levels;
    unsigned char* message;
    std::uint64_t rows;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t item) const {
        if (item < level_bytes) {
            message[item] =
                static_cast<unsigned char>(meaning.first >> 8 * item);
            return;
        }
        constexpr int in_a_byte = 8 / Rows::bits;
        int packed = 0;
        for (int i = 0; i < in_a_byte; ++i) {
            const std::uint64_t row = in_a_byte * (item - level_bytes) +
                                      static_cast<std::uint64_t>(i);
            if (row < rows) {
                const int code = meaning.code(levels[row]);
                levels[row] = static_cast<std::uint16_t>(meaning.level(code));
                packed |= code << Rows::bits * i;
            }
        }
        message[item] = static_cast<unsigned char>(packed);
    }
};

//! A work item reads a row's; what no sender writes becomes the nearest.
template <class Rows>
struct UnpackLevels {
    const unsigned char* message;
    std::uint16_t* levels;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t row) const {
        constexpr int in_a_byte = 8 / Rows::bits;
        const int packed = message[level_bytes + row / in_a_byte];
        const int code =
            packed >> Rows::bits * (row % in_a_byte) & ((1 << Rows::bits) - 1);
        levels[row] = static_cast<std::uint16_t>(
            Rows{message[0] | message[1] << 8}.level(code));
    }
};

struct LargestLevel {
    const std::uint16_t* levels;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t row,
                                           int& largest) const {
        largest = levels[row] > largest ? levels[row] : largest;
    }
};

//! Their sum, in which rows of zeros do not count.
struct SumLevels {
    const std::uint16_t* levels;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t row,
                                           std::uint64_t& sum) const {
        sum += levels[row];
    }
};

struct CountLevels {
    const std::uint16_t* levels;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t row,
                                           std::uint64_t& count) const {
        count += levels[row] == row_of_zeros ? 0 : 1;
    }
};

//! What a tensor's rows are divided by, and where it stands in messages.
template <class Execution>
class RowScales {
public:
    RowScales(const Execution& execution,
              std::uint64_t rows,
              std::uint64_t kept)
        : execution_(execution),
          rows_(rows),
          kept_(kept),
          levels_("FusionLLM::Subspace::levels", rows) {}

    //! Divides the coefficients by what it writes; what is left of the payload.
    std::span<std::byte> divide(const CodecSpec& spec,
                                float* coefficients,
                                std::span<std::byte> payload) {
        const std::size_t size = row_level_bytes(spec, rows_);
        auto* const message = reinterpret_cast<unsigned char*>(payload.data());
        for_blocks(
            FindLevels<at_once>{coefficients, levels_.data(), rows_, kept_});
        if (spec.rows_differ) {
            pack(DifferingRows{largest()}, message, size);
        } else {
            pack(AlikeRows{mean()}, message, size);
        }
        for_blocks(ScaleRows<at_once, true>{
            coefficients, levels_.data(), rows_, kept_});
        execution_.fence();
        return payload.subspan(size);
    }

    //! What is left of the payload.
    std::span<const std::byte> read(const CodecSpec& spec,
                                    std::span<const std::byte> payload) {
        const auto* const message =
            reinterpret_cast<const unsigned char*>(payload.data());
        if (spec.rows_differ) {
            unpack(UnpackLevels<DifferingRows>{message, levels_.data()});
        } else {
            unpack(UnpackLevels<AlikeRows>{message, levels_.data()});
        }
        return payload.subspan(row_level_bytes(spec, rows_));
    }

    //! By what was read.
    void multiply(float* coefficients) {
        for_blocks(ScaleRows<at_once, false>{
            coefficients, levels_.data(), rows_, kept_});
        execution_.fence();
    }

private:
    using Memory = typename Execution::memory_space;
    using Policy =
        Kokkos::RangePolicy<Execution, Kokkos::IndexType<std::uint64_t>>;

    static constexpr int at_once = rows_at_once<Execution>;

    Execution execution_;
    std::uint64_t rows_;
    std::uint64_t kept_;
    Kokkos::View<std::uint16_t*, Memory> levels_;

    template <class Kernel>
    void for_blocks(const Kernel& kernel) {
        Kokkos::parallel_for(
            "FusionLLM::Subspace::scale_rows",
            Policy(execution_, 0, (rows_ + at_once - 1) / at_once),
            kernel);
    }

    template <class Kernel, class Reducer>
    void reduce(const Kernel& kernel, const Reducer& reducer) {
        Kokkos::parallel_reduce("FusionLLM::Subspace::reduce_levels",
                                Policy(execution_, 0, rows_),
                                kernel,
                                reducer);
    }

    int largest() {
        int largest = 0;
        reduce(LargestLevel{levels_.data()}, Kokkos::Max<int>(largest));
        return largest;
    }

    int mean() {
        std::uint64_t sum = 0;
        std::uint64_t count = 0;
        reduce(SumLevels{levels_.data()}, Kokkos::Sum<std::uint64_t>(sum));
        reduce(CountLevels{levels_.data()}, Kokkos::Sum<std::uint64_t>(count));
        return count == 0 ? in_octave * octave_zero
                          : static_cast<int>((sum + count / 2) / count);
    }

    template <class Rows>
    void pack(const Rows& meaning, unsigned char* message, std::size_t size) {
        Kokkos::parallel_for(
            "FusionLLM::Subspace::pack_levels",
            Policy(execution_, 0, size),
            PackLevels<Rows>{meaning, levels_.data(), message, rows_});
    }

    template <class Kernel>
    void unpack(const Kernel& kernel) {
        Kokkos::parallel_for("FusionLLM::Subspace::unpack_levels",
                             Policy(execution_, 0, rows_),
                             kernel);
        execution_.fence();
    }
};

}  // namespace fusionllm::detail
