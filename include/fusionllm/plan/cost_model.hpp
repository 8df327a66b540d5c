#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fusionllm/cost/op_seconds.hpp"
#include "fusionllm/graph/recompute.hpp"
#include "fusionllm/graph/slice.hpp"
#include "fusionllm/plan/codec_cost.hpp"
#include "fusionllm/plan/op_support.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

//! What crosses the cut before an op, of one micro-batch, headers included.
struct CutCost {
    double forward_bytes = 0;   //!< activations
    double backward_bytes = 0;  //!< gradients of those that have one

    friend bool operator==(const CutCost&, const CutCost&) = default;
};

//! A value that crosses a cut and can be compressed there.
struct CutValue {
    ValueId value{0};
    std::uint32_t shape = 0;  //!< position in `CostModel::shapes`

    friend bool operator==(const CutValue&, const CutValue&) = default;
};

/*!
 * Time and memory of any stage on any device, in constant time: what all
 * planners look at. Prefix sums over the canonical order, one row a kind of
 * device.
 *
 * Building it takes O(ops x kinds); it holds the graph's numbers, not the
 * graph.
 */
class CostModel {
public:
    //! \param state_bytes optimizer state of a parameter element: 0 (SGD), 4
    //!        (SGD with momentum) or 8 (AdamW)
    CostModel(const OpGraph& graph,
              const Workload& workload,
              const Topology& topology,
              double state_bytes);

    //! The same for stages that recompute, or do not; a new model's do not.
    CostModel with(Recompute recompute) const;
    Recompute recompute() const { return recompute_; }
    //! The same for devices that cannot run every op; a new model's can.
    CostModel with(OpSupport support) const;
    const OpSupport& op_support() const { return support_; }

    std::size_t num_ops() const { return cuts_.size() - 1; }
    std::size_t num_devices() const { return kind_of_device_.size(); }
    const Network& network() const { return network_; }
    const DeviceKind& kind_of(DeviceId device) const {
        return kinds_[kind_of_device_[device.get()]];
    }

    //! The cut before op `position`; nothing crosses at 0 and at `num_ops()`.
    const CutCost& cut(std::size_t position) const { return cuts_[position]; }
    //! Whether a stage may end there: `find_cuttable`.
    bool can_cut(std::size_t position) const { return can_cut_[position]; }
    //! As many as there are places to cut, and one more.
    std::size_t most_stages() const;
    //! The values of `compressible_values` at the cut, ascending.
    std::span<const CutValue> values_at(std::size_t position) const {
        return std::span(cut_values_)
            .subspan(first_value_[position],
                     first_value_[position + 1] - first_value_[position]);
    }
    //! Every shape of those values once.
    const std::vector<MatrixShape>& shapes() const { return shapes_; }
    //! How long that takes on the device.
    double codec_s(DeviceId device, const CodecWork& work) const;

    //! Dense, of one micro-batch, decoding what comes in and encoding what goes
    //! out included; what once a step costs is left out. With recompute,
    //! backward has the ops of forward, too.
    double forward_s(DeviceId device, OpRange ops) const;
    double backward_s(DeviceId device, OpRange ops) const;
    //! The optimizer's update of the ops' parameters, once a step.
    double update_s(DeviceId device, OpRange ops) const;

    /*!
     * Bytes that the stage takes on its device:
     *
     *     parameters (value, optimizer state, a gradient a use)
     *     + in flight * saved bytes
     *     + two messages of the cut on either side (one travels, one is next)
     *     + twice the largest output (it and its gradient, while an op runs).
     *
     * With recompute only one micro-batch has saved bytes at a time; the others
     * in flight have the values that came in: those of the cut before, and the
     * graph's inputs (each counts once for each of its users).
     */
    double memory_bytes(OpRange ops, int in_flight) const;
    //! The same without what a micro-batch in flight keeps.
    double fixed_memory_bytes(OpRange ops) const;
    //! Parameters, a gradient a use, optimizer state, and what one micro-batch
    //! saves.
    double kept_bytes(OpRange ops) const;
    double saved_bytes(OpRange ops) const {
        return saved_before_[ops.end] - saved_before_[ops.begin];
    }
    //! Most micro-batches in flight that fit the device; a large number if its
    //! memory is not known; 0 if the stage does not fit at all, has an op that
    //! the device cannot run, or begins or ends where it may not.
    int max_in_flight(DeviceId device, OpRange ops) const;

    //! Elements of the parameters that the ops use, each once.
    std::int64_t parameters(OpRange ops) const;
    //! Forward and backward flops of one micro-batch.
    double flops(OpRange ops) const {
        return flops_before_[ops.end] - flops_before_[ops.begin];
    }

    //! Everything that one step of the placement costs, as it is estimated;
    //! all values are dense.
    StepCosts step_costs(const Placement& placement) const;

    /*!
     * The same with these fences, ascending as in a valid plan. A message of a
     * fence is as long as its codec makes it; where both sides share a stage it
     * is encoded and decoded there. A steady step: the bases that subspaces
     * send now and then are left out.
     */
    StepCosts step_costs(const Placement& placement,
                         std::span<const Fence> fences) const;

private:
    struct KindSums {
        std::vector<double> forward_before;   // seconds of the ops before
        std::vector<double> backward_before;  // the same
        double copy_bytes_per_s;              // encode, decode; infinite: free
        double update_bytes_per_s;            // of AdamW; infinite: free
        double product_flops_per_s;           // of matrix products
    };
    struct SharedUses {
        std::vector<std::size_t> ops;  // ascending
        double bytes;                  // of the value
        double elements;
    };

    void add_parameters(const OpGraph& graph);
    void add_cuts(const OpGraph& graph);
    void add_values(const OpGraph& graph);
    void add_kind(const OpGraph& graph,
                  const Workload& workload,
                  const DeviceKind& kind);
    void add_inputs(const OpGraph& graph);
    double largest_output(OpRange ops) const;
    //! What each micro-batch in flight keeps.
    double in_flight_bytes(OpRange ops) const;
    const MatrixShape& shape_of_fence(const Fence& fence) const;
    void add_fence(const Placement& placement,
                   const Fence& fence,
                   StepCosts& costs) const;
    void add_exchange(const Placement& placement, StepCosts& costs) const;
    //! Of the shared parameters that the ops use: uses beyond the first, and
    //! values that a prefix sum would count once a use.
    template <class Function>
    void for_each_shared(OpRange ops, Function function) const;

    Network network_;
    std::vector<DeviceKind> kinds_;
    std::vector<std::uint32_t> kind_of_device_;
    double state_bytes_;
    Recompute recompute_ = Recompute::off;
    OpSupport support_;
    std::vector<KindSums> sums_;            // by kind
    std::vector<CutCost> cuts_;             // by position, 0 to num_ops
    std::vector<bool> can_cut_;             // by position
    std::vector<CutValue> cut_values_;      // by position, then value
    std::vector<std::size_t> first_value_;  // by position, and the end
    std::vector<MatrixShape> shapes_;
    std::vector<double> flops_before_;
    std::vector<double> saved_before_;
    std::vector<double> inputs_before_;    // of the graph, once a use
    std::vector<double> elements_before_;  // parameters with a single use
    std::vector<double> bytes_before_;     // the same
    std::vector<SharedUses> shared_;       // parameters with several uses
    std::vector<std::vector<double>> output_max_;  // [k][i]: ops i to i + 2^k
};

}  // namespace fusionllm
