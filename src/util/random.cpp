#include "fusionllm/util/random.hpp"

#include "fusionllm/util/hash.hpp"

namespace fusionllm {
namespace {

//! One draw of SplitMix64 (Steele et al., OOPSLA 2014): a bijection that
//! changes about half of the bits for any change of its input.
constexpr std::uint64_t mix(std::uint64_t z) {
    z += 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

}  // namespace

std::uint64_t derive_key(std::uint64_t seed, std::string_view name) {
    return mix(mix(seed) ^ hash_text(name));
}

std::uint64_t derive_key(std::uint64_t key, std::uint64_t number) {
    // Not mix(key) ^ number: that would meet derive_key(key, name) for a
    // number that equals the name's hash.
    return mix(mix(key) + mix(~number));
}

}  // namespace fusionllm
