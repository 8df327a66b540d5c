#include "app/model_file.hpp"

#include <memory>
#include <set>

#include "fusionllm/importers/import.hpp"
#include "fusionllm/io/model_file.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

ModelFileGraph without_weights(ImportedModel model) {
    return {std::move(model.graph),
            std::move(model.shared_names),
            std::move(model.state_dict_names),
            std::move(model.counters),
            std::move(model.notes)};
}

ModelFileWeights weights_of(WeightSource source) {
    const auto shared = std::make_shared<const WeightSource>(std::move(source));
    return {[shared](const std::string& name) { return shared->type(name); },
            [shared](const std::string& name) { return shared->load(name); }};
}

ModelFileGraph read_stored_graph(const std::filesystem::path& file) {
    ModelFileTexts texts = ModelFileReader(file).texts();
    return {parse_graph(texts.graph),
            std::move(texts.shared_names),
            std::move(texts.state_dict_names),
            std::move(texts.counters),
            std::move(texts.notes)};
}

ModelFileWeights read_stored_weights(const std::filesystem::path& file) {
    const auto shared = std::make_shared<const ModelFileReader>(file);
    return {[shared](const std::string& name) { return shared->type(name); },
            [shared](const std::string& name) { return shared->read(name); }};
}

//! How one kind of file is read.
struct Reader {
    const char* kind;
    const char* suffix;
    ModelFileGraph (*graph)(const std::filesystem::path&);
    ModelFileWeights (*weights)(const std::filesystem::path&);
};

constexpr Reader readers[] = {
    {"pt2",
     ".pt2",
     [](const std::filesystem::path& file) {
         return without_weights(import_pt2(file));
     },
     [](const std::filesystem::path& file) {
         return weights_of(read_pt2_weights(file));
     }},
    {"torchscript",
     ".pt",
     [](const std::filesystem::path& file) {
         return without_weights(import_torchscript(file, {}));
     },
     [](const std::filesystem::path& file) {
         return weights_of(read_torchscript_weights(file));
     }},
    {"h5", ".h5", read_stored_graph, read_stored_weights},
};

const Reader& find_reader(const std::string& kind) {
    for (const Reader& reader : readers) {
        if (reader.kind == kind) {
            return reader;
        }
    }
    throw InputError(
        fmt::format("there is no reader of models of kind '{}'", kind));
}

//! What the graph and PyTorch's state dict need, each tensor once.
std::vector<TensorEntry> list_tensors(const ModelFileGraph& model,
                                      const ModelFileWeights& weights) {
    std::set<std::string> names;
    for (const Parameter& parameter : model.graph.signature().parameters) {
        names.insert(parameter.name);
    }
    for (const ModelBuffer& buffer : model.graph.signature().buffers) {
        names.insert(buffer.name);
    }
    for (const std::string& name : model.state_dict_names) {
        if (!model.shared_names.contains(name)) {
            names.insert(name);
        }
    }
    std::vector<TensorEntry> entries;
    for (const std::string& name : names) {
        entries.push_back({name, weights.type(name)});
    }
    return entries;
}

}  // namespace

std::string model_kind_of(const std::filesystem::path& file) {
    for (const Reader& reader : readers) {
        if (file.extension() == reader.suffix) {
            return reader.kind;
        }
    }
    throw InputError(
        fmt::format("'{}' ends like no model that is known here (.pt2, .pt, "
                    ".h5); rename it, or "
                    "export the model as docs/how-to/import.md says",
                    file.string()));
}

ModelFileGraph read_model_graph(const std::string& kind,
                                const std::filesystem::path& file) {
    return find_reader(kind).graph(file);
}

ModelFileWeights read_model_weights(const std::string& kind,
                                    const std::filesystem::path& file) {
    return find_reader(kind).weights(file);
}

void write_as_model_file(const std::filesystem::path& file,
                         const ModelFileGraph& model,
                         const ModelFileWeights& weights) {
    write_model_file(file,
                     {to_text(model.graph),
                      model.shared_names,
                      model.state_dict_names,
                      model.counters,
                      model.notes},
                     list_tensors(model, weights),
                     weights.load);
}

}  // namespace fusionllm
