#pragma once

#include <bit>
#include <cstdint>

namespace fusionllm {

/*!
 * At which steps subspace codecs take a new basis: every `every`th, from step 0
 * on, and before the first of these at 1, 2, 4, 8, ..., since a model that has
 * just begun to learn leaves its first activations behind at once.
 */
struct BasisSchedule {
    std::int64_t every = 10;  //!< at least 1

    bool is_due(std::uint64_t step) const {
        const auto period = static_cast<std::uint64_t>(every);
        return step % period == 0 ||
               (step < period && std::has_single_bit(step));
    }
    //! Of the steps from `begin` up to, not including, `end`.
    std::int64_t count(std::int64_t begin, std::int64_t end) const {
        std::int64_t sum = 0;
        for (std::int64_t step = begin; step < end; ++step) {
            sum += is_due(static_cast<std::uint64_t>(step)) ? 1 : 0;
        }
        return sum;
    }
};

}  // namespace fusionllm
