#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "fusionllm/graph/slice.hpp"
#include "fusionllm/topology/topology.hpp"

namespace fusionllm {

//! What computes on some of the devices, and which ops it cannot run.
struct Software {
    std::string name;                  //!< e.g. "LibTorch 1.13.1"
    std::vector<std::size_t> missing;  //!< positions of ops, ascending

    friend bool operator==(const Software&, const Software&) = default;
};

/*!
 * Which ops each device can run, where the software of the devices differs. A
 * device cannot hold a stage with an op that it cannot run.
 */
class OpSupport {
public:
    //! Every device runs every op.
    OpSupport() = default;

    //! \param software_of_device position in `software`, by device
    OpSupport(std::vector<Software> software,
              std::vector<std::size_t> software_of_device,
              std::size_t num_ops);

    //! Whether every device runs every op.
    bool is_everywhere() const { return next_missing_.empty(); }

    //! The kinds of software; those of a default one are none.
    const std::vector<Software>& software() const { return software_; }
    //! Position in `software()`; 0 if every device runs every op.
    std::size_t software_of(DeviceId device) const {
        return is_everywhere() ? 0 : software_of_device_.at(device.get());
    }

    bool can_run(DeviceId device, OpRange ops) const {
        return first_missing(software_of(device), ops.begin) >= ops.end;
    }
    //! The first op from `begin` on that the software cannot run; beyond the
    //! last op if it can run all.
    std::size_t first_missing(std::size_t software, std::size_t begin) const {
        return is_everywhere() ? std::numeric_limits<std::size_t>::max()
                               : next_missing_[software][begin];
    }

    //! Where a stage may have to begin or end: the ends of runs of ops that
    //! some software cannot run; ascending.
    std::vector<std::size_t> borders() const;

    friend bool operator==(const OpSupport&, const OpSupport&) = default;

private:
    std::vector<Software> software_;
    std::vector<std::size_t> software_of_device_;
    std::vector<std::vector<std::size_t>> next_missing_;  // [software][op]
};

}  // namespace fusionllm
