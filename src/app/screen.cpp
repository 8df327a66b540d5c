#include "app/screen.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include <unistd.h>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/exec/optimizer_options.hpp"
#include "fusionllm/plan/stage_report.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

#include "app/versions.hpp"

namespace fusionllm {
namespace {

std::string describe_model(const RunInput& input, const OpGraph& graph) {
    std::int64_t parameters = 0;
    for (const Parameter& parameter : graph.signature().parameters) {
        parameters += num_elements(graph.value(parameter.value).type);
    }
    const std::string number = format_count(static_cast<double>(parameters));
    if (is_model_file(input.model_kind)) {
        return fmt::format(
            "{}, {} parameters", input.model_file.path.string(), number);
    }
    if (input.model_kind == "resnet") {
        const ResnetOptions& resnet = input.resnet;
        return fmt::format(
            "resnet{}, {} channels, images of {} x {}, {} classes, {} "
            "parameters",
            resnet.depth,
            resnet.channels,
            resnet.image,
            resnet.image,
            resnet.classes,
            number);
    }
    const Gpt2Options& model = input.model;
    return fmt::format(
        "gpt2, {} layers, {} wide, {} heads, context {}, vocabulary {}, {} "
        "parameters",
        model.layers,
        model.width,
        model.heads,
        model.context,
        model.vocabulary,
        number);
}

std::string describe_settings(const RunInput& input, const Job& job) {
    const std::string output = input.run.output.string();
    std::vector<std::vector<std::string>> rows{
        {"run", fmt::format("{} (seed {})", input.run.name, input.run.seed)},
        {"model", describe_model(input, job.graph)},
        {"data",
         input.data.kind == "text"
             ? fmt::format("text, {} tokens", input.data.tokenizer)
             : input.data.kind},
        {"training",
         fmt::format("{} steps of {} samples in {} micro-batches, {}, "
                     "learning rate {} ({})",
                     input.train.steps,
                     input.train.batch,
                     input.micro_batches,
                     input.train.optimizer.kind,
                     input.train.learning_rate.peak,
                     input.train.learning_rate.schedule)},
        {"plan",
         fmt::format("{} stages, {}, schedule {}",
                     job.plan.placement.stages.size(),
                     input.plan.file.empty()
                         ? input.plan.partition
                         : "from " + input.plan.file.string(),
                     job.plan.schedule)},
        {"output", output}};
    for (const auto& [name, version] : list_versions()) {
        rows.push_back({name, version});
    }
    return format_table({"setting", "value"}, rows);
}

//! mpirun gives every rank a terminal of its own; what counts is mpirun's.
bool is_terminal() {
    if (isatty(STDOUT_FILENO) != 1) {
        return false;
    }
    if (!mpi::is_launched()) {
        return true;
    }
    std::error_code error;
    const auto target = std::filesystem::read_symlink(
        fmt::format("/proc/{}/fd/1", getppid()), error);
    return !error && (target.string().starts_with("/dev/pts/") ||
                      target.string().starts_with("/dev/tty"));
}

double mean_of(const std::vector<double>& numbers) {
    double sum = 0;
    for (const double number : numbers) {
        sum += number;
    }
    return sum / static_cast<double>(numbers.size());
}

}  // namespace

std::string describe_run(const RunInput& input,
                         const Job& job,
                         const std::vector<RankLine>& ranks) {
    std::vector<std::vector<std::string>> rows;
    for (const RankLine& rank : ranks) {
        rows.push_back(
            {fmt::format("{}", rank.rank),
             rank.host,
             fmt::format("{}", rank.pid),
             rank.device,
             rank.group,
             rank.stage < 0 ? "none" : fmt::format("{}", rank.stage)});
    }
    return describe_settings(input, job) + "\n" +
           format_table({"rank", "host", "pid", "device", "group", "stage"},
                        rows) +
           "\n" +
           to_table(
               report_stages(job.plan, job.graph, job.model, job.topology));
}

std::string unit_of_input(const OpGraph& graph) {
    const auto& inputs = graph.signature().inputs;
    return !inputs.empty() &&
                   is_differentiable(graph.value(inputs.front()).type.dtype)
               ? "samples"
               : "tokens";
}

namespace {

std::string describe_skips(std::int64_t skipped, std::int64_t steps) {
    return fmt::format(
        "{} of {} steps changed nothing, for numbers were not finite; if they "
        "are many, lower learning_rate or set clip_norm in [train]",
        skipped,
        steps);
}

}  // namespace

ProgressPrinter::ProgressPrinter(std::int64_t first_step,
                                 std::int64_t steps,
                                 std::string unit)
    : first_step_(first_step),
      steps_(steps),
      unit_(std::move(unit)),
      print_every_(std::max<std::int64_t>((steps - first_step) / 40, 1)),
      is_terminal_(is_terminal()),
      begin_s_(monotonic_s()) {}

void ProgressPrinter::print(const StepMetrics& metrics) {
    const bool has_news =
        metrics.validation_loss.has_value() || !metrics.skipped.empty();
    const bool is_last = metrics.step == steps_;
    if (!is_terminal_ && !has_news && !is_last &&
        metrics.step % print_every_ != 0 && metrics.step != first_step_ + 1) {
        return;
    }
    const double step_s = (monotonic_s() - begin_s_) /
                          static_cast<double>(metrics.step - first_step_);
    std::string line = fmt::format(
        "step {}/{}  {}{} {}/s  {} a step  ETA {}",
        metrics.step,
        steps_,
        metrics.has_numbers ? fmt::format("loss {:.4f}  ", metrics.loss) : "",
        format_count(metrics.tokens_per_s),
        unit_,
        format_seconds(metrics.step_s),
        format_seconds(step_s * static_cast<double>(steps_ - metrics.step)));
    if (metrics.emulated_step_s) {
        line += fmt::format("  emulated {} a step, {} so far",
                            format_seconds(*metrics.emulated_step_s),
                            format_seconds(metrics.emulated_s.value_or(0)));
    }
    if (metrics.validation_loss) {
        line +=
            fmt::format("  validation loss {:.4f}", *metrics.validation_loss);
    }
    if (metrics.validation_accuracy) {
        line +=
            fmt::format("  {:.1f} % right", 100 * *metrics.validation_accuracy);
    }
    if (!metrics.skipped.empty()) {
        ++num_skipped_;
        line +=
            fmt::format("  update skipped: {} is not finite", metrics.skipped);
    }
    if (is_terminal_) {
        std::printf(
            "\r%s\033[K%s", line.c_str(), has_news || is_last ? "\n" : "");
    } else {
        std::printf("%s\n", line.c_str());
    }
    if (is_last && num_skipped_ > 0) {
        std::printf("%s\n",
                    describe_skips(num_skipped_, steps_ - first_step_).c_str());
    }
    std::fflush(stdout);
}

std::string pack_sections(const SectionTimer& timer) {
    std::string text;
    for (const Section& section : timer.sections()) {
        text += fmt::format("{} {}\n", section.name, section.seconds);
    }
    return text;
}

std::vector<Section> unpack_sections(const std::string& text) {
    std::vector<Section> sections;
    for (const std::string& line : split(text, '\n')) {
        const auto space = line.find(' ');
        if (space != std::string::npos) {
            sections.push_back(
                {line.substr(0, space), std::stod(line.substr(space + 1)), 1});
        }
    }
    return sections;
}

std::string describe_sections(
    const std::vector<std::vector<Section>>& sections_of_rank) {
    std::vector<std::string> order;
    std::map<std::string, std::vector<double>> seconds;
    std::vector<double> totals(sections_of_rank.size());
    for (std::size_t rank = 0; rank < sections_of_rank.size(); ++rank) {
        for (const Section& section : sections_of_rank[rank]) {
            auto& of_ranks = seconds[section.name];
            if (of_ranks.empty()) {
                of_ranks.resize(sections_of_rank.size());
                order.push_back(section.name);
            }
            of_ranks[rank] = section.seconds;
            totals[rank] += section.seconds;
        }
    }
    seconds["all"] = totals;
    order.push_back("all");
    std::vector<std::vector<std::string>> rows;
    for (const std::string& name : order) {
        const auto& of_ranks = seconds[name];
        const double mean = mean_of(of_ranks);
        rows.push_back({name,
                        fmt::format("{:.2f}", std::ranges::min(of_ranks)),
                        fmt::format("{:.2f}", mean),
                        fmt::format("{:.2f}", std::ranges::max(of_ranks)),
                        fmt::format("{:.1f}", 100 * mean / mean_of(totals))});
    }
    return format_table({"seconds in", "min", "avg", "max", "% of the run"},
                        rows);
}

}  // namespace fusionllm
