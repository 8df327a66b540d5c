#include "app/job.hpp"

#include <algorithm>
#include <limits>

#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/plan/place_by_support.hpp"
#include "fusionllm/plan/stage_report.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "app/model.hpp"

namespace fusionllm {
namespace {

// Numbers of micro-batches that are tried where the user leaves it open.
constexpr std::size_t most_divisors = 16;

//! Whether the input says more of the devices than where they are: only then
//! is it known that some of them would do without.
bool is_described(const TopologySpec& spec) {
    TopologySpec plain;
    for (const SiteSpec& site : spec.sites) {
        plain.sites.push_back({site.name, site.ranks});
    }
    return !(spec == plain);
}

Plan load_plan(const RunInput& input) {
    return parse_plan(read_file(input.plan.file), input.plan.file.string());
}

/*!
 * The plan's own recompute, unless the input wants more: "on", or "auto" where
 * it does not fit else.
 */
Recompute choose_recompute(const RunInput& input,
                           const Plan& plan,
                           const Job& job) {
    const bool fits =
        find_memory_problem(
            report_stages(plan, job.graph, job.model, job.topology))
            .empty();
    const bool is_wanted =
        input.recompute == "on" || (input.recompute == "auto" && !fits);
    return is_wanted ? Recompute::on : plan.recompute;
}

//! The fences of another plan for the same model.
std::vector<Fence> load_fences(const RunInput& input, const OpGraph& graph) {
    const std::string file = input.compression.fences.string();
    const Plan plan = parse_plan(read_file(file), file);
    FUSIONLLM_VALIDATE(is_graph_hash(plan.graph_hash, graph),
                       "the fences of '{}' are for graph {:016x}, but this "
                       "model is graph {:016x}; take a plan of the same model",
                       file,
                       plan.graph_hash,
                       graph_hash(graph));
    return plan.fences;
}

//! Of the size that a file's graph was exported with.
std::int64_t count_micro_batches(const RunInput& input, const OpGraph& graph) {
    const std::int64_t size = micro_batch_of(graph);
    FUSIONLLM_VALIDATE(
        input.train.batch % size == 0,
        "batch = {} in [train] is not a multiple of {}, the samples of a "
        "micro-batch that model '{}' was exported with; set it to {}, or "
        "export the model again",
        input.train.batch,
        size,
        graph.name(),
        (input.train.batch / size + 1) * size);
    const std::int64_t number = input.train.batch / size;
    FUSIONLLM_VALIDATE(
        input.micro_batches == 0 || input.micro_batches == number,
        "micro_batches = {} in [train], but a batch of {} samples is {} of "
        "those that model '{}' was exported with, of {}; leave micro_batches "
        "out, or export the model again",
        input.micro_batches,
        input.train.batch,
        number,
        graph.name(),
        size);
    return number;
}

//! Evenly spread over all divisors, if there are many, ascending.
std::vector<std::int64_t> some_divisors(std::int64_t number) {
    std::vector<std::int64_t> divisors;
    for (std::int64_t d = 1; d * d <= number; ++d) {
        if (number % d == 0) {
            divisors.push_back(d);
            if (d * d != number) {
                divisors.push_back(number / d);
            }
        }
    }
    std::ranges::sort(divisors);
    if (divisors.size() <= most_divisors) {
        return divisors;
    }
    std::vector<std::int64_t> some;
    for (std::size_t i = 0; i < most_divisors; ++i) {
        some.push_back(
            divisors[i * (divisors.size() - 1) / (most_divisors - 1)]);
    }
    return some;
}

}  // namespace

Topology make_job_topology(const RunInput& input,
                           std::optional<int> num_ranks) {
    TopologySpec spec = input.topology.spec;
    if (spec.sites.empty()) {
        spec.sites = {{"local", num_ranks.value_or(1)}};
    }
    Topology topology = make_topology(spec);
    const auto num_devices = topology.devices.size();
    FUSIONLLM_VALIDATE(
        !num_ranks || static_cast<std::size_t>(*num_ranks) == num_devices,
        "the sites in [topology] have {} ranks in all, but there are {}; start "
        "{} ranks (mpirun -np {}) or change [topology] sites",
        num_devices,
        *num_ranks,
        num_devices,
        num_devices);
    return topology;
}

Job make_job(const RunInput& input,
             const ModelSource& source,
             std::optional<int> num_ranks) {
    Topology topology = make_job_topology(input, num_ranks);
    OpGraph graph = make_model(input, source);
    Workload workload = estimate_workload(graph);
    CostModel model(graph,
                    workload,
                    topology,
                    state_bytes_per_element(input.train.optimizer));
    if (!source.software.kinds.empty()) {
        model = model.with(make_op_support(graph, source.software));
    }
    return {std::move(graph),
            std::move(workload),
            std::move(topology),
            std::move(model),
            {}};
}

PlanRequest make_plan_request(const RunInput& input) {
    return {input.plan.partition,
            input.schedule,
            static_cast<int>(input.micro_batches),
            input.plan.device_order == "random" ? DeviceOrder::random
                                                : DeviceOrder::given,
            static_cast<std::uint64_t>(input.run.seed),
            is_described(input.topology.spec) ? DeviceUse::any : DeviceUse::all,
            input.compression.options,
            input.recompute};
}

PlannedStep plan_job(const RunInput& input, const Job& job) {
    if (input.plan.file.empty()) {
        PlannedStep planned = choose_plan(
            job.graph, job.model, job.topology, make_plan_request(input));
        if (input.compression.fences.empty()) {
            return planned;
        }
        planned.plan.fences = load_fences(input, job.graph);
        validate(planned.plan.fences, job.graph);
        return simulate_plan(planned.plan, job.model);
    }
    Plan plan = load_plan(input);
    FUSIONLLM_VALIDATE(
        plan.micro_batches == input.micro_batches,
        "plan '{}' has {} micro-batches, but train.micro_batches is {}; give "
        "both the same number",
        input.plan.file.string(),
        plan.micro_batches,
        input.micro_batches);
    validate(plan, job.graph, job.topology.devices.size());
    const std::string missing = find_support_problem(
        plan.placement, job.model, job.graph, job.topology);
    FUSIONLLM_VALIDATE(missing.empty(), "{}", missing);
    plan.recompute = choose_recompute(input, plan, job);
    const std::string problem = find_memory_problem(
        report_stages(plan, job.graph, job.model, job.topology));
    FUSIONLLM_VALIDATE(problem.empty(), "{}", problem);
    return simulate_plan(plan, job.model);
}

RunInput choose_micro_batches(RunInput input,
                              const ModelSource& source,
                              std::optional<int> num_ranks) {
    if (source.graph) {
        input.micro_batches = count_micro_batches(input, *source.graph);
        return input;
    }
    if (input.micro_batches > 0) {
        return input;
    }
    if (!input.plan.file.empty()) {
        input.micro_batches = load_plan(input).micro_batches;
        return input;
    }
    double best_s = std::numeric_limits<double>::infinity();
    std::int64_t best = 0;
    std::string problem;
    for (const std::int64_t number : some_divisors(input.train.batch)) {
        input.micro_batches = number;
        try {
            const double step_s =
                plan_job(input, make_job(input, source, num_ranks))
                    .timeline.makespan_s;
            if (step_s < best_s) {
                best_s = step_s;
                best = number;
            }
        } catch (const InputError& error) {
            problem = error.what();
        }
    }
    FUSIONLLM_VALIDATE(best > 0, "{}", problem);
    input.micro_batches = best;
    return input;
}

}  // namespace fusionllm
