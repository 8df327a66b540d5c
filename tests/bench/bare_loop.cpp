#include "bare_loop.hpp"

#include <cmath>
#include <type_traits>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/autograd.h>

#include "fusionllm/exec/parameter_store.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::bench {
namespace {

//! An op with its schema looked up and its constants on a stack.
struct Call {
    c10::OperatorHandle handle;
    std::vector<c10::IValue> stack;
    std::vector<std::pair<std::size_t, ValueId>> values;  // into the stack
    std::vector<ValueId> outputs;
    std::vector<ValueId> last_used;  // not read by any later op
};

c10::IValue to_ivalue(const Argument& argument) {
    return std::visit(
        [&](const auto& constant) -> c10::IValue {
            using Constant = std::decay_t<decltype(constant)>;
            if constexpr (std::is_same_v<Constant, DType>) {
                return static_cast<std::int64_t>(to_scalar_type(constant));
            } else if constexpr (std::is_same_v<Constant, NoArgument> ||
                                 std::is_same_v<Constant, ValueId>) {
                return {};
            } else if constexpr (std::is_constructible_v<c10::IValue,
                                                         Constant> &&
                                 !std::is_same_v<Constant, std::vector<bool>>) {
                return c10::IValue(constant);
            } else {
                throw Error("the bare loop has no such argument");
            }
        },
        argument);
}

Call make_call(const Op& op) {
    Call call{c10::Dispatcher::singleton().findSchemaOrThrow(
                  op.target.c_str(), op.overload.c_str()),
              {},
              {},
              op.outputs,
              {}};
    const auto& schema = call.handle.schema().arguments();
    for (std::size_t i = 0; i < schema.size(); ++i) {
        if (i >= op.arguments.size()) {
            call.stack.push_back(schema[i].default_value().value());
            continue;
        }
        call.stack.push_back(to_ivalue(op.arguments[i]));
        if (const auto* value = std::get_if<ValueId>(&op.arguments[i])) {
            call.values.emplace_back(i, *value);
        }
    }
    return call;
}

//! p and AdamW's two means of its gradient.
struct Trained {
    at::Tensor value;  // leaf
    at::Tensor mean;
    at::Tensor square;
    bool has_weight_decay;
};

}  // namespace

struct BareLoop::State {
    State(const OpGraph& graph_,
          std::uint64_t seed,
          OptimizerOptions optimizer_,
          double clip_norm_)
        : graph(graph_),
          optimizer(std::move(optimizer_)),
          clip_norm(clip_norm_),
          values(graph.values().size()) {
        for (const Op& op : graph.ops()) {
            calls.push_back(make_call(op));
        }
        std::vector<bool> is_used(graph.values().size());
        is_used[graph.signature().loss->get()] = true;
        for (auto call = calls.rbegin(); call != calls.rend(); ++call) {
            for (const auto& [position, value] : call->values) {
                if (!is_used[value.get()]) {
                    is_used[value.get()] = true;
                    call->last_used.push_back(value);
                }
            }
        }
        for (const Parameter& parameter : graph.signature().parameters) {
            const at::Tensor value = from_host(
                initial_value(graph, parameter, seed), at::Device(at::kCPU));
            trained.push_back({value.clone().requires_grad_(true),
                               at::zeros_like(value),
                               at::zeros_like(value),
                               parameter.has_weight_decay});
        }
    }

    at::Tensor forward(const Inputs& inputs);
    void clip();
    void update(double learning_rate);

    const OpGraph& graph;
    OptimizerOptions optimizer;
    double clip_norm;
    std::vector<Call> calls;
    std::vector<at::Tensor> values;  // by value id
    std::vector<Trained> trained;
    int num_updates = 0;
};

at::Tensor BareLoop::State::forward(const Inputs& inputs) {
    const GraphSignature& signature = graph.signature();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        values[signature.inputs[i].get()] =
            from_host(inputs[i], at::Device(at::kCPU));
    }
    for (std::size_t i = 0; i < trained.size(); ++i) {
        values[signature.parameters[i].value.get()] = trained[i].value;
    }
    for (const Call& call : calls) {
        std::vector<c10::IValue> stack = call.stack;
        for (const auto& [position, value] : call.values) {
            stack[position] = values[value.get()];
        }
        call.handle.callBoxed(&stack);
        if (stack.front().isTensorList()) {
            const auto list = stack.front().toTensorVector();
            for (std::size_t i = 0; i < list.size(); ++i) {
                values[call.outputs[i].get()] = list[i];
            }
        } else {
            values[call.outputs.front().get()] =
                std::move(stack.front()).toTensor();
        }
        for (const ValueId value : call.last_used) {
            values[value.get()] = at::Tensor();
        }
    }
    return std::exchange(values[signature.loss->get()], at::Tensor());
}

//! As torch.nn.utils.clip_grad_norm_ has it.
void BareLoop::State::clip() {
    std::vector<at::Tensor> norms;
    for (const Trained& p : trained) {
        norms.push_back(p.value.grad().norm());
    }
    const double norm = at::stack(norms).norm().item<double>();
    const double scale = clip_norm / (norm + 1e-6);
    if (scale < 1) {
        for (const Trained& p : trained) {
            p.value.mutable_grad().mul_(scale);
        }
    }
}

void BareLoop::State::update(double learning_rate) {
    const at::NoGradGuard no_grad;
    ++num_updates;
    const double mean_scale = 1 - std::pow(optimizer.beta1, num_updates);
    const double square_scale = 1 - std::pow(optimizer.beta2, num_updates);
    for (Trained& p : trained) {
        const at::Tensor gradient = p.value.grad();
        if (p.has_weight_decay) {
            p.value.mul_(1 - learning_rate * optimizer.weight_decay);
        }
        p.mean.mul_(optimizer.beta1).add_(gradient, 1 - optimizer.beta1);
        p.square.mul_(optimizer.beta2)
            .addcmul_(gradient, gradient, 1 - optimizer.beta2);
        const at::Tensor denominator = p.square.sqrt()
                                           .div_(std::sqrt(square_scale))
                                           .add_(optimizer.epsilon);
        p.value.addcdiv_(p.mean, denominator, -learning_rate / mean_scale);
        p.value.mutable_grad().reset();
    }
}

BareLoop::BareLoop(const OpGraph& graph,
                   std::uint64_t seed,
                   OptimizerOptions optimizer,
                   double clip_norm)
    : state_(std::make_unique<State>(
          graph, seed, std::move(optimizer), clip_norm)) {}

BareLoop::~BareLoop() = default;

double BareLoop::step(const std::vector<Inputs>& micro_batches,
                      double learning_rate) {
    const auto count = static_cast<double>(micro_batches.size());
    double sum = 0;
    for (const Inputs& inputs : micro_batches) {
        const at::Tensor loss = state_->forward(inputs);
        sum += loss.item<double>();
        torch::autograd::backward({loss}, {at::full_like(loss, 1 / count)});
    }
    state_->clip();
    state_->update(learning_rate);
    return sum / count;
}

}  // namespace fusionllm::bench
