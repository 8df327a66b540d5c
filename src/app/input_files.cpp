#include "app/input_files.hpp"

namespace fusionllm {

std::vector<std::filesystem::path> list_input_files(
    const std::filesystem::path& file, const RunInput& input) {
    std::vector<std::filesystem::path> files{file,
                                             input.model_file.path,
                                             input.model_file.weights,
                                             input.data.vocabulary_file,
                                             input.data.merges_file,
                                             input.data.sentencepiece_file,
                                             input.plan.file,
                                             input.compression.fences,
                                             input.compression.options.replay};
    files.insert(files.end(), input.data.path.begin(), input.data.path.end());
    std::erase(files, std::filesystem::path());
    return files;
}

}  // namespace fusionllm
