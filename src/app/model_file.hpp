#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm {

//! A file's model without its weights.
struct ModelFileGraph {
    OpGraph graph;
    //! Second names of shared parameters, with the graph's name.
    std::map<std::string, std::string> shared_names;
    //! What PyTorch's `load_state_dict(strict=True)` wants, all names.
    std::vector<std::string> state_dict_names;
    //! Buffers that count micro-batches, and what each of these adds.
    std::map<std::string, std::int64_t> counters;
    std::vector<std::string> notes;
};

//! A file's tensors: those names that the model has, read one by one.
struct ModelFileWeights {
    std::function<TensorType(const std::string&)> type;
    std::function<HostTensor(const std::string&)> load;
};

//! "pt2", "torchscript" or "h5", by the end of the file's name. Throws
//! `InputError` for others.
std::string model_kind_of(const std::filesystem::path& file);

//! \param kind of [model]: "pt2", "torchscript" or "h5". Throws `InputError`
//! for a file that is none.
ModelFileGraph read_model_graph(const std::string& kind,
                                const std::filesystem::path& file);
//! Cheap: reads the directory of the file.
ModelFileWeights read_model_weights(const std::string& kind,
                                    const std::filesystem::path& file);

//! As kind "h5", tensor by tensor: those of the graph and of the state dict.
void write_as_model_file(const std::filesystem::path& file,
                         const ModelFileGraph& model,
                         const ModelFileWeights& weights);

}  // namespace fusionllm
