#pragma once

#include "top_k_select.hpp"

namespace fusionllm::detail {

/*!
 * What is kept, as elements are met in order. Elements above the threshold and
 * at it are counted in one number, upper and lower half, for teams scan only
 * numbers.
 */
struct Keeping {
    std::uint32_t threshold;
    std::uint64_t num_equal;

    KOKKOS_INLINE_FUNCTION bool is_kept(std::uint32_t key,
                                        std::uint64_t before) const {
        return key > threshold ||
               (key == threshold && (before & 0xffffffffu) < num_equal);
    }
    //! Of the indices
    KOKKOS_INLINE_FUNCTION std::uint64_t place(std::uint64_t before) const {
        const std::uint64_t equal = before & 0xffffffffu;
        return (before >> 32) + (equal < num_equal ? equal : num_equal);
    }
    KOKKOS_INLINE_FUNCTION std::uint64_t count(std::uint32_t key) const {
        return key > threshold ? std::uint64_t{1} << 32
                               : static_cast<std::uint64_t>(key == threshold);
    }
};

/*!
 * A team selects of a row: four levels of bytes narrow the threshold, then it
 * writes what is kept.
 */
template <class Space>
struct SelectOfRow {
    static constexpr int num_bins = 256;
    using Member = typename Kokkos::TeamPolicy<Space>::member_type;
    using Bins = Kokkos::View<std::uint32_t*,
                              typename Space::scratch_memory_space,
                              Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

    const float* numbers;
    std::uint32_t* indices;
    std::uint64_t columns;
    std::uint64_t kept;

    KOKKOS_INLINE_FUNCTION void operator()(const Member& team) const {
        const auto row = static_cast<std::uint64_t>(team.league_rank());
        const float* of_row = numbers + row * columns;
        const Bins bins(team.team_scratch(0), num_bins);
        std::uint32_t prefix = 0;
        std::uint64_t rank = kept;
        for (int shift = 24; shift >= 0; shift -= 8) {
            count(team, of_row, bins, prefix, shift);
            // prefix and what is left of rank, as one number.
            std::uint64_t found = 0;
            Kokkos::single(
                Kokkos::PerTeam(team),
                [&](std::uint64_t& result) {
                    std::uint64_t left = rank;
                    int bin = num_bins - 1;
                    while (bin > 0 && bins(bin) < left) {
                        left -= bins(bin--);
                    }
                    result = left << 8 | static_cast<std::uint64_t>(bin);
                },
                found);
            prefix = prefix << 8 | static_cast<std::uint32_t>(found & 0xff);
            rank = found >> 8;
            team.team_barrier();
        }
        write(team, of_row, row, {prefix, rank});
    }

    KOKKOS_INLINE_FUNCTION void count(const Member& team,
                                      const float* of_row,
                                      const Bins& bins,
                                      std::uint32_t prefix,
                                      int shift) const {
        Kokkos::parallel_for(Kokkos::TeamThreadRange(team, num_bins),
                             [&](int bin) { bins(bin) = 0; });
        team.team_barrier();
        Kokkos::parallel_for(
            Kokkos::TeamThreadRange(team, columns), [&](std::uint64_t i) {
                const std::uint32_t digits = magnitude_key(of_row[i]) >> shift;
                if (digits >> 8 == prefix) {
                    Kokkos::atomic_increment(&bins(digits & 0xff));
                }
            });
        team.team_barrier();
    }

    KOKKOS_INLINE_FUNCTION void write(const Member& team,
                                      const float* of_row,
                                      std::uint64_t row,
                                      const Keeping& keeping) const {
        Kokkos::parallel_scan(
            Kokkos::TeamThreadRange(team, columns),
            [&](std::uint64_t i, std::uint64_t& before, bool is_final) {
                const std::uint32_t key = magnitude_key(of_row[i]);
                if (is_final && keeping.is_kept(key, before)) {
                    indices[row * kept + keeping.place(before)] =
                        static_cast<std::uint32_t>(row * columns + i);
                }
                before += keeping.count(key);
            });
    }
};

}  // namespace fusionllm::detail
