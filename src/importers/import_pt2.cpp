#include <optional>

#include "fusionllm/importers/import.hpp"
#include "fusionllm/importers/zip_archive.hpp"
#include "fusionllm/util/error.hpp"

#include "exported_program.hpp"
#include "graph_importer.hpp"
#include "unpickle.hpp"

namespace fusionllm {
namespace {

using Locations = std::map<std::string, WeightLocation>;

void check_byte_order(const ZipArchive& archive) {
    FUSIONLLM_VALIDATE(
        !archive.has("byteorder") || archive.read("byteorder") == "little",
        "'{}' was saved on a machine with another order of bytes; save it on "
        "one like this",
        archive.file().string());
}

//! Tensors of an archive of torch.save inside the archive.
void add_saved(const ZipArchive& archive,
               const std::string& name,
               Locations& locations) {
    if (!archive.has(name)) {
        return;
    }
    const ZipArchive inner = archive.open_inner(name);
    check_byte_order(inner);
    for (auto& [key, tensor] :
         detail::unpickle_tensors(inner.read("data.pkl"))) {
        locations.emplace(
            key, detail::locate_stored(key, tensor, tensor.storage, inner));
    }
}

//! Raw tensors of the newer layout.
void add_raw(const ZipArchive& archive,
             const std::string& folder,
             const std::string& list,
             Locations& locations) {
    if (!archive.has(folder + list)) {
        return;
    }
    for (auto& [key, tensor] :
         detail::parse_weight_list(archive.read(folder + list), folder)) {
        FUSIONLLM_VALIDATE(tensor.offset >= 0,
                           "the tensor '{}' of '{}' is stored as a pickle of a "
                           "special kind of tensor; make it a plain one before "
                           "the export",
                           key,
                           archive.file().string());
        locations.emplace(
            key, detail::locate_stored(key, tensor, tensor.storage, archive));
    }
}

//! "models/model.json" of the newer layout; none if it is not that.
std::optional<std::string> find_model(const ZipArchive& archive) {
    const std::string folder = "models/";
    std::optional<std::string> found;
    for (const auto& [name, entry] : archive.entries()) {
        if (name.starts_with(folder) && name.ends_with(".json")) {
            FUSIONLLM_VALIDATE(!found,
                               "'{}' holds several models; save one alone",
                               archive.file().string());
            found = name.substr(folder.size(), name.size() - folder.size() - 5);
        }
    }
    return found;
}

//! Everything of an archive but its graph.
struct Archive {
    std::string graph_entry;
    Locations weights;
    std::vector<std::string> state_dict_names;
};

void keep_names(Archive& contents) {
    for (const auto& [name, location] : contents.weights) {
        contents.state_dict_names.push_back(name);
    }
}

Archive read_archive(const ZipArchive& archive) {
    Archive contents;
    if (const auto model = find_model(archive)) {
        check_byte_order(archive);
        contents.graph_entry = "models/" + *model + ".json";
        add_raw(archive,
                "data/weights/",
                *model + "_weights_config.json",
                contents.weights);
        keep_names(contents);
        add_raw(archive,
                "data/constants/",
                *model + "_constants_config.json",
                contents.weights);
        return contents;
    }
    contents.graph_entry = "serialized_exported_program.json";
    FUSIONLLM_VALIDATE(
        archive.has(contents.graph_entry),
        "'{}' is no archive of torch.export.save: it holds no graph. Make "
        "one with torch.export.save(torch.export.export(model, inputs), "
        "path)",
        archive.file().string());
    add_saved(archive, "serialized_state_dict.pt", contents.weights);
    keep_names(contents);
    add_saved(archive, "serialized_constants.pt", contents.weights);
    return contents;
}

}  // namespace

ImportedModel import_pt2(const std::filesystem::path& file) {
    const ZipArchive archive(file);
    Archive contents = read_archive(archive);
    detail::ImportedGraph imported = detail::import_graph(
        file.stem().string(),
        detail::parse_program(archive.read(contents.graph_entry)),
        contents.weights);
    return {std::move(imported.graph),
            WeightSource(file, std::move(contents.weights)),
            std::move(imported.shared_names),
            std::move(contents.state_dict_names),
            std::move(imported.counters),
            std::move(imported.notes)};
}

WeightSource read_pt2_weights(const std::filesystem::path& file) {
    return {file, read_archive(ZipArchive(file)).weights};
}

}  // namespace fusionllm
