#include "app/adaptation.hpp"

#include <algorithm>
#include <cmath>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/text.hpp"

#include "app/json_text.hpp"

namespace fusionllm {
namespace {

FenceTask task_of(const Plan& plan) {
    return {
        plan.schedule == "gpipe" ? Objective::sweeps : Objective::interleaved,
        LinkTime::busy,
        plan.micro_batches};
}

LinkFindings scaled(LinkFindings link, double factor) {
    for (auto* rate : {&link.tried, &link.seen}) {
        if (*rate) {
            **rate *= factor;
        }
    }
    return link;
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

std::int64_t last_version(const std::filesystem::path& file) {
    if (!std::filesystem::exists(file)) {
        return 0;
    }
    const auto changes = load_fence_changes(file);
    return changes.empty() ? 0 : changes.back().version;
}

std::optional<FenceChange> find_replayed_change(
    const CompressionOptions& options, std::int64_t step) {
    if (options.adapt != "replay") {
        return std::nullopt;
    }
    const auto change = find_change(load_fence_changes(options.replay), step);
    return change && change->step == step ? change : std::nullopt;
}

std::vector<CodecChoice> probed_codecs(const CompressionOptions& options) {
    if (!options.codec.empty()) {
        return {requested_codec(options)};
    }
    std::vector<CodecChoice> codecs;
    for (const char* text : {"int8",
                             "int4",
                             "int4/int4s",
                             "int4/int3s",
                             "top_k_row(10,int4/int4s)",
                             "top_k_row(40,int4/int4s)",
                             "subspace(2,graded5)",
                             "subspace(4,graded5)",
                             "subspace(16,graded5)"}) {
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

Adaptation::Adaptation(const Job& job,
                       const CompressionOptions& options,
                       ClockKind clock)
    : job_(job), options_(options), clock_(clock), errors_(job.graph) {
    const auto& stages = job.plan.placement.stages;
    const Network& network = job.model.network();
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        const DeviceId before = stages[s].devices.at(0);
        const DeviceId behind = stages[s + 1].devices.at(0);
        forward_.emplace_back(network.link(before, behind));
        backward_.emplace_back(network.link(behind, before));
    }
}

void Adaptation::take_errors(const std::vector<MeasuredError>& errors) {
    std::vector<MeasuredError> all = errors_.measured();
    std::ranges::copy_if(
        errors, std::back_inserter(all), [](const MeasuredError& error) {
            return std::isfinite(error.error);
        });
    errors_ = ErrorTable(std::move(all), errors_.maps());
}

void Adaptation::take_rates(const StepMeasurements& measured) {
    const auto add = [](const std::vector<LinkFindings>& found,
                        std::vector<LinkMemory>& links) {
        for (std::size_t s = 0; s < found.size(); ++s) {
            links.at(s).add(found[s]);
        }
    };
    add(measured.forward, forward_);
    add(measured.backward, backward_);
}

bool Adaptation::is_any_link_far_slower() const {
    return std::ranges::any_of(forward_, &LinkMemory::is_far_slower) ||
           std::ranges::any_of(backward_, &LinkMemory::is_far_slower);
}

MeasuredStep Adaptation::begin_choice() {
    MeasuredStep step;
    const auto take = [](std::vector<LinkMemory>& links,
                         std::vector<Link>& taken) {
        for (LinkMemory& link : links) {
            link.begin_choice();
            taken.push_back(link.link());
        }
    };
    take(forward_, step.forward);
    take(backward_, step.backward);
    return step;
}

std::optional<std::vector<Fence>> Adaptation::decide(
    const std::vector<Fence>& current, const StepMeasurements& measured) {
    if (clock_ == ClockKind::real) {
        take_rates(measured);
    }
    if (measured.errors.empty() && !is_any_link_far_slower()) {
        return std::nullopt;
    }
    take_errors(measured.errors);
    const Placement& placement = job_.plan.placement;
    const FenceRule rule(job_.model, options_, errors_);
    const auto wanted = with_dense_fences(
        rule.choose_again(
            placement, task_of(job_.plan), begin_choice(), current),
        job_.graph,
        placement);
    return wanted == current ? std::nullopt : std::optional(wanted);
}

std::function<std::optional<std::vector<Fence>>(const StepMeasurements&)>
make_adapt_hook(const Job& job, const RunInput& input) {
    const CompressionOptions& options = input.compression.options;
    if (job.plan.fences.empty()) {
        return {};
    }
    if (options.adapt == "on") {
        const auto clock = input.network.mode == "emulated"
                               ? ClockKind::emulated
                               : ClockKind::real;
        return [&job,
                made = std::make_shared<Adaptation>(job, options, clock),
                scale = input.network.time_scale](StepMeasurements measured) {
            // Of the testbed, which is played slower here.
            for (auto* links : {&measured.forward, &measured.backward}) {
                for (LinkFindings& link : *links) {
                    link = scaled(link, scale);
                }
            }
            return made->decide(job.plan.fences, measured);
        };
    }
    if (options.adapt == "replay") {
        return [changes = load_fence_changes(options.replay)](
                   const StepMeasurements& measured) {
            const auto change = find_change(changes, measured.step);
            return change && change->step == measured.step
                       ? std::optional(change->fences)
                       : std::nullopt;
        };
    }
    return {};
}

EvaluationCodecs evaluation_codecs(const Job& job, const RunInput& input) {
    if (job.plan.fences.empty() || input.compression.evaluate == "on") {
        return EvaluationCodecs::on;
    }
    return input.compression.evaluate == "off" ? EvaluationCodecs::off
                                               : EvaluationCodecs::both;
}

}  // namespace fusionllm
