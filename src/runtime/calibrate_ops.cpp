#include <limits>
#include <map>
#include <memory>
#include <optional>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "fusionllm/codec/dropout_mask.hpp"
#include "fusionllm/cost/op_seconds.hpp"
#include "fusionllm/exec/op_runner.hpp"
#include "fusionllm/exec/parameter_store.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/runtime/calibrate.hpp"
#include "fusionllm/util/error.hpp"

#include "calibrate_clock.hpp"

namespace fusionllm {
namespace {

using detail::device_time_s;

constexpr std::size_t no_op = std::numeric_limits<std::size_t>::max();

void fill_mask(const at::Tensor& mask, std::uint64_t key, double p) {
    const at::Tensor host =
        mask.is_cpu() ? mask : at::empty(mask.sizes(), at::kFloat);
    fill_dropout_mask(
        {host.data_ptr<float>(), static_cast<std::size_t>(host.numel())},
        key,
        p,
        MemorySpace::host);
    if (!mask.is_cpu()) {
        mask.copy_(host);
    }
}

//! Gradients get the strides of their values in a stage; so here.
at::Tensor with_strides(const at::Tensor& gradient, at::IntArrayRef strides) {
    if (!gradient.defined() || gradient.strides() == strides) {
        return gradient;
    }
    return at::empty_strided(gradient.sizes(), strides, gradient.options())
        .copy_(gradient);
}

//! Seconds of each op in one direction; time runs for one op at a time.
class Stopwatch {
public:
    Stopwatch(std::size_t num_ops, at::Device device)
        : device_(device), seconds_(num_ops) {}

    //! Time goes to this op from now on, `no_op`: to none.
    void turn_to(std::size_t op) {
        const double now = device_time_s(device_);
        if (current_ != no_op) {
            seconds_[current_] += now - since_;
        }
        current_ = op;
        since_ = now;
    }
    //! What has gathered, from zero again.
    std::vector<double> take() {
        return std::exchange(seconds_, std::vector<double>(seconds_.size()));
    }

private:
    at::Device device_;
    std::vector<double> seconds_;
    std::size_t current_ = no_op;
    double since_ = 0;
};

//! Runs micro-batches of a whole graph and times every op.
class TimedGraph {
public:
    TimedGraph(const OpGraph& graph,
               const std::vector<HostTensor>& inputs,
               const MeasureOptions& options)
        : graph_(graph),
          values_(graph.values().size()),
          fill_(fill_mask),
          forward_(graph.ops().size(), options.device),
          backward_(graph.ops().size(), options.device) {
        context_.device = options.device;
        context_.seed = options.seed;
        context_.fill_mask = &fill_;
        for (std::size_t i = 0; i < graph.ops().size(); ++i) {
            runners_.emplace_back(
                graph, OpId(static_cast<std::uint32_t>(i)), options.device);
        }
        place_inputs(inputs);
        place_parameters(options);
        place_buffers(options);
        find_last_uses();
    }

    void run() {
        const GraphSignature& signature = graph_.signature();
        auto values = values_;
        for (std::size_t i = 0; i < runners_.size(); ++i) {
            forward_.turn_to(i);
            run_op(i, values);
        }
        forward_.turn_to(no_op);
        if (signature.loss) {
            differentiate(values[signature.loss->get()]);
        }
    }

    std::vector<double> take_forward_s() { return forward_.take(); }
    std::vector<double> take_backward_s() { return backward_.take(); }

private:
    void place_inputs(const std::vector<HostTensor>& inputs) {
        const auto& ids = graph_.signature().inputs;
        FUSIONLLM_VALIDATE(inputs.size() == ids.size(),
                           "graph '{}' takes {} inputs, not {}",
                           graph_.name(),
                           ids.size(),
                           inputs.size());
        for (std::size_t i = 0; i < ids.size(); ++i) {
            const Value& value = graph_.value(ids[i]);
            FUSIONLLM_VALIDATE(inputs[i].type == value.type,
                               "input '{}' of graph '{}' is {}, not {}",
                               value.name,
                               graph_.name(),
                               to_text(value.type),
                               to_text(inputs[i].type));
            values_[ids[i].get()] = from_host(inputs[i], context_.device);
        }
    }

    void place_parameters(const MeasureOptions& options) {
        for (const Parameter& parameter : graph_.signature().parameters) {
            at::Tensor value = from_host(
                initial_value(graph_, parameter, options.seed), options.device);
            if (graph_.has_gradient(parameter.value)) {
                value.requires_grad_(true);
                leaves_.push_back(value);
            }
            values_[parameter.value.get()] = value;
        }
    }

    //! They start like parameters and have no gradient.
    void place_buffers(const MeasureOptions& options) {
        for (const auto& buffer : graph_.signature().buffers) {
            values_[buffer.value.get()] = make_first_value(
                graph_, buffer, {options.seed, {}}, options.device);
        }
    }

