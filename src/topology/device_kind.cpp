#include "fusionllm/topology/device_kind.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

// In the order of `OpKind`.
constexpr std::array<std::string_view, num_op_kinds> op_kind_names = {
    "contraction",
    "convolution",
    "attention",
    "normalization",
    "elementwise",
    "reduction",
    "lookup",
    "copy",
    "view",
    "other"};

}  // namespace

std::string_view to_text(OpKind kind) {
    return op_kind_names.at(static_cast<std::size_t>(kind));
}

OpKind parse_op_kind(std::string_view text) {
    const auto* found = std::ranges::find(op_kind_names, text);
    FUSIONLLM_VALIDATE(
        found != op_kind_names.end(),
        "'{}' is no kind of op{}; there are {}",
        text,
        did_you_mean(text, {op_kind_names.begin(), op_kind_names.end()}),
        fmt::join(op_kind_names, ", "));
    return static_cast<OpKind>(found - op_kind_names.begin());
}

}  // namespace fusionllm
