#include "fusionllm/exec/stage.hpp"

#include <algorithm>
#include <limits>
#include <set>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/graph/buffer_updates.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

//! A gradient in the strides of its value. What autograd gives depends on who
//! shares the memory and on expanded operands, hence on the cut.
at::Tensor with_strides(const at::Tensor& gradient, at::IntArrayRef strides) {
    // An unused output of an op with several has none.
    if (!gradient.defined() || (gradient.strides() == strides &&
                                !gradient.is_conj() && !gradient.is_neg())) {
        return gradient;
    }
    const at::Tensor normal = normalise(gradient);
    if (normal.strides() == strides) {
        return normal;
    }
    return at::empty_strided(normal.sizes(), strides, normal.options())
        .copy_(normal);
}

/*!
 * Make an op's output what its receiver would have on the next stage.
 *
 * A tensor that an op returns as it came (`contiguous`) would share one
 * gradient sum with its input; whether a value without gradient seems to
 * require one may choose another kernel (`matmul`).
 */
at::Tensor separate(const at::Tensor& output,
                    bool is_an_input,
                    bool has_gradient) {
    if (!output.requires_grad()) {
        return output;
    }
    if (!has_gradient) {
        return output.detach();
    }
    at::Tensor result = is_an_input ? at::alias(output) : output;
    result.register_hook(
        [strides = result.strides().vec()](const at::Tensor& gradient) {
            return with_strides(gradient, strides);
        });
    return result;
}

void separate_all(const OpGraph& graph,
                  const Op& op,
                  const std::function<const at::Tensor&(ValueId)>& tensor_of,
                  std::vector<at::Tensor>& outputs) {
    const std::vector<ValueId> inputs = used_values(op);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
        const bool is_an_input = std::ranges::any_of(inputs, [&](ValueId id) {
            return tensor_of(id).is_same(outputs[k]);
        });
        outputs[k] = separate(
            outputs[k], is_an_input, graph.has_gradient(op.outputs[k]));
    }
}

}  // namespace

Stage::Stage(const OpGraph& graph,
             StageSlice slice,
             ParameterStore& parameters,
             BufferStore& buffers,
             StageOptions options)
    : graph_(graph),
      slice_(std::move(slice)),
      parameters_(parameters),
      buffers_(buffers),
      options_(std::move(options)),
      values_(graph.values().size()) {
    if (!slice_.parameter_uses.empty()) {
        const auto first = std::ranges::find(parameters_.uses(),
                                             slice_.parameter_uses.front());
        first_use_ =
            static_cast<std::size_t>(first - parameters_.uses().begin());
        FUSIONLLM_EXPECTS(first_use_ + slice_.parameter_uses.size() <=
                          parameters_.uses().size());
    }
    std::set<ValueId> kept(slice_.outputs.begin(), slice_.outputs.end());
    const GraphSignature& signature = graph.signature();
    if (signature.loss) {
        kept.insert(*signature.loss);
    }
    if (signature.output) {
        kept.insert(*signature.output);
    }
    dies_after_.resize(slice_.ops.size());
    std::set<ValueId> seen = kept;
    for (std::size_t i = slice_.ops.end; i-- > slice_.ops.begin;) {
        const Op& op = graph.ops()[i];
        std::vector<ValueId> touched = used_values(op);
        touched.insert(touched.end(), op.outputs.begin(), op.outputs.end());
        for (const ValueId value : touched) {
            if (seen.insert(value).second) {
                dies_after_[i - slice_.ops.begin].push_back(value);
            }
        }
    }
    for (std::size_t i = slice_.ops.begin; i < slice_.ops.end; ++i) {
        runners_.emplace_back(
            graph, OpId(static_cast<std::uint32_t>(i)), options_.device);
    }
    find_buffers();
}

Stage::~Stage() = default;

void Stage::find_buffers() {
    std::set<std::size_t> changing;
    for (std::uint32_t i = 0; i < graph_.ops().size(); ++i) {
        const auto changed = changed_buffers(graph_, OpId(i));
        changing.insert(changed.begin(), changed.end());
    }
    for (std::size_t i = slice_.ops.begin; i < slice_.ops.end; ++i) {
        const OpId op(static_cast<std::uint32_t>(i));
        const auto changed = changed_buffers(graph_, op);
        std::set<std::size_t> seen;
        std::vector<OpBuffer>& found = op_buffers_.emplace_back();
        for (const ValueId value : used_values(graph_.op(op))) {
            const auto buffer = graph_.buffer_index(value);
            if (buffer && seen.insert(*buffer).second) {
                found.push_back({*buffer,
                                 value,
                                 std::ranges::count(changed, *buffer) > 0,
                                 changing.contains(*buffer)});
            }
        }
    }
}

