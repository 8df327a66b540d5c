#include "app/named_weights.hpp"

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

// Before the names of a model that is a part of another one when it is saved.
constexpr const char* prefixes[] = {"", "transformer.", "module."};

}  // namespace

NamedWeights::NamedWeights(const std::filesystem::path& file)
    : file_(file), reader_(file) {}

std::optional<std::string> NamedWeights::stored_name(
    const std::string& name) const {
    for (const char* prefix : prefixes) {
        if (reader_.has(prefix + name)) {
            return prefix + name;
        }
    }
    return std::nullopt;
}

void NamedWeights::check(const OpGraph& graph) const {
    const auto check_type = [&](const std::string& name, ValueId value) {
        const auto stored = stored_name(name);
        FUSIONLLM_VALIDATE(
            !stored || reader_.type(*stored) == graph.value(value).type ||
                as_real(reader_.type(*stored)) == graph.value(value).type,
            "the tensor '{}' is {} in '{}', but {} in the model; "
            "give 'weights' in [model] a file of the same model",
            stored.value_or(""),
            to_text(reader_.type(*stored)),
            file_.string(),
            to_text(graph.value(value).type));
        return stored.has_value();
    };
    for (const Parameter& parameter : graph.signature().parameters) {
        FUSIONLLM_VALIDATE(
            check_type(parameter.name, parameter.value),
            "'{}' holds no tensor '{}', which the model has; give 'weights' in "
            "[model] a file of the same model",
            file_.string(),
            parameter.name);
    }
    for (const ModelBuffer& buffer : graph.signature().buffers) {
        check_type(buffer.name, buffer.value);
    }
}

std::optional<HostTensor> NamedWeights::find(const std::string& name) const {
    const auto stored = stored_name(name);
    return stored ? std::optional(reader_.read(*stored)) : std::nullopt;
}

}  // namespace fusionllm
