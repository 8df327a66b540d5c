#include "fusionllm/plan/device_groups.hpp"

#include <algorithm>
#include <map>
#include <numeric>

namespace fusionllm {
namespace {

// Devices without a limit between them are as near as one can measure.
constexpr double largest_weight = 1e13;
// Moves that gain less than this share of all weight are rounding.
constexpr double least_gain = 1e-12;

//! Symmetric weights, dense, row by row.
struct Weights {
    std::size_t size = 0;
    std::vector<double> values;

    double at(std::size_t a, std::size_t b) const {
        return values[a * size + b];
    }
};

double weight(const Network& network, DeviceId a, DeviceId b) {
    if (a == b) {
        return std::min(largest_weight,
                        network.inside(a).bandwidth_bytes_per_s);
    }
    const double forth =
        std::min(largest_weight, network.link(a, b).bandwidth_bytes_per_s);
    const double back =
        std::min(largest_weight, network.link(b, a).bandwidth_bytes_per_s);
    return forth + back > 0 ? 2 * forth * back / (forth + back) : 0;
}

Weights make_weights(const Network& network, const DeviceSet& devices) {
    const std::size_t size = devices.size();
    Weights weights{size, std::vector<double>(size * size, 0)};
    for (std::size_t a = 0; a < size; ++a) {
        for (std::size_t b = a; b < size; ++b) {
            const double value = weight(network, devices[a], devices[b]);
            weights.values[a * size + b] = value;
            weights.values[b * size + a] = value;
        }
    }
    return weights;
}

//! Number communities 0, 1, ... in the order of their first members.
std::size_t renumber(std::vector<std::size_t>& community) {
    std::map<std::size_t, std::size_t> numbers;
    for (std::size_t& entry : community) {
        entry = numbers.emplace(entry, numbers.size()).first->second;
    }
    return numbers.size();
}

/*!
 * One level of Louvain: nodes move, in order, to the community where the
 * modularity gains most, until none does.
 */
std::vector<std::size_t> move_nodes(const Weights& weights) {
    const std::size_t size = weights.size;
    std::vector<std::size_t> community(size);
    std::iota(community.begin(), community.end(), std::size_t{0});
    std::vector<double> strength(size, 0);
    for (std::size_t a = 0; a < size; ++a) {
        for (std::size_t b = 0; b < size; ++b) {
            strength[a] += weights.at(a, b);
        }
    }
    std::vector<double> total = strength;  // by community
    const double all = std::accumulate(strength.begin(), strength.end(), 0.0);
    if (all <= 0) {
        return community;
    }
    std::vector<double> to(size);  // by community
    for (bool has_moved = true; has_moved;) {
        has_moved = false;
        for (std::size_t node = 0; node < size; ++node) {
            std::ranges::fill(to, 0);
            for (std::size_t other = 0; other < size; ++other) {
                if (other != node) {
                    to[community[other]] += weights.at(node, other);
                }
            }
            const std::size_t from = community[node];
            total[from] -= strength[node];
            const auto gain = [&](std::size_t c) {
                return to[c] - total[c] * strength[node] / all;
            };
            std::size_t best = from;
            for (std::size_t c = 0; c < size; ++c) {
                if (to[c] > 0 && gain(c) > gain(best) + least_gain * all) {
                    best = c;
                }
            }
            total[best] += strength[node];
            community[node] = best;
            has_moved |= best != from;
        }
    }
    return community;
}

Weights merge(const Weights& weights,
              const std::vector<std::size_t>& community,
              std::size_t num_communities) {
    Weights merged{num_communities,
                   std::vector<double>(num_communities * num_communities, 0)};
    for (std::size_t a = 0; a < weights.size; ++a) {
        for (std::size_t b = 0; b < weights.size; ++b) {
            merged.values[community[a] * num_communities + community[b]] +=
                weights.at(a, b);
        }
    }
    return merged;
}

//! Community of every node.
std::vector<std::size_t> find_communities(Weights weights) {
    std::vector<std::size_t> result(weights.size);
    std::iota(result.begin(), result.end(), std::size_t{0});
    while (true) {
        std::vector<std::size_t> community = move_nodes(weights);
        const std::size_t num = renumber(community);
        if (num == weights.size) {
            renumber(result);
            return result;
        }
        for (std::size_t& entry : result) {
            entry = community[entry];
        }
        weights = merge(weights, community, num);
    }
}

double median(std::vector<double> values) {
    const auto middle =
        values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

//! Whether links between the communities are far slower than those inside.
bool is_split(const Weights& weights,
              const std::vector<std::size_t>& community) {
    std::vector<double> inside;
    std::vector<double> between;
    for (std::size_t a = 0; a < weights.size; ++a) {
        for (std::size_t b = a; b < weights.size; ++b) {
            (community[a] == community[b] ? inside : between)
                .push_back(weights.at(a, b));
        }
    }
    return !between.empty() && median(between) < median(inside) / 2;
}

//! The two parts that the weakest link of the maximum spanning tree joins.
std::vector<std::size_t> cut_weakest_link(const Weights& weights) {
    const std::size_t size = weights.size;
    std::vector<std::size_t> parent(size, 0);
    std::vector<double> nearest(size, -1);
    std::vector<char> is_in_tree(size, 0);
    std::vector<std::size_t> order;  // as they join the tree
    for (std::size_t node = 0; order.size() < size;) {
        is_in_tree[node] = 1;
        order.push_back(node);
        std::size_t next = size;
        for (std::size_t other = 0; other < size; ++other) {
            if (is_in_tree[other] != 0) {
                continue;
            }
            if (weights.at(node, other) > nearest[other]) {
                nearest[other] = weights.at(node, other);
                parent[other] = node;
            }
            if (next == size || nearest[other] > nearest[next]) {
                next = other;
            }
        }
        node = next;
    }
    const auto cut =
        std::min_element(order.begin() + 1, order.end(), [&](auto a, auto b) {
            return nearest[a] < nearest[b];
        });
    std::vector<std::size_t> community(size, 0);
    for (const std::size_t node : order) {
        community[node] = node == *cut ? 1 : community[parent[node]];
    }
    return community;
}

void add_groups(const Network& network,
                const DeviceSet& devices,
                std::vector<DeviceSet>& groups) {
    const Weights weights = make_weights(network, devices);
    auto community = find_communities(weights);
    if (devices.size() > 1 && !is_split(weights, community)) {
        community = cut_weakest_link(weights);
    }
    if (!is_split(weights, community)) {
        groups.push_back(devices);
        return;
    }
    std::vector<DeviceSet> parts(*std::ranges::max_element(community) + 1);
    for (std::size_t i = 0; i < devices.size(); ++i) {
        parts[community[i]].push_back(devices[i]);
    }
    for (const DeviceSet& part : parts) {
        add_groups(network, part, groups);
    }
}

}  // namespace

std::vector<DeviceSet> find_device_groups(const Network& network) {
    DeviceSet all;
    for (std::size_t d = 0; d < network.num_devices(); ++d) {
        all.emplace_back(static_cast<std::uint32_t>(d));
    }
    std::vector<DeviceSet> groups;
    add_groups(network, all, groups);
    std::ranges::sort(
        groups, {}, [](const DeviceSet& group) { return group.front(); });
    return groups;
}

}  // namespace fusionllm
