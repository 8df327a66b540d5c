#include "fusionllm/util/output_file.hpp"

#include <system_error>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

void check_output_file(const std::filesystem::path& output,
                       const std::vector<std::filesystem::path>& read) {
    for (const auto& file : read) {
        std::error_code missing;  // then nothing is lost
        FUSIONLLM_VALIDATE(!std::filesystem::equivalent(output, file, missing),
                           "the output '{}' is '{}', which is read here and "
                           "would be lost; give the output another name",
                           output.string(),
                           file.string());
    }
}

}  // namespace fusionllm
