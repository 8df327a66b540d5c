#include <algorithm>
#include <cmath>
#include <limits>

#include "fusionllm/graph/decompose.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

using Sizes = std::vector<std::int64_t>;

double number_or(const Call& call, std::string_view name, double otherwise) {
    const Argument* found = call.find(name);
    if (found != nullptr) {
        if (const auto* value = std::get_if<double>(found)) {
            return *value;
        }
        if (const auto* value = std::get_if<std::int64_t>(found)) {
            return static_cast<double>(*value);
        }
    }
    return otherwise;
}

bool is_true(const Call& call, std::string_view name) {
    const Argument* found = call.find(name);
    const auto* flag = found == nullptr ? nullptr : std::get_if<bool>(found);
    return flag != nullptr && *flag;
}

std::optional<ValueId> tensor_or_none(const Call& call, std::string_view name) {
    const Argument* found = call.find(name);
    const auto* value =
        found == nullptr ? nullptr : std::get_if<ValueId>(found);
    return value == nullptr ? std::nullopt : std::optional(*value);
}

void check_one_output(const Call& call) {
    FUSIONLLM_VALIDATE(call.outputs.size() == 1,
                       "op '{}' calls {} for {} tensors{}; the archive is "
                       "damaged",
                       call.name,
                       full_name(call),
                       call.outputs.size(),
                       call.where);
}

//! x times a mask of ours, which is the same on all ranks.
ValueId write_dropout(const std::string& name,
                      ValueId x,
                      double p,
                      OpWriter& writer) {
    const TensorType type = writer.type(x);
    const ValueId mask =
        writer.write(name + ".mask", "fusionllm::dropout_mask", {x, p}, type);
    return writer.write(name, "aten::mul.Tensor", {x, mask}, type);
}

std::vector<ValueId> write_dropout_call(const Call& call, OpWriter& writer) {
    check_one_output(call);
    const ValueId x = call.tensor("input");
    const double p = number_or(call, "p", 0.5);
    if (!is_true(call, "train") || p == 0) {
        return {x};
    }
    FUSIONLLM_VALIDATE(p > 0 && p < 1,
                       "op '{}' drops with probability {}{}; it must be "
                       "below 1",
                       call.name,
                       p,
                       call.where);
    return {write_dropout(call.name, x, p, writer)};
}

//! softmax(q k^T / sqrt(d) + mask) v; q (..., L, E), k (..., S, E).
class AttentionWriter {
public:
    AttentionWriter(const Call& call, OpWriter& writer)
        : call_(call), writer_(writer) {
        check_one_output(call);
        for (const char* name : {"query", "key", "value"}) {
            FUSIONLLM_VALIDATE(
                writer.type(call.tensor(name)).sizes.size() >= 2,
                "op '{}' gives a '{}' of fewer than two dimensions to {}{}",
                call.name,
                name,
                full_name(call),
                call.where);
        }
    }

    ValueId write() {
        const ValueId q = call_.tensor("query");
        const ValueId k = repeated(call_.tensor("key"), "key");
        const ValueId v = repeated(call_.tensor("value"), "value");
        Sizes turned = sizes(k);
        std::swap(turned[turned.size() - 1], turned[turned.size() - 2]);
        const ValueId transposed =
            write("key", "aten::transpose.int", {k, last - 1, last}, turned);
        scores_ = call_.outputs[0].sizes;
        FUSIONLLM_VALIDATE(scores_.size() >= 2,
                           "op '{}' makes attention of fewer than two "
                           "dimensions{}; the archive is damaged",
                           call_.name,
                           call_.where);
        scores_.back() = turned.back();
        const ValueId product =
            write("product", "aten::matmul", {q, transposed}, scores_);
        const double scale =
            number_or(call_,
                      "scale",
                      1 / std::sqrt(static_cast<double>(
                              std::max<std::int64_t>(sizes(q).back(), 1))));
        const ValueId scaled =
            write("scaled", "aten::mul.Scalar", {product, scale}, scores_);
        ValueId weights = write(
            "softmax", "aten::softmax.int", {masked(scaled), last}, scores_);
        if (const double p = number_or(call_, "dropout_p", 0); p > 0) {
            weights = write_dropout(call_.name + ".drop", weights, p, writer_);
        }
        return writer_.write(
            call_.name, "aten::matmul", {weights, v}, call_.outputs[0]);
    }

private:
    static constexpr std::int64_t last = -1;

    const Sizes& sizes(ValueId value) const {
        return writer_.type(value).sizes;
    }
    ValueId write(const char* part,
                  const char* target,
                  std::vector<Argument> arguments,
                  Sizes sizes) {
        return writer_.write(call_.name + "." + part,
                             target,
                             std::move(arguments),
                             {call_.outputs[0].dtype, std::move(sizes)});
    }

