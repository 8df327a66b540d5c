#include "fusionllm/codec/dropout_mask.hpp"

#include <algorithm>
#include <cmath>

#include <Kokkos_Core.hpp>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm {
namespace {

//! Writes the four elements of one Philox block; the last may be fewer.
struct FillBlock {
    float* mask;
    std::uint64_t count;
    PhiloxKey key;
    std::uint32_t threshold;
    float kept;

    KOKKOS_INLINE_FUNCTION void operator()(std::uint64_t block) const {
        const PhiloxBlock counter{{static_cast<std::uint32_t>(block),
                                   static_cast<std::uint32_t>(block >> 32),
                                   0,
                                   0}};
        const PhiloxBlock random = philox(counter, key);
        for (std::uint64_t i = 0; i < 4 && 4 * block + i < count; ++i) {
            mask[4 * block + i] = random.words[i] >= threshold ? kept : 0.0f;
        }
    }
};

template <class ExecutionSpace>
void fill(const ExecutionSpace& space, const FillBlock& kernel) {
    using Policy =
        Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::uint64_t>>;
    Kokkos::parallel_for("FusionLLM::DropoutMask::fill",
                         Policy(space, 0, (kernel.count + 3) / 4),
                         kernel);
    space.fence();
}

}  // namespace

void fill_dropout_mask(std::span<float> mask,
                       std::uint64_t key,
                       double p,
                       MemorySpace space) {
    FUSIONLLM_EXPECTS(p >= 0 && p < 1);
    const FillBlock kernel{mask.data(),
                           mask.size(),
                           make_philox_key(key),
                           static_cast<std::uint32_t>(p * 0x1p32),
                           static_cast<float>(1 / (1 - p))};
    if (space == MemorySpace::host) {
        fill(Kokkos::DefaultHostExecutionSpace(), kernel);
        return;
    }
#ifdef KOKKOS_ENABLE_CUDA
    fill(Kokkos::Cuda(), kernel);
#else
    throw Error(
        "a dropout mask is wanted in CUDA memory, but this Kokkos has no CUDA; "
        "build with a Kokkos that has, or set [model] dropout = 0");
#endif
}

}  // namespace fusionllm
