#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fusionllm/topology/topology.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {

//! One direction between two sites, or between two devices, by their names.
struct LinkSpec {
    std::string from;
    std::string to;
    Link link;

    friend bool operator==(const LinkSpec&, const LinkSpec&) = default;
};

/*!
 * A topology as the input describes it: by names, with what is not said left
 * out. No kinds: the default one. Sites without a link in a direction have
 * `default_link` in it.
 */
struct TopologySpec {
    std::vector<DeviceKind> kinds;
    std::vector<SiteSpec> sites;
    std::vector<LinkSpec> links;
    Link default_link = default_long_link;

    friend bool operator==(const TopologySpec&, const TopologySpec&) = default;
};

//! A spec that makes no sense, and which part of it.
class TopologySpecError final : public InputError {
public:
    enum class Part { kinds, sites, links, default_link };

    TopologySpecError(Part part, std::size_t index, const std::string& sentence)
        : InputError(sentence), part_(part), index_(index) {}
    Part part() const { return part_; }
    //! Position in the list of the part; 0 for `default_link`.
    std::size_t index() const { return index_; }

private:
    Part part_;
    std::size_t index_;
};

/*!
 * The devices of all sites in order, and the links between them.
 *
 * Throws `TopologySpecError`: names that are empty, given twice or unknown,
 * numbers that no device or link can have, a host at two sites.
 */
Topology make_topology(const TopologySpec& spec);

}  // namespace fusionllm
