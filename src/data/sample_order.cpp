#include <bit>

#include "fusionllm/data/dataset.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm {
namespace {

/*!
 * Permutation of the numbers of 2 * half_bits bits: a balanced Feistel network
 * whose round function is Philox. Luby and Rackoff, "How to construct
 * pseudorandom permutations from pseudorandom functions", 1988, need four
 * rounds; small halves want more.
 */
class Feistel {
public:
    Feistel(std::uint64_t key, unsigned half_bits)
        : key_(make_philox_key(key)),
          half_bits_(half_bits),
          mask_((std::uint64_t{1} << half_bits) - 1) {}

    std::uint64_t operator()(std::uint64_t number) const {
        std::uint64_t left = number >> half_bits_;
        std::uint64_t right = number & mask_;
        for (std::uint32_t round = 0; round < 6; ++round) {
            const PhiloxBlock block = philox(
                {{static_cast<std::uint32_t>(right), round, 0, 0}}, key_);
            const std::uint64_t next = left ^ (block.words[0] & mask_);
            left = right;
            right = next;
        }
        return left << half_bits_ | right;
    }

private:
    PhiloxKey key_;
    unsigned half_bits_;
    std::uint64_t mask_;
};

}  // namespace

SampleOrder::SampleOrder(std::uint64_t seed, std::size_t size, Kind kind)
    : seed_(derive_key(seed, "sample order")), size_(size), kind_(kind) {
    FUSIONLLM_EXPECTS(size > 0);
}

std::size_t SampleOrder::operator()(std::uint64_t position) const {
    const std::uint64_t epoch = position / size_;
    std::uint64_t number = position % size_;
    if (kind_ == Kind::sequential) {
        return number;
    }
    const auto bits =
        static_cast<unsigned>(std::bit_width(std::uint64_t{size_ - 1}));
    const Feistel permute(derive_key(seed_, epoch), (bits + 1) / 2);
    // Following the cycle until it comes back into the range keeps this a
    // permutation; fewer than four rounds on average.
    do {
        number = permute(number);
    } while (number >= size_);
    return number;
}

}  // namespace fusionllm