    void find_last_uses() {
        std::vector<bool> is_used(values_.size());
        if (const auto& loss = graph_.signature().loss) {
            is_used[loss->get()] = true;
        }
        dies_after_.resize(runners_.size());
        for (std::size_t i = runners_.size(); i-- > 0;) {
            std::vector<ValueId> touched = used_values(graph_.ops()[i]);
            const auto& outputs = graph_.ops()[i].outputs;
            touched.insert(touched.end(), outputs.begin(), outputs.end());
            for (const ValueId value : touched) {
                if (!is_used[value.get()]) {
                    is_used[value.get()] = true;
                    dies_after_[i].push_back(value);
                }
            }
        }
    }

    //! As a stage does: `separate` in src/exec/stage.cpp; with a clock.
    at::Tensor separate(std::size_t op,
                        const at::Tensor& output,
                        bool is_an_input,
                        bool has_gradient) {
        if (!output.requires_grad()) {
            return output;
        }
        if (!has_gradient) {
            return output.detach();
        }
        at::Tensor result = is_an_input ? at::alias(output) : output;
        result.register_hook([this, op, strides = result.strides().vec()](
                                 const at::Tensor& gradient) {
            const at::Tensor strided = with_strides(gradient, strides);
            backward_.turn_to(op);
            return strided;
        });
        return result;
    }

    void run_op(std::size_t index, std::vector<at::Tensor>& values) {
        const Op& op = graph_.ops()[index];
        const auto tensor_of = [&](ValueId id) -> const at::Tensor& {
            return values[id.get()];
        };
        std::vector<at::Tensor> outputs =
            runners_[index].run(tensor_of, context_);
        const std::vector<ValueId> inputs = used_values(op);
        for (std::size_t k = 0; k < outputs.size(); ++k) {
            const bool is_an_input = std::ranges::any_of(
                inputs,
                [&](ValueId id) { return tensor_of(id).is_same(outputs[k]); });
            values[op.outputs[k].get()] =
                separate(index,
                         outputs[k],
                         is_an_input,
                         graph_.has_gradient(op.outputs[k]));
        }
        for (const ValueId id : dies_after_[index]) {
            values[id.get()] = at::Tensor();
        }
    }

    void differentiate(const at::Tensor& loss) {
        if (!loss.requires_grad() || leaves_.empty()) {
            return;
        }
        // Kept until all are there, as by a stage.
        const auto gradients =
            torch::autograd::grad({loss},
                                  leaves_,
                                  {at::ones_like(loss)},
                                  /*retain_graph=*/c10::nullopt,
                                  /*create_graph=*/false,
                                  /*allow_unused=*/true);
        backward_.turn_to(no_op);
    }

    const OpGraph& graph_;
    std::vector<OpRunner> runners_;
    std::vector<at::Tensor> values_;  // inputs and parameters, by value
    std::vector<at::Tensor> leaves_;  // parameters that have a gradient
    std::vector<std::vector<ValueId>> dies_after_;  // by op
    FillMask fill_;
    OpContext context_;
    Stopwatch forward_;
    Stopwatch backward_;
};

//! All times of the ops of one signature.
struct Times {
    MeasuredOpCost op;
    std::vector<double> forward_s;
    std::vector<double> backward_s;
};

}  // namespace

std::vector<MeasuredOpCost> measure_ops(const OpGraph& graph,
                                        const std::vector<HostTensor>& inputs,
                                        const MeasureOptions& options) {
    FUSIONLLM_VALIDATE(options.warmup >= 0 && options.repeats > 0,
                       "ops are measured {} times; give 1 or more",
                       options.repeats);
    const Workload workload = estimate_workload(graph);
    std::vector<Times> times;
    std::map<std::string, std::size_t> of_signature;
    std::vector<std::size_t> of_op;
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        const std::string signature = op_signature(graph, graph.ops()[i]);
        const auto [found, is_new] =
            of_signature.emplace(signature, times.size());
        if (is_new) {
            times.push_back({{signature, workload.ops[i], 0, 0, 0}, {}, {}});
        }
        of_op.push_back(found->second);
        ++times[found->second].op.count;
    }
    TimedGraph timed(graph, inputs, options);
    for (int repeat = 0; repeat < options.warmup + options.repeats; ++repeat) {
        timed.run();
        const auto forward_s = timed.take_forward_s();
        const auto backward_s = timed.take_backward_s();
        for (std::size_t i = 0; repeat >= options.warmup && i < of_op.size();
             ++i) {
            times[of_op[i]].forward_s.push_back(forward_s[i]);
            times[of_op[i]].backward_s.push_back(backward_s[i]);
        }
    }
    std::vector<MeasuredOpCost> result;
    for (Times& own : times) {
        own.op.forward_s = detail::median(std::move(own.forward_s));
        own.op.backward_s = detail::median(std::move(own.backward_s));
        result.push_back(std::move(own.op));
    }
    return result;
}

}  // namespace fusionllm
