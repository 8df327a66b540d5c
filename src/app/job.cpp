#include "app/job.hpp"

#include "fusionllm/plan/make_plan.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "app/model.hpp"

namespace fusionllm {

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

Job make_job(const RunInput& input, std::optional<int> num_ranks) {
    Topology topology = make_job_topology(input, num_ranks);
    OpGraph graph = make_model(input);
    Workload workload = estimate_workload(graph);
    Plan plan;
    if (input.plan.file.empty()) {
        plan = make_plan(graph,
                         workload,
                         topology,
                         input.plan.partition,
                         input.schedule,
                         static_cast<int>(input.micro_batches));
    } else {
        plan = parse_plan(read_file(input.plan.file), input.plan.file.string());
        FUSIONLLM_VALIDATE(
            plan.micro_batches == input.micro_batches,
            "plan '{}' has {} micro-batches, but train.micro_batches is {}; "
            "give both the same number",
            input.plan.file.string(),
            plan.micro_batches,
            input.micro_batches);
        validate(plan, graph, topology.devices.size());
    }
    return {std::move(graph),
            std::move(workload),
            std::move(topology),
            std::move(plan)};
}

CostModel make_cost_model(const RunInput& input, const Job& job) {
    return {job.graph,
            job.workload,
            job.topology,
            state_bytes_per_element(input.train.optimizer)};
}

DatasetSplit load_data(const RunInput& input) {
    const auto context = static_cast<std::size_t>(input.model.context);
    if (input.data.kind == "synthetic") {
        return make_synthetic_dataset(
            static_cast<std::uint64_t>(input.run.seed),
            context,
            static_cast<std::size_t>(input.model.vocabulary),
            input.data.validation_fraction);
    }
    return make_text_dataset(
        input.data.path, context, input.data.validation_fraction);
}

}  // namespace fusionllm
