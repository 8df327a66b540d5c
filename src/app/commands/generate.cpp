#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/sampler.hpp"
#include "fusionllm/util/error.hpp"

#include "app/commands/commands.hpp"
#include "app/load_data.hpp"
#include "app/model.hpp"
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

//! Those that the model was trained with, so that it is run with them, too.
std::vector<Fence> find_fences(const CheckpointManifest& manifest,
                               const std::filesystem::path& folder) {
    return parse_plan(manifest.plan, folder / "manifest.json").fences;
}

RunInput for_one_sample(RunInput input) {
    input.train.batch = 1;
    input.micro_batches = 1;
    return input;
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
    const std::vector<Fence> fences =
        arguments.codec == "off" ? std::vector<Fence>()
                                 : find_fences(reader.manifest(), folder);
    std::optional<KokkosScope> kokkos;
    if (!fences.empty()) {
        kokkos.emplace(arguments.threads);
    }
    Sampler sampler(
        make_model(for_one_sample(input)),
        fences,
        [&](const std::string& name) {
            return reader.has(name) ? std::optional(reader.read(name))
                                    : std::nullopt;
        },
        arguments.threads);
    const auto tokenizer = load_tokenizer(input.data);
    std::vector<std::int64_t> tokens;
    // An empty prompt starts a line.
    for (const Token token : encode(
             *tokenizer, arguments.prompt.empty() ? "\n" : arguments.prompt)) {
        tokens.push_back(token);
    }
    std::printf("%s", arguments.prompt.c_str());
    for (std::int64_t i = 0; i < arguments.tokens; ++i) {
        const std::int64_t token =
            sampler.next(tokens,
                         {arguments.temperature,
                          arguments.seed,
                          static_cast<std::uint64_t>(i)});
        tokens.push_back(token);
        const auto last = static_cast<Token>(token);
        const std::string text = tokenizer->decode({&last, 1});
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
    }
    std::putchar('\n');
    return 0;
}

}  // namespace fusionllm
