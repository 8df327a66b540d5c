#include <cstdio>

#include "fusionllm/sim/chrome_trace.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/output_file.hpp"

#include "app/commands/commands.hpp"
#include "app/input_files.hpp"
#include "app/job.hpp"
#include "app/json_text.hpp"
#include "app/plan_report.hpp"
#include "app/plan_svg.hpp"

namespace fusionllm {
namespace {

//! What both commands begin with.
struct Planned {
    RunInput input;
    ModelSource source;
    Job job;
    PlannedStep step;
};

Planned make_planned(const PlanArguments& arguments) {
    RunInput input =
        load_run_input(arguments.input.file, arguments.input.overrides);
    if (!arguments.plan.empty()) {
        input.plan.file = std::filesystem::absolute(arguments.plan);
    }
    const auto read = list_input_files(arguments.input.file, input);
    check_output_file(arguments.svg, read);
    check_output_file(arguments.trace, read);
    ModelSource source = load_model(input);
    input = choose_micro_batches(std::move(input), source, arguments.num_ranks);
    Job job = make_job(input, source, arguments.num_ranks);
    PlannedStep step = plan_job(input, job);
    job.plan = step.plan;
    return {
        std::move(input), std::move(source), std::move(job), std::move(step)};
}

//! A plan file is what people are shown: the rest of it is comments.
void print_comments(const std::string& text) {
    std::string line = "\n# ";
    for (const char c : text) {
        line += c;
        if (c == '\n') {
            line += "# ";
        }
    }
    std::printf("%s\n", line.c_str());
}

}  // namespace

int run_plan(const PlanArguments& arguments) {
    const Planned planned = make_planned(arguments);
    const PlanReport report =
        make_plan_report(planned.input, planned.job, planned.step);
    if (!arguments.svg.empty()) {
        write_file(arguments.svg,
                   to_svg(report, planned.job, planned.step.plan));
    }
    if (arguments.is_json) {
        std::printf("%s\n", to_json(planned.step, report).c_str());
        return 0;
    }
    std::printf("%s", to_text(planned.step.plan, planned.job.graph).c_str());
    const double step_s = planned.step.timeline.makespan_s;
    const std::string compression = advise_compression(
        planned.input, planned.source, arguments.num_ranks, step_s);
    print_comments(
        to_text(report, planned.job, planned.step.plan) + "advice  " +
        advise(planned.input, planned.source, arguments.num_ranks, step_s) +
        (compression.empty() ? "" : "\nadvice  " + compression));
    return 0;
}

int run_simulate(const PlanArguments& arguments) {
    const Planned planned = make_planned(arguments);
    const PlanReport report =
        make_plan_report(planned.input, planned.job, planned.step);
    if (!arguments.trace.empty()) {
        write_file(arguments.trace,
                   to_chrome_trace(planned.step.timeline,
                                   planned.step.costs,
                                   planned.job.model.network(),
                                   stage_device_names(planned.step.plan,
                                                      planned.job.topology)));
    }
    if (arguments.is_json) {
        std::printf("%s\n", to_json(planned.step, report).c_str());
        return 0;
    }
    std::printf("%s",
                describe_timeline(report, planned.job, planned.step).c_str());
    return 0;
}

}  // namespace fusionllm
