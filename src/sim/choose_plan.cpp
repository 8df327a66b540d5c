#include "fusionllm/sim/choose_plan.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/ranges.h>

#include "fusionllm/plan/fence_rule.hpp"
#include "fusionllm/plan/make_plan.hpp"
#include "fusionllm/plan/place_by_support.hpp"
#include "fusionllm/plan/stage_report.hpp"
#include "fusionllm/sim/simulate.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "plan_search.hpp"

namespace fusionllm {
namespace {

using detail::Candidate;
using detail::PlanSearch;

constexpr double infinity = std::numeric_limits<double>::infinity();
// Of equal candidates, but for rounding, the first one stays.
constexpr double least_gain = 1 - 1e-9;
// With more, no other plan is made first.
constexpr std::size_t most_devices_for_starts = 64;
// Searches that begin elsewhere end elsewhere: prices of errors that plans are
// made for first, over the one that counts.
constexpr std::array start_prices = {0.5, 0.75, 1.5, 2.0, 4.0};

std::vector<std::string> schedules_of(const PlanRequest& request) {
    const auto& names = schedule_request_names();
    FUSIONLLM_VALIDATE(
        std::ranges::find(names, request.schedule) != names.end(),
        "there is no schedule '{}' (known: {}){}",
        request.schedule,
        fmt::join(names, ", "),
        did_you_mean(request.schedule, names));
    if (request.schedule == "auto") {
        return {"1f1b", "1f1b_deep", "gpipe"};
    }
    return {request.schedule};
}

//! What is to be tried, each placement once.
class Placements {
public:
    void add(Placement placement) {
        if (std::ranges::find(all_, placement) == all_.end()) {
            all_.push_back(std::move(placement));
        }
    }
    const std::vector<Placement>& all() const { return all_; }

private:
    std::vector<Placement> all_;
};

//! Placements of the partition for each kind of schedule; for OP-Fence also
//! those of all baselines.
Placements place(const CostModel& model,
                 const PlanRequest& request,
                 const std::vector<std::string>& schedules,
                 const FenceRule& rule,
                 std::optional<InputError>& problem) {
    Placements placements;
    std::vector<PlannerOptions> done;
    for (const std::string& schedule : schedules) {
        PlannerOptions options =
            planner_options(schedule, request.micro_batches);
        options.device_order = request.device_order;
        options.seed = request.seed;
        options.use = request.use;
        options.rule = rule.has_codecs() ? &rule : nullptr;
        if (std::ranges::find(done, options) != done.end()) {
            continue;
        }
        done.push_back(options);
        try {
            placements.add(partition(request.partition, model, options));
        } catch (const InputError& error) {
            problem = error;
        }
    }
    if (request.partition == "op_fence" &&
        model.num_devices() <= model.most_stages()) {
        for (const auto planner :
             {place_equal_flops, place_equal_ops, place_equal_memory}) {
            placements.add(planner(model, done.front()));
        }
    }
    return placements;
}

//! Whether plans of other requests are looked at, too.
enum class Starts { one, many };

//! The best that was found, and what was looked at.
struct Found {
    Candidate best;
    Placements placements;
    std::optional<InputError> problem;  //!< of a planner, if it had one
};

//! The same request, but dense; and as if errors cost more or less, where they
//! cost anything.
std::vector<PlanRequest> other_requests(const PlanRequest& request,
                                        const FenceRule& rule) {
    std::vector<PlanRequest> requests(1, request);
    requests.front().compression = CompressionOptions();
    if (rule.weighs_errors() && rule.error_price() > 0) {
        for (const double factor : start_prices) {
            requests.push_back(request);
            requests.back().compression.error_price *= factor;
        }
    }
    return requests;
}

Found find_best(const CostModel& model,
                const PlanRequest& request,
                const ErrorTable& errors,
                Starts starts) {
    const auto schedules = schedules_of(request);
    const FenceRule rule(model, request.compression, errors);
    PlanSearch search(model, request, rule);
    Found found;
    found.placements = place(model, request, schedules, rule, found.problem);
    const auto offer = [&](const Placement& placement) {
        for (const std::string& schedule : schedules) {
            search.offer(placement, schedule);
        }
    };
    const bool is_op_fence = request.partition == "op_fence";
    for (const Placement& placement : found.placements.all()) {
        offer(placement);
    }
    if (is_op_fence) {
        search.improve();
    }
    if (is_op_fence && starts == Starts::many && rule.has_target() &&
        model.num_devices() <= most_devices_for_starts) {
        for (const PlanRequest& other : other_requests(request, rule)) {
            search.offer(find_best(model, other, errors, Starts::one).best,
                         schedules);
            search.improve();
        }
    }
    found.best = search.best();
    return found;
}

//! Whether recompute could make anything fit that else would not.
bool is_memory_known(const CostModel& model) {
    for (std::size_t d = 0; d < model.num_devices(); ++d) {
        const DeviceId device(static_cast<std::uint32_t>(d));
        if (model.kind_of(device).memory_bytes > 0) {
            return true;
        }
    }
    return false;
}

//! The ways to keep activations that the request allows, the first one
//! preferred.
std::vector<Recompute> recomputes_of(const PlanRequest& request,
                                     const CostModel& model) {
    const auto& names = recompute_request_names();
    FUSIONLLM_VALIDATE(
        std::ranges::find(names, request.recompute) != names.end(),
        "there is no recompute '{}' (known: {}){}",
        request.recompute,
        fmt::join(names, ", "),
        did_you_mean(request.recompute, names));
    if (request.recompute == "on") {
        return {Recompute::on};
    }
    if (request.recompute == "auto" && is_memory_known(model)) {
        return {Recompute::off, Recompute::on};
    }
    return {Recompute::off};
}

//! Why the one placement of a baseline does not fit.
std::string explain(const OpGraph& graph,
                    const CostModel& model,
                    const Topology& topology,
                    const PlanRequest& request,
                    const Placement& placement) {
    const std::string schedule = request.schedule == "gpipe" ? "gpipe" : "1f1b";
    Plan plan = assemble_plan(
        graph, topology, placement, schedule, request.micro_batches, {});
    plan.recompute = model.recompute();
    return find_memory_problem(report_stages(plan, graph, model, topology));
}

//! Why nothing fits, of the last way that was tried.
[[noreturn]] void refuse(const OpGraph& graph,
                         const CostModel& model,
                         const Topology& topology,
                         const PlanRequest& request,
                         const Found& found) {
    if (!found.placements.all().empty() && request.partition != "op_fence") {
        const std::string problem = find_support_problem(
            found.placements.all().front(), model, graph, topology);
        FUSIONLLM_VALIDATE(problem.empty(), "{}", problem);
    }
    if (!found.problem) {
        throw InputError(explain(
            graph, model, topology, request, found.placements.all().front()));
    }
    const bool would_fit =
        model.recompute() == Recompute::off && is_memory_known(model) &&
        find_best(
            model.with(Recompute::on), request, ErrorTable(graph), Starts::one)
                .best.step_s < infinity;
    throw InputError(
        fmt::format("{}{}",
                    found.problem->what(),
                    would_fit ? "; it fits with train.recompute=on" : ""));
}

}  // namespace

const std::vector<std::string>& recompute_request_names() {
    static const std::vector<std::string> names = {"off", "on", "auto"};
    return names;
}

const std::vector<std::string>& schedule_request_names() {
    static const std::vector<std::string> names = {
        "1f1b", "1f1b_deep", "gpipe", "auto"};
    return names;
}

PlannedStep simulate_plan(const Plan& plan, const CostModel& model) {
    const CostModel costs = model.with(plan.recompute);
    PlannedStep step{plan, costs.step_costs(plan.placement, plan.fences), {}};
    step.timeline = simulate(make_schedule(plan), step.costs, model.network());
    return step;
}

PlannedStep choose_plan(const OpGraph& graph,
                        const CostModel& model,
                        const Topology& topology,
                        const PlanRequest& request) {
    FUSIONLLM_VALIDATE(request.micro_batches >= 1,
                       "a step has {} micro-batches; it needs at least one",
                       request.micro_batches);
    const std::string problem = find_support_problem(model, graph, topology);
    FUSIONLLM_VALIDATE(problem.empty(), "{}", problem);
    const ErrorTable errors(graph);
    Candidate best;
    Recompute recompute = Recompute::off;
    Found found;
    for (const Recompute way : recomputes_of(request, model)) {
        found = find_best(model.with(way), request, errors, Starts::many);
        if (found.best.step_s < best.step_s * least_gain) {
            best = found.best;
            recompute = way;
        }
    }
    if (best.step_s == infinity && request.use == DeviceUse::all &&
        !model.op_support().is_everywhere()) {
        PlanRequest fewer = request;
        fewer.use = DeviceUse::any;
        return choose_plan(graph, model, topology, fewer);
    }
    if (best.step_s == infinity) {
        const Recompute last = recomputes_of(request, model).back();
        refuse(graph, model.with(last), topology, request, found);
    }
    Plan plan = assemble_plan(graph,
                              topology,
                              best.placement,
                              best.schedule.name,
                              request.micro_batches,
                              best.schedule.in_flight);
    plan.recompute = recompute;
    plan.fences = best.fences;
    validate(plan.fences, graph);
    return simulate_plan(plan, model);
}

}  // namespace fusionllm
