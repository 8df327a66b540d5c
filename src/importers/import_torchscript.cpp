#include <set>

#include "fusionllm/importers/import.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "graph_importer.hpp"
#include "script_tracer.hpp"

namespace fusionllm {
namespace {

std::vector<TensorType> stored_inputs(const detail::ScriptArchive& archive,
                                      const std::filesystem::path& file) {
    const auto text = archive.find_extra("inputs");
    FUSIONLLM_VALIDATE(
        text,
        "'{}' does not say what the model is given, which TorchScript leaves "
        "out; give the types of its inputs, such as \"f32[8,3,32,32]\", or "
        "save it with _extra_files={{\"inputs\": \"f32[8,3,32,32] i64[8]\"}}",
        file.string());
    std::vector<TensorType> types;
    for (const std::string& word : split(trim(*text), ' ')) {
        types.push_back(parse_tensor_type(trim(word)));
    }
    return types;
}

//! As it was stored beside the model; else all parameters and buffers, for
//! TorchScript does not know which buffers are not saved.
std::vector<std::string> list_state_dict(const detail::ScriptArchive& archive,
                                         const std::filesystem::path& file) {
    std::set<std::string> registered;
    for (const auto& [name, tensor] : archive.tensors()) {
        if (tensor.is_registered) {
            registered.insert(name);
        }
    }
    const auto text = archive.find_extra("state_dict");
    if (!text) {
        return {registered.begin(), registered.end()};
    }
    std::vector<std::string> names;
    for (const std::string& line : split(trim(*text), '\n')) {
        const std::string name(trim(line));
        FUSIONLLM_VALIDATE(
            registered.contains(name),
            "'{}' says that the model's state dict has '{}', but holds no such "
            "parameter or buffer; export the model again",
            file.string(),
            name);
        names.push_back(name);
    }
    return names;
}

}  // namespace

ImportedModel import_torchscript(const std::filesystem::path& file,
                                 const std::vector<TensorType>& inputs) {
    const detail::ScriptArchive archive(file);
    WeightSource weights(file, archive.locations());
    detail::ImportedGraph imported = detail::import_graph(
        file.stem().string(),
        detail::trace_script(
            archive,
            weights,
            inputs.empty() ? stored_inputs(archive, file) : inputs),
        archive.locations());
    return {std::move(imported.graph),
            std::move(weights),
            std::move(imported.shared_names),
            list_state_dict(archive, file),
            std::move(imported.counters),
            std::move(imported.notes)};
}

WeightSource read_torchscript_weights(const std::filesystem::path& file) {
    return {file, detail::ScriptArchive(file).locations()};
}

}  // namespace fusionllm
