#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/sampler.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/wire/codec_spec.hpp"

#include "app/commands/commands.hpp"
#include "app/load_data.hpp"
#include "app/model.hpp"
#include "app/run_input.hpp"
#include "app/stored_run.hpp"

namespace fusionllm {
namespace {

/*!
 * For one sample, or for a micro-batch of the training where a fence has a
 * graded basis: its bits fill messages of those rows and no others.
 */
RunInput with_samples(RunInput input,
                      const Plan& trained,
                      const std::vector<Fence>& fences) {
    const bool has_grades = std::ranges::any_of(fences, [](const Fence& fence) {
        return is_graded(fence.codec.forward.format);
    });
    input.train.batch =
        has_grades ? input.train.batch / trained.micro_batches : 1;
    input.micro_batches = 1;
    return input;
}

//! As this program can run it, alone.
ModelSource load_for_here(const RunInput& input) {
    ModelSource source = load_model(input);
    fit_to_ranks(
        source, input, {{libtorch_version()}, {DeviceId(0)}}, ask_this_program);
    return source;
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
    const Plan trained =
        parse_plan(reader.manifest().plan, folder / "manifest.json");
    // Those that it was trained with, so that it is run with them, too.
    const std::vector<Fence> fences =
        arguments.codec == "off" ? std::vector<Fence>() : trained.fences;
    std::optional<KokkosScope> kokkos;
    if (!fences.empty()) {
        kokkos.emplace(arguments.threads);
    }
    Sampler sampler(
        make_model(with_samples(input, trained, fences), load_for_here(input)),
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
        FUSIONLLM_VALIDATE(token < sampler.vocabulary(),
                           "the prompt has token {}, but the model has only "
                           "{}; give another --prompt",
                           token,
                           sampler.vocabulary());
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
