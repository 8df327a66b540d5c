#include "open_path.hpp"

#include <algorithm>
#include <limits>

namespace fusionllm::detail {
namespace {

using Path = std::vector<std::size_t>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::size_t max_exact = 8;
// 2-opt ends long before; this bounds the time on large inputs.
constexpr int max_passes = 20;
constexpr double least_gain = 1e-12;

//! Shortest path over all subsets of nodes, by (subset, last node).
Path find_exactly(std::size_t size,
                  const Distance& distance,
                  const PathEnds& ends) {
    const std::size_t num_sets = std::size_t{1} << size;
    std::vector<double> length(num_sets * size, infinity);
    std::vector<std::size_t> before(num_sets * size, 0);
    for (std::size_t node = 0; node < size; ++node) {
        if (!ends.first || *ends.first == node) {
            length[(std::size_t{1} << node) * size + node] = 0;
        }
    }
    for (std::size_t set = 1; set < num_sets; ++set) {
        for (std::size_t node = 0; node < size; ++node) {
            const double so_far = length[set * size + node];
            if (so_far == infinity) {
                continue;
            }
            for (std::size_t next = 0; next < size; ++next) {
                const std::size_t bit = std::size_t{1} << next;
                if ((set & bit) != 0) {
                    continue;
                }
                const double total = so_far + distance(node, next);
                const std::size_t state = (set | bit) * size + next;
                if (total < length[state]) {
                    length[state] = total;
                    before[state] = node;
                }
            }
        }
    }
    std::size_t last = ends.last.value_or(0);
    std::size_t set = num_sets - 1;
    for (std::size_t node = 0; node < size && !ends.last; ++node) {
        if (length[set * size + node] < length[set * size + last]) {
            last = node;
        }
    }
    Path path;
    while (set != 0) {
        path.push_back(last);
        const std::size_t previous = before[set * size + last];
        set &= ~(std::size_t{1} << last);
        last = previous;
    }
    std::ranges::reverse(path);
    return path;
}

double length_of(const Path& path, const Distance& distance) {
    double length = 0;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        length += distance(path[i], path[i + 1]);
    }
    return length;
}

Path follow_nearest(std::size_t size,
                    const Distance& distance,
                    std::size_t first,
                    std::optional<std::size_t> last) {
    std::vector<char> is_taken(size, 0);
    Path path{first};
    is_taken[first] = 1;
    if (last) {
        is_taken[*last] = 1;
    }
    while (path.size() + (last ? 1 : 0) < size) {
        double nearest_distance = infinity;
        std::optional<std::size_t> nearest;
        for (std::size_t node = 0; node < size; ++node) {
            if (is_taken[node] != 0) {
                continue;
            }
            const double here = distance(path.back(), node);
            if (!nearest || here < nearest_distance) {
                nearest_distance = here;
                nearest = node;
            }
        }
        path.push_back(*nearest);
        is_taken[*nearest] = 1;
    }
    if (last) {
        path.push_back(*last);
    }
    return path;
}

//! Turn stretches of the path around while that makes it shorter.
void improve(Path& path, const Distance& distance, const PathEnds& ends) {
    const std::size_t size = path.size();
    const std::size_t first = ends.first ? 1 : 0;
    const std::size_t last = ends.last ? size - 2 : size - 1;
    bool has_improved = true;
    for (int pass = 0; has_improved && pass < max_passes; ++pass) {
        has_improved = false;
        for (std::size_t i = first; i + 1 <= last; ++i) {
            for (std::size_t j = i + 1; j <= last; ++j) {
                double gain = 0;
                if (i > 0) {
                    gain += distance(path[i - 1], path[i]) -
                            distance(path[i - 1], path[j]);
                }
                if (j + 1 < size) {
                    gain += distance(path[j], path[j + 1]) -
                            distance(path[i], path[j + 1]);
                }
                if (gain > least_gain) {
                    std::reverse(
                        path.begin() + static_cast<std::ptrdiff_t>(i),
                        path.begin() + static_cast<std::ptrdiff_t>(j) + 1);
                    has_improved = true;
                }
            }
        }
    }
}

Path find_path(std::size_t size,
               const Distance& distance,
               const PathEnds& ends) {
    if (size <= 1) {
        return Path(size, 0);
    }
    if (size <= max_exact) {
        return find_exactly(size, distance, ends);
    }
    // Without a first node, each of a few is tried.
    const std::size_t num_tries =
        ends.first ? 1 : std::min<std::size_t>(size, 8);
    Path best;
    double best_length = infinity;
    for (std::size_t t = 0; t < num_tries; ++t) {
        const std::size_t first = ends.first.value_or(t * size / num_tries);
        if (ends.last == first) {
            continue;
        }
        Path path = follow_nearest(size, distance, first, ends.last);
        improve(path, distance, ends);
        const double length = length_of(path, distance);
        if (length < best_length) {
            best_length = length;
            best = std::move(path);
        }
    }
    return best;
}

}  // namespace

std::vector<std::size_t> find_open_path(std::size_t size,
                                        const Distance& distance,
                                        const PathEnds& ends) {
    Path path = find_path(size, distance, ends);
    // Both ways are equally long: without ends, the lower node comes first.
    if (!ends.first && !ends.last && size > 0 && path.front() > path.back()) {
        std::ranges::reverse(path);
    }
    return path;
}

}  // namespace fusionllm::detail