bool Stage::has_loss() const {
    const auto& loss = graph_.signature().loss;
    if (!loss) {
        return false;
    }
    const auto producer = graph_.producer(*loss);
    return producer && producer->get() >= slice_.ops.begin &&
           producer->get() < slice_.ops.end;
}

double Stage::loss() const {
    return last_loss_.defined() ? last_loss_.item<double>() : 0;
}

void Stage::check(const OpRunner& runner,
                  const std::vector<at::Tensor>& outputs) {
    const at::NoGradGuard no_grad;
    for (const at::Tensor& given : outputs) {
        const at::Tensor output =
            given.is_complex() ? at::view_as_real(given) : given;
        // Masked attention holds -inf on purpose; NaN and +inf never are.
        const bool is_bad = output.is_floating_point() && output.numel() > 0 &&
                            !(output.max().item<double>() <
                              std::numeric_limits<double>::infinity());
        if (is_bad && !bad_op_) {
            bad_op_ = runner.op().name;
        }
    }
}

void Stage::place_inputs(const std::vector<at::Tensor>& inputs,
                         const std::vector<at::Tensor>& user_inputs) {
    FUSIONLLM_EXPECTS(inputs.size() == slice_.inputs.size());
    FUSIONLLM_EXPECTS(user_inputs.size() == slice_.user_inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        values_[slice_.inputs[i].get()] = inputs[i];
    }
    for (std::size_t i = 0; i < user_inputs.size(); ++i) {
        values_[slice_.user_inputs[i].get()] = user_inputs[i];
    }
}

void Stage::place_parameters(OpId op, std::size_t& next_use) {
    const auto& uses = slice_.parameter_uses;
    for (; next_use < uses.size() && uses[next_use].op == op; ++next_use) {
        const Parameter& parameter =
            graph_.signature().parameters[uses[next_use].parameter];
        values_[parameter.value.get()] =
            parameters_.leaf(first_use_ + next_use);
    }
}

void Stage::place_buffers(std::size_t index,
                          BufferView view,
                          InFlight& flight) {
    for (const OpBuffer& used : op_buffers_[index]) {
        at::Tensor& place = values_[used.value.get()];
        if (!used.is_changed) {
            place = buffers_.value(used.buffer);
        } else if (view == BufferView::committed) {
            place = buffers_.value(used.buffer).clone();
        } else if (view == BufferView::recorded) {
            place = std::move(flight.buffers.at(flight.next_buffer++));
        } else {
            const at::Tensor& working = buffers_.working(used.buffer);
            if (options_.recompute == Recompute::on) {
                flight.buffers.push_back(working.clone());
            }
            // Who only reads may keep it for backward: later micro-batches
            // must not change that.
            place = used.is_changed_here ? working : working.clone();
        }
    }
}

//! What an op gives back of a buffer that it changes is the value of now.
void Stage::separate_buffers(std::size_t index,
                             std::vector<at::Tensor>& outputs) {
    for (const OpBuffer& used : op_buffers_[index]) {
        at::Tensor& buffer = values_[used.value.get()];
        if (!used.is_changed_here) {
            continue;
        }
        for (at::Tensor& output : outputs) {
            if (output.defined() && output.is_alias_of(buffer)) {
                output = output.clone();
            }
        }
        if (buffer.requires_grad()) {
            buffer.detach_();
        }
    }
}

void Stage::run_op(std::size_t index, const OpContext& context) {
    const auto tensor_of = [&](ValueId value) -> const at::Tensor& {
        return values_[value.get()];
    };
    const OpRunner& runner = runners_[index];
    std::vector<at::Tensor> outputs = runner.run(tensor_of, context);
    if (options_.check_ops) {
        check(runner, outputs);
    }
    separate_buffers(index, outputs);
    if (context.is_training) {
        separate_all(graph_, runner.op(), tensor_of, outputs);
    }
    for (std::size_t k = 0; k < outputs.size(); ++k) {
        values_[runner.op().outputs[k].get()] = std::move(outputs[k]);
    }
    for (const ValueId value : dies_after_[index]) {
        values_[value.get()] = at::Tensor();
    }
}

void Stage::run_ops(const OpContext& context,
                    BufferView view,
                    const std::vector<at::Tensor>& user_inputs,
                    InFlight& flight) {
    place_inputs(flight.inputs, user_inputs);
    std::size_t next_use = 0;
    for (std::size_t i = 0; i < runners_.size(); ++i) {
        place_parameters(OpId(static_cast<std::uint32_t>(slice_.ops.begin + i)),
                         next_use);
        place_buffers(i, view, flight);
        run_op(i, context);
    }
    flight.outputs.clear();
    for (const ValueId value : slice_.outputs) {
        flight.outputs.push_back(values_[value.get()]);
    }
    if (has_loss()) {
        flight.loss = values_[graph_.signature().loss->get()];
    }
    const auto& output = graph_.signature().output;
    if (output && !context.is_training) {
        output_ = values_[output->get()];
    }
    std::ranges::fill(values_, at::Tensor());
}

