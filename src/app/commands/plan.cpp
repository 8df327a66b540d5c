#include <cstdio>

#include "fusionllm/exec/optimizer_options.hpp"
#include "fusionllm/plan/stage_report.hpp"

#include "app/commands/commands.hpp"
#include "app/job.hpp"
#include "app/json_text.hpp"

namespace fusionllm {

int run_plan(const PlanArguments& arguments) {
    const RunInput input =
        load_run_input(arguments.input.file, arguments.input.overrides);
    const Job job = make_job(input, arguments.num_ranks);
    const auto stages = report_stages(
        job.plan, job.graph, make_cost_model(input, job), job.topology);
    if (arguments.is_json) {
        std::printf("%s\n", to_json(job.plan, stages).c_str());
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
