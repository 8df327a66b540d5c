#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/io/safetensors.hpp"

namespace fusionllm {

/*!
 * Weights that somebody saved under PyTorch's names, for a model that has these
 * names: a GPT-2's as it is published, with or without "transformer." before
 * them, a ResNet's as torchvision has it.
 */
class NamedWeights {
public:
    //! Throws `InputError` for a file that is no safetensors.
    explicit NamedWeights(const std::filesystem::path& file);

    //! Throws `InputError` if a parameter is not there, or of other sizes;
    //! buffers that are not there keep their own first value.
    void check(const OpGraph& graph) const;
    std::optional<HostTensor> find(const std::string& name) const;

private:
    std::optional<std::string> stored_name(const std::string& name) const;

    std::filesystem::path file_;
    SafetensorsReader reader_;
};

}  // namespace fusionllm
