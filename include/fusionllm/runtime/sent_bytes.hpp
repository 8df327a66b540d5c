#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace fusionllm {

//! Bytes of the messages that a rank sent in one training step, headers
//! included; what only steers the run (reports, decisions) is not counted.
struct SentBytes {
    std::vector<std::uint64_t> activations;            //!< by micro-batch
    std::vector<std::uint64_t> gradients;              //!< by micro-batch
    std::map<int, std::uint64_t> parameter_gradients;  //!< by destination rank

    friend bool operator==(const SentBytes&, const SentBytes&) = default;
};

//! Bytes from the first rank to the second.
using RankTraffic = std::map<std::pair<int, int>, std::uint64_t>;

}  // namespace fusionllm
