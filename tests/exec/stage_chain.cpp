#include "stage_chain.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/runtime/message.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm::test {
namespace {

//! What the receiver of these tensors gets.
std::vector<at::Tensor> carry(const OpGraph& graph,
                              MessageKind kind,
                              MicrobatchKey key,
                              const std::vector<ValueId>& values,
                              const std::vector<at::Tensor>& tensors) {
    std::vector<at::Tensor> received;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (kind == MessageKind::gradient && !graph.has_gradient(values[i])) {
            received.emplace_back();
            continue;
        }
        MessageHeader header;
        header.kind = kind;
        header.step = key.step;
        header.micro_batch = key.micro_batch;
        header.value = values[i].get();
        Buffer message = encode_message(header, tensors[i]);
        header.type = graph.value(values[i]).type;
        received.push_back(
            decode_message(std::move(message), header, at::Device(at::kCPU)));
    }
    return received;
}

}  // namespace

void fill_mask_by_loop(const at::Tensor& mask, std::uint64_t key, double p) {
    auto* elements = mask.data_ptr<float>();
    for (std::int64_t i = 0; i < mask.numel(); ++i) {
        const auto block = static_cast<std::uint64_t>(i / 4);
        const PhiloxBlock random =
            philox({{static_cast<std::uint32_t>(block),
                     static_cast<std::uint32_t>(block >> 32),
                     0,
                     0}},
                   make_philox_key(key));
        const bool is_kept =
            random.words[i % 4] >= static_cast<std::uint32_t>(p * 0x1p32);
        elements[i] = is_kept ? static_cast<float>(1 / (1 - p)) : 0.0f;
    }
}

StageChain::StageChain(const OpGraph& graph,
                       const std::vector<std::size_t>& cuts,
                       int micro_batches)
    : StageChain(graph, cuts, micro_batches, Recompute::off) {}

StageChain::StageChain(const OpGraph& graph,
                       const std::vector<std::size_t>& cuts,
                       int micro_batches,
                       Recompute recompute)
    : graph_(graph), micro_batches_(micro_batches) {
    StageOptions options;
    options.seed = chain_seed;
    options.micro_batches = micro_batches;
    options.fill_mask = fill_mask_by_loop;
    options.recompute = recompute;
    std::size_t begin = 0;
    std::vector<std::size_t> ends = cuts;
    ends.push_back(graph.ops().size());
    for (const std::size_t end : ends) {
        const StageSlice slice = make_slice(graph, {begin, end});
        stores_.emplace_back(graph,
                             slice.parameter_uses,
                             FirstValues{chain_seed, {}},
                             at::Device(at::kCPU));
        buffers_.emplace_back(graph,
                              slice.buffers,
                              FirstValues{chain_seed, {}},
                              at::Device(at::kCPU));
        stages_.emplace_back(
            graph, slice, stores_.back(), buffers_.back(), options);
        begin = end;
    }
}

at::Tensor StageChain::buffer(const std::string& name) const {
    const auto& all = graph_.signature().buffers;
    for (const BufferStore& store : buffers_) {
        for (const std::size_t index : store.indices()) {
            if (all[index].name == name) {
                return store.value(index);
            }
        }
    }
    return {};
}

void StageChain::descend(const ChainResult& result, double rate) {
    for (ParameterStore& store : stores_) {
        for (const std::size_t index : store.indices()) {
            if (!result.gradients[index].bytes.empty()) {
                store.get(index).value.sub_(
                    from_host(result.gradients[index], at::Device(at::kCPU)),
                    rate);
            }
        }
    }
}

void StageChain::commit_buffers() {
    std::ranges::for_each(buffers_, &BufferStore::commit);
}

void StageChain::drop_buffers() {
    std::ranges::for_each(buffers_, &BufferStore::drop);
}

std::vector<at::Tensor> StageChain::user_inputs(
    const StageSlice& slice, const std::vector<HostTensor>& inputs) const {
    std::vector<at::Tensor> tensors;
    const auto& all = graph_.signature().inputs;
    for (const ValueId input : slice.user_inputs) {
        const auto position = std::ranges::find(all, input) - all.begin();
        tensors.push_back(from_host(inputs.at(position), at::Device(at::kCPU)));
    }
    return tensors;
}

void StageChain::forward(MicrobatchKey key,
                         const std::vector<HostTensor>& inputs) {
    std::vector<at::Tensor> boundary;
    for (Stage& stage : stages_) {
        const StageSlice& slice = stage.slice();
        const auto outputs =
            stage.forward(key, boundary, user_inputs(slice, inputs));
        if (stage.has_loss()) {
            loss_ += stage.loss();
        }
        boundary =
            carry(graph_, MessageKind::activation, key, slice.outputs, outputs);
    }
}

void StageChain::backward(MicrobatchKey key) {
    std::vector<at::Tensor> boundary;
    for (std::size_t s = stages_.size(); s-- > 0;) {
        const auto results = stages_[s].backward(key.micro_batch, boundary);
        boundary = carry(graph_,
                         MessageKind::gradient,
                         key,
                         stages_[s].slice().inputs,
                         results);
    }
}

std::vector<HostTensor> StageChain::sum_uses() const {
    std::vector<HostTensor> gradients;
    const auto& parameters = graph_.signature().parameters;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        at::Tensor sum;
        // Stages are in op order, and so are the uses of each.
        for (const ParameterStore& store : stores_) {
            for (std::size_t use = 0; use < store.uses().size(); ++use) {
                const at::Tensor part = store.gradient(use);
                if (store.uses()[use].parameter == p && part.defined()) {
                    sum = sum.defined() ? sum.add(part) : part;
                }
            }
        }
        gradients.push_back(sum.defined() ? to_host(sum) : HostTensor{});
    }
    return gradients;
}

ChainResult StageChain::train(
    std::uint64_t step, const std::vector<std::vector<HostTensor>>& inputs) {
    loss_ = 0;
    for (ParameterStore& store : stores_) {
        store.clear_gradients();
    }
    for (int m = 0; m < micro_batches_; ++m) {
        forward({step, static_cast<std::uint32_t>(m)}, inputs.at(m));
    }
    for (int m = 0; m < micro_batches_; ++m) {
        backward({step, static_cast<std::uint32_t>(m)});
    }
    return {loss_, sum_uses()};
}

double StageChain::evaluate(
    const std::vector<std::vector<HostTensor>>& inputs) {
    double loss = 0;
    for (const auto& input : inputs) {
        std::vector<at::Tensor> boundary;
        for (Stage& stage : stages_) {
            const StageSlice& slice = stage.slice();
            const auto outputs =
                stage.evaluate(boundary, user_inputs(slice, input));
            loss += stage.has_loss() ? stage.loss() : 0;
            boundary = carry(
                graph_, MessageKind::activation, {}, slice.outputs, outputs);
        }
    }
    return loss;
}

}  // namespace fusionllm::test
