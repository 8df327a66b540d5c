#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/runtime/sampler.hpp"
#include "fusionllm/util/error.hpp"

#include "app/commands/commands.hpp"
#include "app/run_input.hpp"

namespace fusionllm {
namespace {

//! A step-N folder itself, or the newest one of a run's output folder.
std::filesystem::path find_checkpoint(const std::filesystem::path& given) {
    FUSIONLLM_VALIDATE(std::filesystem::is_directory(given),
                       "there is no folder '{}'; give a checkpoint "
                       "(OUTPUT/checkpoints/step-N) or a run's output folder",
                       given.string());
    if (std::filesystem::exists(given / "manifest.json")) {
        return given;
    }
    const auto latest = find_latest_checkpoint(given / "checkpoints");
    FUSIONLLM_VALIDATE(latest.has_value(),
                       "'{}' holds no complete checkpoint; give a folder "
                       "OUTPUT/checkpoints/step-N",
                       given.string());
    return *latest;
}

}  // namespace

int run_generate(const GenerateArguments& arguments) {
    FUSIONLLM_VALIDATE(arguments.temperature >= 0,
                       "--temperature is {}; it must be 0 (the likeliest "
                       "token) or more",
                       arguments.temperature);
    FUSIONLLM_VALIDATE(arguments.tokens > 0,
                       "--tokens is {}; it must be 1 or more",
                       arguments.tokens);
    const auto folder = find_checkpoint(arguments.checkpoint);
    const CheckpointReader reader(folder);
    const RunInput input =
        parse_run_input(reader.manifest().input, folder / "manifest.json", {});
    Sampler sampler(
        make_gpt2(input.model, 1),
        [&](const std::string& name) { return reader.read(name); },
        arguments.threads);
    // Bytes are tokens; an empty prompt starts a line.
    std::vector<std::int64_t> tokens;
    for (const char c : arguments.prompt.empty() ? "\n" : arguments.prompt) {
        tokens.push_back(static_cast<unsigned char>(c));
    }
    std::printf("%s", arguments.prompt.c_str());
    for (std::int64_t i = 0; i < arguments.tokens; ++i) {
        const std::int64_t token =
            sampler.next(tokens,
                         {arguments.temperature,
                          arguments.seed,
                          static_cast<std::uint64_t>(i)});
        tokens.push_back(token);
        std::putchar(static_cast<int>(token));
        std::fflush(stdout);
    }
    std::putchar('\n');
    return 0;
}

}  // namespace fusionllm
