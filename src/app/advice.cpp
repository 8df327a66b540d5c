#include <functional>
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
        if (number > 0 && input.train.batch % number == 0) {
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

}  // namespace

std::string advise(const RunInput& input,
                   std::optional<int> num_ranks,
                   double step_s) {
    double best_s = step_s * (1 - least_gain);
    std::string best;
    std::string tried;
    for (const Change& change : changes_of(input)) {
        tried += (tried.empty() ? "" : ", ") + change.setting;
        RunInput other = input;
        change.apply(other);
        try {
            const Job job = make_job(other, num_ranks);
            if (static_cast<double>(job.graph.ops().size()) *
                    static_cast<double>(job.topology.devices.size()) >
                most_ops_times_devices) {
                return "none: so large a plan is not made several times";
            }
            const double other_s = plan_job(other, job).timeline.makespan_s;
            if (other_s < best_s) {
                best_s = other_s;
                best = change.setting;
            }
        } catch (const InputError&) {
            // It does not fit: no advice.
        }
    }
    if (best.empty()) {
        return fmt::format("none: no gain from {}", tried);
    }
    return fmt::format("--set {} promises {} a step, {:.2f} times as fast",
                       best,
                       format_seconds(best_s),
                       step_s / best_s);
}

}  // namespace fusionllm
