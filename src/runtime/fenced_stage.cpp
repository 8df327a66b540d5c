#include "fusionllm/runtime/fenced_stage.hpp"

#include <algorithm>

#include <ATen/ATen.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

FencedStage::FencedStage(const OpGraph& graph,
                         OpRange ops,
                         ParameterStore& parameters,
                         BufferStore& buffers,
                         const StageOptions& options,
                         const std::vector<Fence>& fences,
                         const FenceOptions& fence_options)
    : graph_(graph),
      slice_(make_slice(graph, ops)),
      parameters_(parameters),
      buffers_(buffers),
      options_(options),
      fence_options_(fence_options),
      fences_(
          std::make_unique<FenceCodecs>(graph, fences, ops, fence_options)) {
    make_parts();
}

void FencedStage::make_parts() {
    parts_.clear();
    std::size_t begin = slice_.ops.begin;
    std::vector<std::size_t> ends = fences_->inner_cuts();
    ends.push_back(slice_.ops.end);
    for (const std::size_t end : ends) {
        parts_.emplace_back(graph_,
                            make_slice(graph_, {begin, end}),
                            parameters_,
                            buffers_,
                            options_);
        begin = end;
    }
}

void FencedStage::set_fences(const std::vector<Fence>& fences) {
    auto next = std::make_unique<FenceCodecs>(
        graph_, fences, slice_.ops, fence_options_);
    next->take_state(*fences_);
    const bool has_same_parts = next->inner_cuts() == fences_->inner_cuts();
    fences_ = std::move(next);
    if (!has_same_parts) {
        make_parts();
    }
}

std::vector<at::Tensor> FencedStage::pick_inputs(
    const Stage& part, const std::vector<at::Tensor>& user_inputs) const {
    std::vector<at::Tensor> picked;
    for (const ValueId value : part.slice().user_inputs) {
        const auto found = std::ranges::find(slice_.user_inputs, value);
        FUSIONLLM_EXPECTS(found != slice_.user_inputs.end());
        picked.push_back(user_inputs.at(
            static_cast<std::size_t>(found - slice_.user_inputs.begin())));
    }
    return picked;
}

std::vector<at::Tensor> FencedStage::cross(
    std::size_t before,
    Direction direction,
    MicrobatchKey key,
    CodecKey::Use use,
    const std::vector<at::Tensor>& tensors) {
    const StageSlice& slice = parts_[before].slice();
    FUSIONLLM_EXPECTS(tensors.size() == slice.outputs.size());
    std::vector<at::Tensor> crossed;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const ValueId value = slice.outputs[i];
        crossed.push_back(fences_->has(slice.ops.end, value)
                              ? fences_->cross({slice.ops.end,
                                                value,
                                                direction,
                                                key.step,
                                                key.micro_batch,
                                                use},
                                               tensors[i])
                              : tensors[i]);
    }
    return crossed;
}

std::vector<at::Tensor> FencedStage::forward(
    MicrobatchKey key,
    const std::vector<at::Tensor>& inputs,
    const std::vector<at::Tensor>& user_inputs) {
    std::vector<at::Tensor> values = inputs;
    for (std::size_t p = 0; p < parts_.size(); ++p) {
        values =
            parts_[p].forward(key, values, pick_inputs(parts_[p], user_inputs));
        if (p + 1 < parts_.size()) {
            values = cross(
                p, Direction::forward, key, CodecKey::Use::training, values);
        }
    }
    return values;
}

std::vector<at::Tensor> FencedStage::backward(
    MicrobatchKey key, const std::vector<at::Tensor>& gradients) {
    std::vector<at::Tensor> values = gradients;
    for (std::size_t p = parts_.size(); p-- > 0;) {
        if (p + 1 < parts_.size()) {
            values = cross(
                p, Direction::backward, key, CodecKey::Use::training, values);
        }
        values = parts_[p].backward(key.micro_batch, values);
    }
    return values;
}

std::vector<at::Tensor> FencedStage::evaluate(
    MicrobatchKey key,
    CodecUse codecs,
    const std::vector<at::Tensor>& inputs,
    const std::vector<at::Tensor>& user_inputs) {
    std::vector<at::Tensor> values = inputs;
    for (std::size_t p = 0; p < parts_.size(); ++p) {
        values =
            parts_[p].evaluate(values, pick_inputs(parts_[p], user_inputs));
        if (p + 1 < parts_.size() && codecs == CodecUse::on) {
            values = cross(
                p, Direction::forward, key, CodecKey::Use::evaluation, values);
        }
    }
    if (on_output_ && output().defined()) {
        on_output_(output());
    }
    return values;
}

bool FencedStage::has_loss() const {
    return std::ranges::any_of(parts_, &Stage::has_loss);
}

double FencedStage::loss() const {
    const auto part = std::ranges::find_if(parts_, &Stage::has_loss);
    return part == parts_.end() ? 0 : part->loss();
}

const at::Tensor& FencedStage::output() const {
    for (const Stage& part : parts_) {
        if (part.output().defined()) {
            return part.output();
        }
    }
    return parts_.back().output();
}

std::optional<std::string> FencedStage::first_bad_op() const {
    for (const Stage& part : parts_) {
        if (part.first_bad_op()) {
            return part.first_bad_op();
        }
    }
    return std::nullopt;
}

void FencedStage::clear_bad_op() {
    for (Stage& part : parts_) {
        part.clear_bad_op();
    }
}

}  // namespace fusionllm
