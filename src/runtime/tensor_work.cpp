#include "tensor_work.hpp"

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/runtime/message.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

MessageKind kind_of(const WorkItem& item) {
    return item.is_forward() ? MessageKind::activation : MessageKind::gradient;
}

bool is_training(const WorkItem& item) {
    return item.use == CodecKey::Use::training;
}

FenceKey fence_key(const WorkItem& item, std::size_t cut, ValueId value) {
    return {cut,
            value,
            item.is_forward() ? Direction::forward : Direction::backward,
            item.step,
            item.micro_batch(),
            item.use};
}

}  // namespace

std::vector<ValueId> with_gradient(const OpGraph& graph,
                                   const std::vector<ValueId>& values) {
    std::vector<ValueId> found;
    for (const ValueId value : values) {
        if (graph.has_gradient(value)) {
            found.push_back(value);
        }
    }
    return found;
}

std::size_t TensorWork::max_message_bytes(MessageKind kind,
                                          ValueId value) const {
    return stage_.fences().max_message_bytes(cut_from(kind), value);
}

bool TensorWork::has_fence(const WorkItem& item, const FenceKey& key) const {
    return item.codecs == CodecUse::on &&
           stage_.fences().has(key.cut, key.value);
}

std::size_t TensorWork::cut_to(MessageKind kind) const {
    const OpRange& ops = stage_.slice().ops;
    return kind == MessageKind::activation ? ops.end : ops.begin;
}

std::size_t TensorWork::cut_from(MessageKind kind) const {
    const OpRange& ops = stage_.slice().ops;
    return kind == MessageKind::activation ? ops.begin : ops.end;
}

std::vector<at::Tensor> TensorWork::decode(WorkItem& item,
                                           const std::vector<ValueId>& values) {
    const auto scope = timer_.measure("decode");
    std::vector<at::Tensor> tensors;
    for (std::size_t i = 0; i < values.size(); ++i) {
        MessageHeader expected;
        expected.kind = kind_of(item);
        expected.step = item.step;
        expected.micro_batch = item.micro_batch();
        expected.value = values[i].get();
        expected.type = graph_.value(values[i]).type;
        const FenceKey key =
            fence_key(item, cut_from(expected.kind), values[i]);
        tensors.push_back(
            has_fence(item, key)
                ? stage_.fences().decode(key, item.messages[i], expected)
                : decode_message(
                      std::move(item.messages[i]), expected, stage_.device()));
    }
    return tensors;
}

MadeMessage TensorWork::encode(const WorkItem& item,
                               ValueId value,
                               const at::Tensor& tensor,
                               PipelineResult& result) {
    MessageHeader header;
    header.kind = kind_of(item);
    header.step = item.step;
    header.micro_batch = item.micro_batch();
    header.value = value.get();
    const FenceKey key = fence_key(item, cut_to(header.kind), value);
    const bool is_encoded = has_fence(item, key);
    Buffer message = is_encoded ? stage_.fences().encode(key, header, tensor)
                                : encode_message(header, tensor);
    if (is_training(item) && item.is_traced && tensor.defined() &&
        tensor.scalar_type() == at::kFloat && item.is_traced(value)) {
        result.traced.push_back(
            {value, key.direction, item.micro_batch(), to_host(tensor)});
    }
    std::string& bad =
        item.is_forward() ? result.bad_activation : result.bad_gradient;
    // Masked attention holds -inf on purpose; gradients never do.
    const Unwanted unwanted =
        item.is_forward() ? Unwanted::nan : Unwanted::non_finite;
    if (bad.empty() && (is_encoded ? has_unwanted(tensor, unwanted)
                                   : has_unwanted(message, unwanted))) {
        bad = fmt::format(
            "{} '{}' of micro-batch {}",
            item.is_forward() ? "boundary value" : "gradient of boundary value",
            graph_.value(value).name,
            item.micro_batch());
    }
    return {value, std::move(message)};
}

std::vector<MadeMessage> TensorWork::encode_all(
    const WorkItem& item,
    const std::vector<ValueId>& values,
    const std::vector<at::Tensor>& tensors,
    PipelineResult& result) {
    const auto scope = timer_.measure("encode");
    std::vector<MadeMessage> made;
    for (std::size_t i = 0; i < values.size(); ++i) {
        // No gradient, no message.
        if (item.is_forward() || graph_.has_gradient(values[i])) {
            made.push_back(encode(item, values[i], tensors[i], result));
        }
    }
    return made;
}

std::vector<MadeMessage> TensorWork::forward(WorkItem& item,
                                             PipelineResult& result) {
    const StageSlice& slice = stage_.slice();
    std::vector<at::Tensor> user_tensors;
    for (const HostTensor& input : item.user_inputs) {
        user_tensors.push_back(from_host(input, stage_.device()));
    }
    const auto inputs = decode(item, slice.inputs);
    const MicrobatchKey key{item.step, item.micro_batch()};
    std::vector<at::Tensor> outputs;
    {
        const auto scope =
            timer_.measure(is_training(item) ? "forward" : "evaluate");
        outputs = is_training(item)
                      ? stage_.forward(key, inputs, user_tensors)
                      : stage_.evaluate(key, item.codecs, inputs, user_tensors);
        if (stage_.has_loss()) {
            result.loss_sum += stage_.loss();
        }
    }
    return encode_all(item, slice.outputs, outputs, result);
}

std::vector<MadeMessage> TensorWork::backward(WorkItem& item,
                                              PipelineResult& result) {
    const StageSlice& slice = stage_.slice();
    const auto received = decode(item, with_gradient(graph_, slice.outputs));
    std::vector<at::Tensor> gradients(slice.outputs.size());
    for (std::size_t i = 0, k = 0; i < gradients.size(); ++i) {
        if (graph_.has_gradient(slice.outputs[i])) {
            gradients[i] = received[k++];
        }
    }
    std::vector<at::Tensor> results;
    {
        const auto scope = timer_.measure("backward");
        results = stage_.backward({item.step, item.micro_batch()}, gradients);
    }
    return encode_all(item, slice.inputs, results, result);
}

std::vector<MadeMessage> TensorWork::run(WorkItem item,
                                         PipelineResult& result) {
    return item.is_forward() ? forward(item, result) : backward(item, result);
}

}  // namespace fusionllm
