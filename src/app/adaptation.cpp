#include "app/adaptation.hpp"

#include <algorithm>
#include <cmath>

#include "fusionllm/plan/fence_rule.hpp"
#include "fusionllm/sim/simulate.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

#include "app/json_text.hpp"

namespace fusionllm {
namespace {

constexpr double worthwhile_step = 0.95;
constexpr double worthwhile_error = 0.8;
constexpr double tolerable_step = 1.02;

FenceTask task_of(const Plan& plan) {
    return {
        plan.schedule == "gpipe" ? Objective::sweeps : Objective::interleaved,
        LinkTime::busy,
        plan.micro_batches};
}

}  // namespace

std::vector<FenceChange> load_fence_changes(const std::filesystem::path& file) {
    std::vector<FenceChange> changes;
    const std::vector<std::string> lines = split(read_file(file), '\n');
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (trim(lines[i]).empty()) {
            continue;
        }
        try {
            changes.push_back(parse_fence_change(lines[i]));
        } catch (const std::exception& error) {
            if (i + 1 == lines.size()) {
                continue;  // as a crash leaves it
            }
            throw InputError(fmt::format(
                "{}:{}: this is no change of fences as a run writes it to "
                "fences.jsonl ({}); give the file of another run",
                file.string(),
                i + 1,
                error.what()));
        }
    }
    return changes;
}

std::optional<FenceChange> find_change(const std::vector<FenceChange>& changes,
                                       std::int64_t step) {
    std::optional<FenceChange> found;
    for (const FenceChange& change : changes) {
        if (change.step <= step) {
            found = change;
        }
    }
    return found;
}

std::vector<CodecChoice> probed_codecs(const CompressionOptions& options) {
    if (!options.codec.empty()) {
        return {requested_codec(options)};
    }
    std::vector<CodecChoice> codecs;
    for (const char* text : {"int8",
                             "int4",
                             "int4/int3s",
                             "top_k(10,int4)",
                             "top_k(40,int4)",
                             "subspace(4,int4)",
                             "subspace(16,int4)"}) {
        codecs.push_back(parse_codec_choice(text, 1));
    }
    return codecs;
}

std::vector<Fence> with_dense_fences(std::vector<Fence> fences,
                                     const OpGraph& graph,
                                     const Placement& placement) {
    std::vector<Fence> all = std::move(fences);
    for (std::size_t s = 0; s + 1 < placement.stages.size(); ++s) {
        const std::size_t cut = placement.stages[s].ops.end;
        for (const ValueId value : compressible_values(graph, cut)) {
            const bool is_there =
                std::ranges::any_of(all, [&](const Fence& fence) {
                    return fence.cut == cut && fence.value == value;
                });
            if (!is_there) {
                all.push_back({cut, value, {}});
            }
        }
    }
    std::ranges::sort(all, {}, [](const Fence& fence) {
        return std::pair(fence.cut, fence.value);
    });
    return all;
}

Adaptation::Adaptation(const Job& job, const CompressionOptions& options)
    : job_(job), options_(options) {}

double Adaptation::error_of(const std::vector<Fence>& fences) const {
    double squares = 0;
    for (const Fence& fence : fences) {
        for (const Direction direction :
             {Direction::forward, Direction::backward}) {
            const double error =
                errors_.error(fence.cut, fence.value, direction, fence.codec);
            squares += error * error;
        }
    }
    return std::sqrt(squares);
}

std::optional<std::vector<Fence>> Adaptation::decide(
    const std::vector<Fence>& current,
    const std::vector<MeasuredError>& errors) {
    if (errors.empty()) {
        return std::nullopt;
    }
    std::vector<MeasuredError> all = errors_.measured();
    std::ranges::copy_if(
        errors, std::back_inserter(all), [](const MeasuredError& error) {
            return std::isfinite(error.error);
        });
    errors_ = ErrorTable(std::move(all));
    const Placement& placement = job_.plan.placement;
    const auto wanted = with_dense_fences(
        choose_fences(
            job_.model, placement, task_of(job_.plan), options_, errors_),
        job_.graph,
        placement);
    if (wanted == current) {
        return std::nullopt;
    }
    const Schedule schedule = make_schedule(job_.plan);
    const auto step_s = [&](const std::vector<Fence>& fences) {
        return simulate_step_s(schedule,
                               job_.model.step_costs(placement, fences),
                               job_.model.network());
    };
    const double now_s = step_s(current);
    const double then_s = step_s(wanted);
    const bool is_faster = then_s < worthwhile_step * now_s;
    const bool is_better =
        then_s <= tolerable_step * now_s &&
        error_of(wanted) < worthwhile_error * error_of(current);
    return is_faster || is_better ? std::optional(wanted) : std::nullopt;
}

}  // namespace fusionllm
