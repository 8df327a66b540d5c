#include "cost_table.hpp"

#include <algorithm>
#include <iterator>

namespace fusionllm::detail {
namespace {

using enum Work;
using enum Traffic;
using K = Keeps;

// Flops of transcendental functions are those of common polynomials; they are
// small beside contractions and matter for the balance of tiny models only.
constexpr CostRow rows[] = {
    // Contractions: (..., m, k) x (..., k, n)
    {"aten::addmm", contraction, 2, dense, K::factors, 1},
    {"aten::baddbmm", contraction, 2, dense, K::factors, 1},
    {"aten::bmm", contraction, 2, dense, K::factors},
    {"aten::linear", contraction, 2, dense, K::factors},
    {"aten::matmul", contraction, 2, dense, K::factors},
    {"aten::mm", contraction, 2, dense, K::factors},
    {"aten::conv2d", convolution, 2, dense, K::factors},
    {"aten::convolution", convolution, 2, dense, K::factors},

    // Arithmetic
    {"aten::add", per_output, 1},
    {"aten::sub", per_output, 1},
    {"aten::rsub", per_output, 1},
    {"aten::mul", per_output, 1, dense, K::factors},
    {"aten::div", per_output, 1, dense, K::factors},
    {"aten::neg", per_output, 1},
    {"aten::abs", per_output, 1, dense, K::input},
    {"aten::clamp", per_output, 1, dense, K::input},
    {"aten::cos", per_output, 8, dense, K::input},
    {"aten::erf", per_output, 8, dense, K::input},
    {"aten::exp", per_output, 8, dense, K::output},
    {"aten::log", per_output, 8, dense, K::input},
    {"aten::pow", per_output, 8, dense, K::input},
    {"aten::reciprocal", per_output, 1, dense, K::output},
    {"aten::rsqrt", per_output, 2, dense, K::output},
    {"aten::sin", per_output, 8, dense, K::input},
    {"aten::sqrt", per_output, 1, dense, K::output},
    {"aten::square", per_output, 1, dense, K::input},

    // Activations
    {"aten::gelu", per_output, 10, dense, K::input},
    {"aten::relu", per_output, 1, dense, K::output},
    {"aten::sigmoid", per_output, 10, dense, K::output},
    {"aten::silu", per_output, 10, dense, K::input},
    {"aten::tanh", per_output, 10, dense, K::output},

    // Norms, softmax, losses, reductions
    {"aten::batch_norm", per_input, 8, dense, K::input},
    {"aten::layer_norm", per_input, 8, dense, K::input_stats},
    {"aten::softmax", per_input, 5, dense, K::output},
    {"aten::_softmax", per_input, 5, dense, K::output},
    {"aten::log_softmax", per_input, 5, dense, K::output},
    {"aten::_log_softmax", per_input, 5, dense, K::output},
    {"aten::cross_entropy_loss", per_input, 5, dense, K::loss},
    {"aten::nll_loss", none, 0, gather, K::second},
    {"aten::sum", per_input, 1},
    {"aten::mean", per_input, 1},

    // Masks and lookups
    {"aten::embedding", none, 0, gather, K::second},
    {"aten::masked_fill", none, 0, dense, K::second},
    {"aten::tril"},
    {"aten::triu"},
    {"aten::arange", none, 0, write_only},
    {"aten::full", none, 0, write_only},
    {"aten::ones", none, 0, write_only},
    {"aten::ones_like", none, 0, write_only},
    {"aten::scalar_tensor", none, 0, write_only},
    {"aten::zeros", none, 0, write_only},
    {"aten::zeros_like", none, 0, write_only},
    {"fusionllm::dropout_mask", per_output, 10, write_only},

    // Copies and views
    {"aten::_to_copy"},
    {"aten::cat"},
    {"aten::clone"},
    {"aten::stack"},
    {"aten::to", none, 0, may_copy},
    {"aten::contiguous", none, 0, may_copy},
    {"aten::flatten", none, 0, may_copy},
    {"aten::reshape", none, 0, may_copy},
    {"aten::alias", none, 0, view},
    {"aten::chunk", none, 0, view},
    {"aten::detach", none, 0, view},
    {"aten::expand", none, 0, view},
    {"aten::narrow", none, 0, view},
    {"aten::permute", none, 0, view},
    {"aten::select", none, 0, view},
    {"aten::slice", none, 0, view},
    {"aten::split", none, 0, view},
    {"aten::split_with_sizes", none, 0, view},
    {"aten::squeeze", none, 0, view},
    {"aten::t", none, 0, view},
    {"aten::transpose", none, 0, view},
    {"aten::unbind", none, 0, view},
    {"aten::unsqueeze", none, 0, view},
    {"aten::view", none, 0, view},
};

}  // namespace

const CostRow* find_cost_row(std::string_view target) {
    const auto* row = std::ranges::find(rows, target, &CostRow::target);
    return row == std::end(rows) ? nullptr : row;
}

}  // namespace fusionllm::detail
