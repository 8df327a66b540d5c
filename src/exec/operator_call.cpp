#include "fusionllm/exec/operator_call.hpp"

#include <algorithm>
#include <string>
#include <variant>

#include <ATen/core/dispatch/Dispatcher.h>
#include <fmt/format.h>

#include "fusionllm/util/hash.hpp"

namespace fusionllm {

OperatorCall call_of(const Op& op) {
    const auto absent = std::find_if(
        op.arguments.rbegin(), op.arguments.rend(), [](const auto& argument) {
            return !std::holds_alternative<NoArgument>(argument);
        });
    return {op.target,
            op.overload,
            op.arguments.size(),
            static_cast<std::size_t>(absent - op.arguments.rbegin())};
}

std::vector<OperatorCall> calls_of(const OpGraph& graph) {
    std::vector<OperatorCall> calls;
    for (const Op& op : graph.ops()) {
        calls.push_back(call_of(op));
    }
    std::ranges::sort(calls);
    calls.erase(std::ranges::unique(calls).begin(), calls.end());
    return calls;
}

std::string find_call_problem(const OperatorCall& call) {
    if (call.target == "fusionllm::dropout_mask") {
        return "";
    }
    const auto handle =
        c10::Dispatcher::singleton().findSchema({call.target, call.overload});
    if (!handle) {
        return "does not have it";
    }
    const auto& expected = handle->schema().arguments();
    if (call.num_arguments - call.num_absent > expected.size()) {
        return fmt::format("takes {} argument{}, not {}",
                           expected.size(),
                           expected.size() == 1 ? "" : "s",
                           call.num_arguments - call.num_absent);
    }
    for (std::size_t i = call.num_arguments; i < expected.size(); ++i) {
        if (!expected[i].default_value()) {
            return fmt::format("wants '{}' to be given", expected[i].name());
        }
    }
    return "";
}

// Whole schemas as text took ten times as long, in every start of every rank.
std::uint64_t operators_hash() {
    std::uint64_t sum = 0;  // so that the order does not matter
    std::string text;
    auto& dispatcher = c10::Dispatcher::singleton();
    for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
        const auto handle = dispatcher.findSchema(name);
        if (!handle) {
            continue;
        }
        text = name.name + '.' + name.overload_name;
        for (const c10::Argument& argument : handle->schema().arguments()) {
            text += argument.default_value() ? '=' : ' ';
            text += argument.name();
        }
        sum += hash_text(text);
    }
    return sum;
}

}  // namespace fusionllm
