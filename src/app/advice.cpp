#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/units.hpp"

#include "app/plan_report.hpp"

namespace fusionllm {
namespace {

// Less is not worth a change.
constexpr double least_gain = 0.02;
// Advice plans several times; on larger problems it would take too long.
constexpr double most_ops_times_devices = 2e6;

//! Something that a user can change, and how it is typed.
struct Change {
    std::string setting;
    std::function<void(RunInput&)> apply;
};

std::vector<Change> changes_of(const RunInput& input) {
    std::vector<Change> changes;
    if (!input.plan.file.empty()) {
        changes.push_back({"plan.file=\"\"",
                           [](RunInput& other) { other.plan.file.clear(); }});
        return changes;
    }
    if (input.plan.partition != "op_fence") {
        changes.push_back({"plan.partition=op_fence", [](RunInput& other) {
                               other.plan.partition = "op_fence";
                           }});
    }
    if (input.schedule != "auto") {
        changes.push_back({"train.schedule=auto",
                           [](RunInput& other) { other.schedule = "auto"; }});
    }
    for (const std::int64_t number :
         {2 * input.micro_batches, input.micro_batches / 2}) {
        if (number > 0 && input.train.batch % number == 0 &&
            !is_model_file(input.model_kind)) {
            changes.push_back(
                {fmt::format("train.micro_batches={}", number),
                 [number](RunInput& other) { other.micro_batches = number; }});
        }
    }
    if (input.model_kind == "gpt2" && input.model.tie_embeddings) {
        changes.push_back({"model.tie_embeddings=false", [](RunInput& other) {
                               other.model.tie_embeddings = false;
                           }});
    }
    return changes;
}

//! The step with the change; nothing if it does not fit, or is too large to be
//! planned again.
struct Trial {
    double step_s = std::numeric_limits<double>::infinity();
    bool is_too_large = false;
};

Trial try_change(RunInput other,
                 const ModelSource& source,
                 const Change& change,
                 std::optional<int> num_ranks) {
    Trial trial;
    change.apply(other);
    try {
        const Job job = make_job(other, source, num_ranks);
        trial.is_too_large =
            static_cast<double>(job.graph.ops().size()) *
                static_cast<double>(job.topology.devices.size()) >
            most_ops_times_devices;
        if (!trial.is_too_large) {
            trial.step_s = plan_job(other, job).timeline.makespan_s;
        }
    } catch (const InputError&) {
        // It does not fit: no advice.
    }
    return trial;
}

std::string promise(const std::string& setting,
                    double new_step_s,
                    double step_s) {
    return fmt::format("--set {} promises {} a step, {:.2f} times as fast",
                       setting,
                       format_seconds(new_step_s),
                       step_s / new_step_s);
}

}  // namespace

std::string advise(const RunInput& input,
                   const ModelSource& source,
                   std::optional<int> num_ranks,
                   double step_s) {
    double best_s = step_s * (1 - least_gain);
    std::string best;
    std::string tried;
    for (const Change& change : changes_of(input)) {
        tried += (tried.empty() ? "" : ", ") + change.setting;
        const Trial trial = try_change(input, source, change, num_ranks);
        if (trial.is_too_large) {
            return "none: so large a plan is not made several times";
        }
        if (trial.step_s < best_s) {
            best_s = trial.step_s;
            best = change.setting;
        }
    }
    if (tried.empty()) {
        return "none: there is nothing to change";
    }
    return best.empty() ? fmt::format("none: no gain from {}", tried)
                        : promise(best, best_s, step_s);
}

std::string advise_compression(const RunInput& input,
                               const ModelSource& source,
                               std::optional<int> num_ranks,
                               double step_s) {
    if (input.compression.options.rule != "none" || !input.plan.file.empty()) {
        return "";
    }
    const Change change{"compression.rule=adaptive", [](RunInput& other) {
                            other.compression.options.rule = "adaptive";
                        }};
    const Trial trial = try_change(input, source, change, num_ranks);
    return trial.step_s < step_s * (1 - least_gain)
               ? promise(change.setting, trial.step_s, step_s) +
                     "; it changes what is trained"
               : "";
}

}  // namespace fusionllm