    //! Grouped queries: each head of keys and values serves several queries.
    ValueId repeated(ValueId heads, const char* part) {
        const Sizes& queries = sizes(call_.tensor("query"));
        Sizes repeated = sizes(heads);
        if (!is_true(call_, "enable_gqa") || repeated.size() < 3 ||
            queries.size() < 3) {
            return heads;
        }
        std::int64_t& count = repeated[repeated.size() - 3];
        const std::int64_t wanted = queries[queries.size() - 3];
        if (count == wanted || count == 0 || wanted % count != 0) {
            return heads;
        }
        const std::int64_t times = wanted / count;
        count = wanted;
        return writer_.write(call_.name + "." + part + "_repeated",
                             "aten::repeat_interleave.self_int",
                             {heads, times, std::int64_t{-3}},
                             {call_.outputs[0].dtype, std::move(repeated)});
    }

    ValueId masked(ValueId scores) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        if (is_true(call_, "is_causal")) {
            const TensorType square{
                DType::boolean, {scores_[scores_.size() - 2], scores_.back()}};
            const std::string name = call_.name + ".future";
            const ValueId ones = writer_.write(name + "_ones",
                                               "aten::ones",
                                               {square.sizes, DType::boolean},
                                               square);
            const ValueId future = writer_.write(
                name, "aten::triu", {ones, std::int64_t{1}}, square);
            scores = write("causal",
                           "aten::masked_fill.Scalar",
                           {scores, future, -infinity},
                           scores_);
        }
        const auto mask = tensor_or_none(call_, "attn_mask");
        if (!mask) {
            return scores;
        }
        const TensorType type = writer_.type(*mask);
        if (type.dtype != DType::boolean) {
            return write(
                "masked", "aten::add.Tensor", {scores, *mask}, scores_);
        }
        const ValueId hidden = writer_.write(
            call_.name + ".hidden", "aten::logical_not", {*mask}, type);
        return write("masked",
                     "aten::masked_fill.Scalar",
                     {scores, hidden, -infinity},
                     scores_);
    }

    const Call& call_;
    OpWriter& writer_;
    Sizes scores_;
};

//! x / sqrt(mean(x^2) + eps) * weight, over the last dimensions.
std::vector<ValueId> write_rms_norm(const Call& call, OpWriter& writer) {
    check_one_output(call);
    const ValueId x = call.tensor("input");
    const TensorType type = writer.type(x);
    const Argument* shape = call.find("normalized_shape");
    const auto* normalized =
        shape == nullptr ? nullptr : std::get_if<Sizes>(shape);
    FUSIONLLM_VALIDATE(
        normalized != nullptr && normalized->size() <= type.sizes.size(),
        "op '{}' normalises dimensions that its input does not have{}; the "
        "archive is damaged",
        call.name,
        call.where);
    TensorType reduced = type;
    Sizes dims;
    for (std::size_t i = 0; i < normalized->size(); ++i) {
        reduced.sizes[type.sizes.size() - 1 - i] = 1;
        dims.push_back(-1 - static_cast<std::int64_t>(i));
    }
    const double eps =
        number_or(call, "eps", double{std::numeric_limits<float>::epsilon()});
    const std::string& name = call.name;
    const ValueId square =
        writer.write(name + ".square", "aten::mul.Tensor", {x, x}, type);
    const ValueId mean = writer.write(
        name + ".mean", "aten::mean.dim", {square, dims, true}, reduced);
    const ValueId shifted = writer.write(
        name + ".shifted", "aten::add.Scalar", {mean, eps}, reduced);
    const ValueId scale =
        writer.write(name + ".scale", "aten::rsqrt", {shifted}, reduced);
    const auto weight = tensor_or_none(call, "weight");
    const ValueId normal = writer.write(
        weight ? name + ".normal" : name, "aten::mul.Tensor", {x, scale}, type);
    return {
        weight
            ? writer.write(
                  name, "aten::mul.Tensor", {normal, *weight}, call.outputs[0])
            : normal};
}

}  // namespace

std::vector<ValueId> write_decomposed(const Call& call, OpWriter& writer) {
    if (call.target == "aten::dropout") {
        return write_dropout_call(call, writer);
    }
    if (call.target == "aten::scaled_dot_product_attention") {
        return {AttentionWriter(call, writer).write()};
    }
    if (call.target == "aten::rms_norm") {
        return write_rms_norm(call, writer);
    }
    return {};
}

}  // namespace fusionllm
