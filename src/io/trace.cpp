#include "fusionllm/io/trace.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

bool names_value(const std::string& word, std::string_view value) {
    return word == "all" || word == value ||
           (value.starts_with(word) &&
            value.substr(word.size()).front() == '.');
}

}  // namespace

bool is_traced_step(const TraceOptions& options, std::int64_t step) {
    const bool has_range = options.steps.size() == 2;
    const std::int64_t first = has_range ? options.steps[0] : 1;
    return !options.values.empty() && step >= first &&
           (!has_range || step <= options.steps[1]) &&
           (step - first) % options.every == 0;
}

bool is_traced(const TraceOptions& options,
               std::string_view value,
               std::int64_t step,
               std::int64_t micro_batch) {
    return is_traced_step(options, step) &&
           micro_batch < options.micro_batches &&
           std::ranges::any_of(options.values, [&](const std::string& word) {
               return names_value(word, value);
           });
}

void check_trace_values(const TraceOptions& options,
                        const std::vector<std::string>& names) {
    for (const std::string& word : options.values) {
        FUSIONLLM_VALIDATE(
            word == "all" ||
                std::ranges::any_of(
                    names,
                    [&](const auto& name) { return names_value(word, name); }),
            "no value named '{}' crosses from a stage to the next, so it "
            "cannot be traced{}; there are: {}",
            word,
            did_you_mean(word, names),
            names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
    }
}

std::filesystem::path trace_file(const TraceOptions& options,
                                 const std::filesystem::path& output,
                                 std::size_t stage) {
    std::filesystem::path file =
        options.file.empty() ? output / "traces" / "trace.h5" : options.file;
    return file.replace_filename(fmt::format("{}-stage-{}{}",
                                             file.stem().string(),
                                             stage,
                                             file.extension().string()));
}

}  // namespace fusionllm
