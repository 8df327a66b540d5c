#include "op_call.hpp"

#include <algorithm>

namespace fusionllm::detail {
namespace {

//! The dim along which a part is cut; 0 if it is left out.
std::int64_t part_dim(const OpCall& call) {
    const auto& arguments = call.op().arguments;
    const std::size_t position = call.row().position;
    if (position >= arguments.size()) {
        return 0;
    }
    const auto* dim = std::get_if<std::int64_t>(&arguments[position]);
    return dim ? *dim : 0;
}

//! Whether parts along the dim are dense: nothing but ones stands before it.
bool is_outermost(const OpCall& call) {
    const auto& sizes = call.type(*call.value(0)).sizes;
    const auto rank = static_cast<std::int64_t>(sizes.size());
    const std::int64_t dim = part_dim(call);
    const std::int64_t end =
        std::clamp(dim < 0 ? dim + rank : dim, std::int64_t{0}, rank);
    return std::all_of(sizes.begin(), sizes.begin() + end, [](auto size) {
        return size == 1;
    });
}

}  // namespace

OpCall::OpCall(const OpGraph& graph, const Op& op, const CostRow& row)
    : graph_(graph), op_(op), row_(row), reads_(used_values(op)) {
    std::ranges::sort(reads_);
    reads_.erase(std::unique(reads_.begin(), reads_.end()), reads_.end());
}

std::optional<ValueId> OpCall::value(std::size_t position) const {
    if (position >= op_.arguments.size()) {
        return std::nullopt;
    }
    const auto* id = std::get_if<ValueId>(&op_.arguments[position]);
    return id ? std::optional(*id) : std::nullopt;
}

double OpCall::bytes(ValueId id) const {
    return static_cast<double>(num_bytes(type(id)));
}

double OpCall::elements(std::optional<ValueId> id) const {
    return id ? static_cast<double>(num_elements(type(*id))) : 0;
}

double OpCall::output_elements() const {
    return op_.outputs.empty() ? 0 : elements(op_.outputs.front());
}

bool OpCall::has_backward() const {
    return std::ranges::any_of(
        op_.outputs, [this](ValueId id) { return graph_.has_gradient(id); });
}

bool OpCall::has_gradient(std::optional<ValueId> id) const {
    return id && graph_.has_gradient(*id);
}

bool OpCall::is_view() const {
    if (!value(0)) {
        return false;
    }
    return row_.traffic == Traffic::view || row_.traffic == Traffic::may_copy ||
           (row_.traffic == Traffic::part && is_outermost(*this));
}

OpKind OpCall::kind() const {
    return row_.traffic == Traffic::part && is_view() ? OpKind::view
                                                      : row_.kind;
}

bool OpCall::is_product() const {
    return row_.work == Work::product || row_.work == Work::convolve;
}

std::optional<ValueId> OpCall::bias() const {
    return is_product() ? value(row_.position == 0 ? 2 : 0) : std::nullopt;
}

bool OpCall::is_transposed() const {
    constexpr std::size_t flag = 6;  // of aten::convolution
    if (row_.work != Work::convolve) {
        return false;
    }
    if (row_.target.starts_with("aten::conv_transpose")) {
        return true;
    }
    if (!row_.target.ends_with("convolution") || op_.arguments.size() <= flag) {
        return false;
    }
    const auto* is_set = std::get_if<bool>(&op_.arguments[flag]);
    return is_set && *is_set;
}

}  // namespace fusionllm::detail
