#pragma once

#include <cstddef>
#include <cstdint>

#include "fusionllm/util/random.hpp"

namespace fusionllm::test {

//! Numbers that are the same in every run.
class Numbers {
public:
    explicit Numbers(std::uint64_t seed) : key_(make_philox_key(seed)) {}
    std::uint32_t below(std::size_t limit) {
        const PhiloxBlock block = philox({{next_++, 0, 0, 0}}, key_);
        return block.words[0] % static_cast<std::uint32_t>(limit);
    }

private:
    PhiloxKey key_;
    std::uint32_t next_ = 0;
};

}  // namespace fusionllm::test
