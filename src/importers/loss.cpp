#include "fusionllm/importers/loss.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

//! Adds values and ops to a copy of a graph.
class Extension {
public:
    explicit Extension(const OpGraph& graph)
        : name_(graph.name()),
          values_(graph.values()),
          ops_(graph.ops()),
          signature_(graph.signature()) {}

    const TensorType& type(ValueId value) const {
        return values_[value.get()].type;
    }
    ValueId add_label(TensorType type) {
        const ValueId label = add_value(unused("labels"), std::move(type));
        signature_.inputs.push_back(label);
        ++signature_.num_labels;
        return label;
    }
    ValueId add_op(const std::string& wanted,
                   const std::string& target,
                   std::vector<Argument> arguments,
                   TensorType type) {
        const std::string name = unused(wanted);
        const ValueId output = add_value(name, std::move(type));
        ops_.push_back({name, target, "", std::move(arguments), {output}});
        return output;
    }
    OpGraph build_with_loss(ValueId loss) {
        signature_.loss = loss;
        return {name_, values_, ops_, signature_};
    }

private:
    //! The model may have such a value or op of its own.
    std::string unused(std::string name) const {
        const auto is_used = [&](const auto& named) {
            return named.name == name;
        };
        while (std::ranges::any_of(values_, is_used) ||
               std::ranges::any_of(ops_, is_used)) {
            name += ".2";
        }
        return name;
    }
    ValueId add_value(const std::string& name, TensorType type) {
        values_.push_back({name, std::move(type)});
        return ValueId(static_cast<std::uint32_t>(values_.size() - 1));
    }

    std::string name_;
    std::vector<Value> values_;
    std::vector<Op> ops_;
    GraphSignature signature_;
};

OpGraph with_cross_entropy(const OpGraph& graph, ValueId logits) {
    Extension extension(graph);
    TensorType type = extension.type(logits);
    FUSIONLLM_VALIDATE(type.sizes.size() >= 2,
                       "the model's output is {}; cross entropy needs (N, "
                       "classes), (B, T, classes) or (N, classes, H, W)",
                       to_text(type));
    constexpr std::size_t sequence_dimensions = 3;
    const bool is_sequence = type.sizes.size() == sequence_dimensions;
    std::vector<std::int64_t> label_sizes = type.sizes;
    label_sizes.erase(label_sizes.begin() + (is_sequence ? 2 : 1));
    ValueId labels = extension.add_label({DType::i64, label_sizes});
    if (is_sequence) {
        const std::int64_t positions = type.sizes[0] * type.sizes[1];
        type.sizes = {positions, type.sizes[2]};
        logits = extension.add_op(
            "loss.logits", "aten::reshape", {logits, type.sizes}, type);
        const TensorType flat{DType::i64, {positions}};
        labels = extension.add_op(
            "loss.labels", "aten::reshape", {labels, flat.sizes}, flat);
    }
    return extension.build_with_loss(extension.add_op(
        "loss", "aten::cross_entropy_loss", {logits, labels}, {}));
}

}  // namespace

LossKind parse_loss_kind(std::string_view name) {
    if (name == "mse") {
        return LossKind::mean_squared_error;
    }
    FUSIONLLM_VALIDATE(name == "cross_entropy",
                       "'{}' is no loss{}; use \"cross_entropy\" or \"mse\"",
                       name,
                       did_you_mean(name, {"cross_entropy", "mse"}));
    return LossKind::cross_entropy;
}

OpGraph with_loss(const OpGraph& graph, LossKind kind) {
    const auto& output = graph.signature().output;
    FUSIONLLM_VALIDATE(output.has_value(),
                       "the model '{}' has no output to put a loss on; let its "
                       "forward return a tensor that is no single number",
                       graph.name());
    const TensorType type = graph.value(*output).type;
    FUSIONLLM_VALIDATE(type.dtype == DType::f32,
                       "the output of the model '{}' is {}; a loss needs f32",
                       graph.name(),
                       to_text(type));
    if (kind == LossKind::cross_entropy) {
        return with_cross_entropy(graph, *output);
    }
    Extension extension(graph);
    const ValueId labels = extension.add_label(type);
    return extension.build_with_loss(
        extension.add_op("loss", "aten::mse_loss", {*output, labels}, {}));
}

}  // namespace fusionllm
