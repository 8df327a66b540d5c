#include "fusionllm/graph/call.hpp"

#include <algorithm>
#include <variant>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

std::string full_name(const std::string& target, const std::string& overload) {
    return overload.empty() ? target : target + "." + overload;
}

}  // namespace

const Argument* Call::find(std::string_view argument) const {
    const auto found = std::ranges::find(
        arguments, argument, [](const auto& pair) -> std::string_view {
            return pair.first;
        });
    return found == arguments.end() ? nullptr : &found->second;
}

ValueId Call::tensor(std::string_view argument) const {
    const Argument* found = find(argument);
    const auto* value =
        found == nullptr ? nullptr : std::get_if<ValueId>(found);
    FUSIONLLM_VALIDATE(value != nullptr,
                       "op '{}' does not give a tensor '{}' to {}{}; the "
                       "archive is damaged",
                       name,
                       argument,
                       full_name(*this),
                       where);
    return *value;
}

std::string full_name(const Call& call) {
    return full_name(call.target, call.overload);
}

std::string full_name(const Op& op) {
    return full_name(op.target, op.overload);
}

std::string OpWriter::unique(const std::string& name) {
    std::string candidate = name;
    for (int i = 2; !names_.insert(candidate).second; ++i) {
        candidate = fmt::format("{}_{}", name, i);
    }
    return candidate;
}

std::string OpWriter::reserve(const std::string& name) {
    return *reserved_.insert(unique(name)).first;
}

ValueId OpWriter::write(const std::string& name,
                        std::string_view target,
                        std::vector<Argument> arguments,
                        TensorType output) {
    return write_all(name, target, std::move(arguments), {std::move(output)})
        .front();
}

std::vector<ValueId> OpWriter::write_all(
    const std::string& name,
    std::string_view target,
    std::vector<Argument> arguments,
    const std::vector<TensorType>& outputs) {
    const std::string own = reserved_.erase(name) > 0 ? name : unique(name);
    return graph_.add_op_with_outputs(
        own, target, std::move(arguments), outputs);
}

}  // namespace fusionllm
