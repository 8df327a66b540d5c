#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/graph/slice.hpp"
#include "fusionllm/plan/schedule.hpp"
#include "fusionllm/topology/topology.hpp"

namespace fusionllm {

//! Ops of one stage and the devices that run it (one today).
struct StagePlacement {
    OpRange ops;
    std::vector<DeviceId> devices;

    friend bool operator==(const StagePlacement&,
                           const StagePlacement&) = default;
};

//! Contiguous, non-empty stages that cover the canonical order.
struct Placement {
    std::vector<StagePlacement> stages;

    friend bool operator==(const Placement&, const Placement&) = default;
};

//! A device group: devices joined by fast links; one intracommunicator.
struct DeviceGroup {
    std::string name;
    std::vector<DeviceId> devices;

    friend bool operator==(const DeviceGroup&, const DeviceGroup&) = default;
};

//! Everything the runtime needs to know; a plain value with a text form.
struct Plan {
    std::uint64_t graph_hash = 0;
    Placement placement;
    std::string schedule = "1f1b";  //!< name of the schedule's maker
    int micro_batches = 1;
    std::vector<DeviceGroup> groups;

    friend bool operator==(const Plan&, const Plan&) = default;
};

//! People read, edit and give back this form; `parse_plan(to_text(p)) == p`.
std::string to_text(const Plan& plan);
//! Throws `InputError` naming the line.
Plan parse_plan(std::string_view text, const std::string& file_name);

/*!
 * Throws `InputError` unless the plan fits the graph (hash, every op in exactly
 * one stage) and the devices (each exists, in one stage at most).
 */
void validate(const Plan& plan, const OpGraph& graph, std::size_t num_devices);

//! The actions of the plan, checked for deadlock.
Schedule make_schedule(const Plan& plan);

}  // namespace fusionllm
