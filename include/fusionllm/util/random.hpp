#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace fusionllm {

/*!
 * Philox4x32-10: 128 random bits as a pure function of a counter and a key.
 *
 * Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Used
 * for initial parameters, dropout masks and the sample order, so that none of
 * them depends on ranks, threads or devices. Inline, with FUSIONLLM_INLINE so
 * that Kokkos kernels can call it on a device.
 */
#ifdef __CUDACC__
#define FUSIONLLM_INLINE __host__ __device__ inline
#else
#define FUSIONLLM_INLINE inline
#endif

struct PhiloxKey {
    std::uint32_t words[2];
};

struct PhiloxBlock {
    std::uint32_t words[4];
};

//! Word w of `count` counters in words[w], so that compilers can vectorise.
template <int count>
FUSIONLLM_INLINE void philox_lanes(std::uint32_t* words0,
                                   std::uint32_t* words1,
                                   std::uint32_t* words2,
                                   std::uint32_t* words3,
                                   PhiloxKey key) {
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < count; ++i) {
            const std::uint64_t a = 0xD2511F53ull * words0[i];
            const std::uint64_t b = 0xCD9E8D57ull * words2[i];
            words0[i] =
                static_cast<std::uint32_t>(b >> 32) ^ words1[i] ^ key.words[0];
            words2[i] =
                static_cast<std::uint32_t>(a >> 32) ^ words3[i] ^ key.words[1];
            words1[i] = static_cast<std::uint32_t>(b);
            words3[i] = static_cast<std::uint32_t>(a);
        }
        key.words[0] += 0x9E3779B9u;
        key.words[1] += 0xBB67AE85u;
    }
}

FUSIONLLM_INLINE PhiloxBlock philox(PhiloxBlock counter, PhiloxKey key) {
    auto& c = counter.words;
    philox_lanes<1>(&c[0], &c[1], &c[2], &c[3], key);
    return counter;
}

//! Mix a seed with a text (a parameter's or an op's name) to a 64-bit key.
std::uint64_t derive_key(std::uint64_t seed, std::string_view name);
//! Mix a key with a number (a step, an epoch).
std::uint64_t derive_key(std::uint64_t key, std::uint64_t number);
//! The 64-bit key as Philox takes it.
FUSIONLLM_INLINE PhiloxKey make_philox_key(std::uint64_t key) {
    return {{static_cast<std::uint32_t>(key),
             static_cast<std::uint32_t>(key >> 32)}};
}

}  // namespace fusionllm
