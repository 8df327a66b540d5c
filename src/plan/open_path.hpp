#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

namespace fusionllm::detail {

//! A symmetric distance between nodes 0 to size - 1.
using Distance = std::function<double(std::size_t, std::size_t)>;

//! Where a path must begin and end, if anywhere.
struct PathEnds {
    std::optional<std::size_t> first;
    std::optional<std::size_t> last;
};

/*!
 * A short open path through all nodes: exact up to 8 nodes (Held and Karp),
 * else nearest neighbour and 2-opt. Deterministic: of equal paths the one that
 * is found first, nodes taken in order.
 */
std::vector<std::size_t> find_open_path(std::size_t size,
                                        const Distance& distance,
                                        const PathEnds& ends);

}  // namespace fusionllm::detail
