#include "app/first_values.hpp"

#include <memory>
#include <optional>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "app/model_file.hpp"
#include "app/named_weights.hpp"

namespace fusionllm {
namespace {

//! What rank 0 read is here, too.
void check_same(const std::filesystem::path& file, std::uint64_t fingerprint) {
    FUSIONLLM_VALIDATE(
        std::filesystem::is_regular_file(file),
        "there is no file '{}' here, which [model] takes weights from; every "
        "rank reads its own, so give each host the file under this path",
        file.string());
    FUSIONLLM_VALIDATE(
        fingerprint_of(file) == fingerprint,
        "the file '{}' is not the one that rank 0 read (size or content "
        "differ); give each host the same file, and leave it unchanged "
        "during the run",
        file.string());
}

//! What [model] takes weights from, once it is open.
struct Sources {
    std::optional<NamedWeights> named;
    std::optional<ModelFileWeights> file;
    bool is_open = false;
};

void open(Sources& sources, const RunInput& input, const ModelSource& source) {
    const auto files = first_values_files(input);
    for (std::size_t i = 0; i < files.size(); ++i) {
        check_same(files[i], source.fingerprints.at(i));
    }
    if (!input.model_file.weights.empty()) {
        sources.named.emplace(input.model_file.weights);
    }
    if (is_model_file(input.model_kind)) {
        sources.file =
            read_model_weights(input.model_kind, input.model_file.path);
    }
    sources.is_open = true;
}

}  // namespace

std::vector<std::filesystem::path> first_values_files(const RunInput& input) {
    std::vector<std::filesystem::path> files;
    if (!input.model_file.weights.empty()) {
        files.push_back(input.model_file.weights);
    }
    if (is_model_file(input.model_kind)) {
        files.push_back(input.model_file.path);
    }
    return files;
}

InitialTensor make_first_values(const RunInput& input,
                                const ModelSource& source) {
    if (first_values_files(input).empty()) {
        return {};
    }
    ModelSource known{std::nullopt, source.fingerprints, {}};
    return [sources = std::make_shared<Sources>(), input, known](
               const std::string& name) -> std::optional<HostTensor> {
        if (!sources->is_open) {
            open(*sources, input, known);
        }
        auto found = sources->named ? sources->named->find(name) : std::nullopt;
        if (!found && sources->file) {
            found = sources->file->load(name);
        }
        return found;
    };
}

}  // namespace fusionllm
