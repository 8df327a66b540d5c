#include <cstdio>

#include <nlohmann/json.hpp>

#include "fusionllm/exec/optimizer_options.hpp"
#include "fusionllm/plan/stage_report.hpp"

#include "app/commands/commands.hpp"
#include "app/job.hpp"

namespace fusionllm {

namespace {

nlohmann::json to_json(const Job& job, const std::vector<StageReport>& stages) {
    nlohmann::ordered_json json;
    json["step_s"] = nullptr;  // comes with the simulator
    json["bottleneck"] = nullptr;
    json["groups"] = nlohmann::json::array();
    for (const DeviceGroup& group : job.plan.groups) {
        nlohmann::ordered_json entry{{"name", group.name}};
        for (const DeviceId device : group.devices) {
            entry["devices"].push_back(device.get());
        }
        json["groups"].push_back(entry);
    }
    json["stages"] = nlohmann::json::array();
    for (std::size_t i = 0; i < stages.size(); ++i) {
        nlohmann::ordered_json entry;
        for (const DeviceId device : job.plan.placement.stages[i].devices) {
            entry["devices"].push_back(device.get());
        }
        entry["ops"] = stages[i].num_ops;
        entry["parameters"] = stages[i].parameters;
        entry["flops"] = stages[i].flops;
        entry["memory_bytes"] = stages[i].memory_bytes;
        entry["compute_s"] = stages[i].compute_s;
        entry["send_bytes"] = stages[i].send_bytes;
        json["stages"].push_back(entry);
    }
    return json;
}

}  // namespace

int run_plan(const PlanArguments& arguments) {
    const RunInput input =
        load_run_input(arguments.input.file, arguments.input.overrides);
    const Job job = make_job(input, arguments.num_ranks);
    const auto stages =
        report_stages(job.plan,
                      job.graph,
                      job.workload,
                      job.topology,
                      state_bytes_per_element(input.train.optimizer));
    if (arguments.is_json) {
        std::printf("%s\n", to_json(job, stages).dump(2).c_str());
    } else {
        // The table is a comment, so that the output is a plan file.
        std::printf("%s", to_text(job.plan, job.graph).c_str());
        std::string line = "\n# ";
        for (const char c : to_table(stages)) {
            line += c;
            if (c == '\n') {
                line += "# ";
            }
        }
        std::printf("%s\n", line.c_str());
    }
    return 0;
}

}  // namespace fusionllm
