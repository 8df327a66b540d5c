#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fusionllm/exec/operator_call.hpp"
#include "fusionllm/plan/op_support.hpp"
#include "fusionllm/topology/topology.hpp"

namespace fusionllm {

/*!
 * What the devices of a run compute with, and which calls of its model that
 * cannot make. Without any kind nothing is known, and every device is taken to
 * run everything.
 */
struct DeviceSoftware {
    struct Kind {
        std::string name;  //!< "LibTorch 1.13.1"
        //! Why it cannot make a call, by call; others it can.
        std::map<OperatorCall, std::string> problems;

        friend bool operator==(const Kind&, const Kind&) = default;
    };
    std::vector<Kind> kinds;
    std::vector<std::size_t> kind_of_device;

    friend bool operator==(const DeviceSoftware&,
                           const DeviceSoftware&) = default;
};

//! Which ops of the graph each device can run.
OpSupport make_op_support(const OpGraph& graph, const DeviceSoftware& software);

//! Which calls cannot be made, by rank and in the order of the calls: why, or
//! "" (see `find_call_problem`).
using AskRanks = std::function<std::vector<std::vector<std::string>>(
    const std::vector<OperatorCall>& calls)>;

//! Answers for this program alone.
std::vector<std::vector<std::string>> ask_this_program(
    const std::vector<OperatorCall>& calls);

//! What the ranks of a run are.
struct RankSoftware {
    std::vector<std::string> libtorch;  //!< version, by rank
    std::vector<DeviceId> devices;      //!< by rank
};

//! A graph that the ranks can run, if they share it out well.
struct FittedGraph {
    OpGraph graph;
    DeviceSoftware software;
    std::vector<std::string> notes;  //!< sentences that the user should see
};

/*!
 * The graph for these ranks. An op that some rank cannot run is decomposed, for
 * all ranks alike, if all of them can run the parts; else it must be placed.
 * Throws `InputError` that names an op which no rank can run.
 */
FittedGraph fit_to_ranks(OpGraph graph,
                         const RankSoftware& ranks,
                         const AskRanks& ask);

}  // namespace fusionllm
