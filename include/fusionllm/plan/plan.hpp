#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusionllm/graph/recompute.hpp"
#include "fusionllm/graph/slice.hpp"
#include "fusionllm/plan/fence.hpp"
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
    //! By stage: micro-batches that 1f1b keeps in flight; empty: the classic
    //! depth, stages from here to the end.
    std::vector<int> in_flight;
    std::vector<DeviceGroup> groups;
    std::vector<Fence> fences;  //!< ascending (cut, value); the rest is dense
    Recompute recompute = Recompute::off;  //!< of all stages

    friend bool operator==(const Plan&, const Plan&) = default;
};

/*!
 * The text form, which people read, edit and give back, one thing a line:
 *
 *     graph 00c0ffee00c0ffee
 *     schedule 1f1b
 *     micro_batches 4
 *     in_flight 4 1
 *     recompute on
 *     group "lyon" devices 0 1
 *     stage 0 ops 0 57 devices 0
 *     stage 1 ops 57 114 devices 1
 *     fence 57 value 91 int4/int3s
 *
 * A stage runs the ops from the first number up to, not including, the second
 * one. Without its line, recompute is off. `#` starts a comment.
 * `parse_plan(to_text(p), "") == p`.
 */
std::string to_text(const Plan& plan);
//! The same, with the first and last op of every stage as a comment.
std::string to_text(const Plan& plan, const OpGraph& graph);
//! Throws `InputError` naming file and line.
Plan parse_plan(std::string_view text, const std::string& file_name);

/*!
 * Throws `InputError` unless the plan fits the graph (hash, every op in exactly
 * one stage) and the devices (each exists, in one stage at most and in exactly
 * one group), its schedule is known, each stage has one device and fences are
 * for values that cross their cut.
 */
void validate(const Plan& plan, const OpGraph& graph, std::size_t num_devices);

//! The actions of the plan, checked for deadlock.
Schedule make_schedule(const Plan& plan);

//! Position of the device's group in `plan.groups`; throws `InputError` if it
//! is in none.
int find_group(const Plan& plan, DeviceId device);

}  // namespace fusionllm
