#include <algorithm>
#include <map>
#include <string>

#include "op_call.hpp"

namespace fusionllm::detail {
namespace {

constexpr double softmax_flops = 5;  // an element

double product_of(const std::vector<std::int64_t>& sizes) {
    double product = 1;
    for (const std::int64_t size : sizes) {
        product *= static_cast<double>(size);
    }
    return product;
}

//! An element, counted from the end; 1 where there is none.
double size_from_end(const TensorType& type, std::size_t i) {
    const auto& sizes = type.sizes;
    return i < sizes.size() ? static_cast<double>(sizes[sizes.size() - 1 - i])
                            : 1;
}

//! Of one product of the op, forward; its factors cost as much backward.
double product_flops(const OpCall& call) {
    const auto first = call.value(call.row().position);
    const auto second = call.value(call.row().position + 1);
    if (!first || !second) {
        return 0;
    }
    if (call.row().work == Work::product) {
        return call.row().flops * call.output_elements() *
               size_from_end(call.type(*first), 0);
    }
    // Each output element sums over a window: weight (out, in / groups, ...).
    // A transposed convolution spreads each input element over one instead:
    // weight (in, out / groups, ...).
    const auto& sizes = call.type(*second).sizes;
    if (sizes.empty() || sizes.front() == 0) {
        return 0;
    }
    const double window =
        call.elements(second) / static_cast<double>(sizes.front());
    return call.row().flops * window *
           (call.is_transposed() ? call.elements(first)
                                 : call.output_elements());
}

//! Pooling windows: as many dims as the output has after batch and channel.
double window_flops(const OpCall& call) {
    const auto& arguments = call.op().arguments;
    if (arguments.size() < 2) {
        return 0;
    }
    const auto* sizes = std::get_if<std::vector<std::int64_t>>(&arguments[1]);
    if (!sizes || sizes->empty()) {
        return 0;
    }
    const bool is_square = sizes->size() == 1 && call.row().target.find("2d") !=
                                                     std::string_view::npos;
    const double window = product_of(*sizes) * (is_square ? sizes->front() : 1);
    return call.row().flops * call.output_elements() * window;
}

/*!
 * "bij,bjk->bik": the product of all extents, times two for two operands.
 * Without a rule (an ellipsis, more operands): 0.
 */
double einsum_flops(const OpCall& call) {
    const auto& arguments = call.op().arguments;
    const auto* equation =
        arguments.empty() ? nullptr : std::get_if<std::string>(&arguments[0]);
    const auto* operands =
        arguments.size() < 2
            ? nullptr
            : std::get_if<std::vector<ValueOrNone>>(&arguments[1]);
    if (!equation || !operands || operands->size() > 2 ||
        equation->find('.') != std::string::npos) {
        return 0;
    }
    std::map<char, double> extents;
    std::size_t operand = 0;
    std::size_t dim = 0;
    for (const char label : equation->substr(0, equation->find("->"))) {
        if (label == ',') {
            ++operand;
            dim = 0;
        } else if (label != ' ' && operand < operands->size()) {
            const auto* id = std::get_if<ValueId>(&(*operands)[operand]);
            if (!id || dim >= call.type(*id).sizes.size()) {
                return 0;
            }
            extents[label] = static_cast<double>(call.type(*id).sizes[dim++]);
        }
    }
    double flops = operands->size() == 2 ? call.row().flops : 1;
    for (const auto& [label, extent] : extents) {
        flops *= extent;
    }
    return flops;
}

//! Of attention's two products: scores (query x key), mixing (x value).
struct AttentionFlops {
    double scores = 0;
    double mixing = 0;
    double softmax = 0;

    explicit AttentionFlops(const OpCall& call) {
        const auto query = call.value(0);
        const auto key = call.value(1);
        const auto value = call.value(2);
        if (!query || !key || !value) {
            return;
        }
        const double rows = call.elements(query) /
                            std::max(size_from_end(call.type(*query), 0), 1.0);
        const double pairs = rows * size_from_end(call.type(*key), 1);
        scores = call.row().flops * pairs * size_from_end(call.type(*query), 0);
        mixing = call.row().flops * pairs * size_from_end(call.type(*value), 0);
        softmax = softmax_flops * pairs;
    }
    double total() const { return scores + mixing + softmax; }
};

//! The fused backward makes the scores again.
double attention_backward_flops(const OpCall& call) {
    const AttentionFlops flops(call);
    const bool has_scores =
        call.has_gradient(call.value(0)) || call.has_gradient(call.value(1));
    return flops.scores + flops.softmax +
           call.has_gradient(call.value(0)) * flops.scores +
           call.has_gradient(call.value(1)) * flops.scores +
           call.has_gradient(call.value(2)) * flops.mixing +
           has_scores * (flops.mixing + flops.softmax);
}

//! Every row of the input passes every matrix once.
double recurrent_flops(const OpCall& call) {
    const auto input = call.value(0);
    if (!input) {
        return 0;
    }
    const double rows = call.elements(input) /
                        std::max(size_from_end(call.type(*input), 0), 1.0);
    double flops = 0;
    for (const ValueId id : call.reads()) {
        if (id != *input && call.type(id).sizes.size() == 2) {
            flops += call.row().flops * rows * call.elements(id);
        }
    }
    return flops;
}

double work_flops(const OpCall& call) {
    switch (call.row().work) {
        case Work::none:
            return 0;
        case Work::per_output:
            return call.row().flops * call.output_elements();
        case Work::per_input:
            return call.row().flops * call.elements(call.value(0));
        case Work::product:
        case Work::convolve:
            return product_flops(call);
        case Work::einsum:
            return einsum_flops(call);
        case Work::window:
            return window_flops(call);
        case Work::attend:
            return AttentionFlops(call).total();
        case Work::recur:
            return recurrent_flops(call);
    }
    return 0;
}

}  // namespace

double forward_flops(const OpCall& call) {
    return work_flops(call) + (call.bias() ? call.output_elements() : 0);
}

double backward_flops(const OpCall& call) {
    const auto num_gradients = static_cast<double>(std::ranges::count_if(
        call.reads(), [&](ValueId id) { return call.has_gradient(id); }));
    if (call.is_product()) {
        const std::size_t position = call.row().position;
        const int factors = call.has_gradient(call.value(position)) +
                            call.has_gradient(call.value(position + 1));
        return factors * work_flops(call) +
               (call.has_gradient(call.bias()) ? call.output_elements() : 0);
    }
    if (call.row().work == Work::attend) {
        return attention_backward_flops(call);
    }
    if (call.row().work == Work::recur) {
        return 2 * work_flops(call);  // of the weights; of what passes them
    }
    return work_flops(call) * num_gradients;
}

}  // namespace fusionllm::detail