std::vector<at::Tensor> Stage::forward(
    MicrobatchKey key,
    const std::vector<at::Tensor>& inputs,
    const std::vector<at::Tensor>& user_inputs) {
    InFlight flight;
    flight.key = key;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        flight.inputs.push_back(inputs[i].detach().requires_grad_(
            graph_.has_gradient(slice_.inputs[i])));
    }
    run_forward(flight, BufferView::working, user_inputs);
    last_loss_ = flight.loss.defined() ? flight.loss.detach() : at::Tensor();
    std::vector<at::Tensor> outputs = flight.outputs;
    if (options_.recompute == Recompute::on) {
        // Recorded all the same, and forgotten at once: without gradients some
        // ops take other kernels, with other bits.
        flight.user_inputs = user_inputs;
        flight.outputs.clear();
        flight.loss = at::Tensor();
        for (at::Tensor& output : outputs) {
            output = output.detach();
        }
    }
    in_flight_.insert_or_assign(key.micro_batch, std::move(flight));
    return outputs;
}

void Stage::run_forward(InFlight& flight,
                        BufferView view,
                        const std::vector<at::Tensor>& user_inputs) {
    OpContext context;
    context.device = options_.device;
    context.seed = options_.seed;
    context.step = flight.key.step;
    context.micro_batch = flight.key.micro_batch;
    context.fill_mask = &options_.fill_mask;
    run_ops(context, view, user_inputs, flight);
}

std::vector<at::Tensor> Stage::backward(
    std::uint32_t micro_batch, const std::vector<at::Tensor>& gradients) {
    const auto flight = in_flight_.extract(micro_batch);
    FUSIONLLM_EXPECTS(!flight.empty());
    FUSIONLLM_EXPECTS(gradients.size() == slice_.outputs.size());
    if (options_.recompute == Recompute::on) {
        run_forward(
            flight.mapped(), BufferView::recorded, flight.mapped().user_inputs);
    }
    torch::autograd::variable_list roots;
    torch::autograd::variable_list root_gradients;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        const at::Tensor& output = flight.mapped().outputs[i];
        if (gradients[i].defined() && output.requires_grad()) {
            roots.push_back(output);
            root_gradients.push_back(gradients[i]);
        }
    }
    const at::Tensor& loss = flight.mapped().loss;
    if (loss.defined() && loss.requires_grad()) {
        roots.push_back(loss);
        root_gradients.push_back(
            at::full_like(loss, 1.0 / options_.micro_batches));
    }
    torch::autograd::variable_list leaves;
    const std::size_t num_uses = slice_.parameter_uses.size();
    for (std::size_t use = 0; use < num_uses; ++use) {
        leaves.push_back(parameters_.leaf(first_use_ + use));
    }
    std::vector<std::size_t> inputs;
    for (std::size_t i = 0; i < slice_.inputs.size(); ++i) {
        if (flight.mapped().inputs[i].requires_grad()) {
            inputs.push_back(i);
            leaves.push_back(flight.mapped().inputs[i]);
        }
    }
    std::vector<at::Tensor> result(slice_.inputs.size());
    if (roots.empty() || leaves.empty()) {
        return result;
    }
    auto found = torch::autograd::grad(roots,
                                       leaves,
                                       root_gradients,
                                       /*retain_graph=*/c10::nullopt,
                                       /*create_graph=*/false,
                                       /*allow_unused=*/true);
    for (std::size_t use = 0; use < num_uses; ++use) {
        parameters_.accumulate(first_use_ + use, std::move(found[use]));
    }
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        const at::Tensor& gradient = found[num_uses + k];
        if (gradient.defined()) {
            result[inputs[k]] = with_strides(
                gradient, flight.mapped().inputs[inputs[k]].strides());
        }
    }
    return result;
}

std::vector<at::Tensor> Stage::evaluate(
    const std::vector<at::Tensor>& inputs,
    const std::vector<at::Tensor>& user_inputs) {
    const at::NoGradGuard no_grad;
    OpContext context;
    context.device = options_.device;
    context.is_training = false;
    context.fill_mask = &options_.fill_mask;
    InFlight flight;
    flight.inputs = inputs;
    run_ops(context, BufferView::committed, user_inputs, flight);
    last_loss_ = flight.loss;
    return flight.outputs;
}

}  // namespace fusionllm
