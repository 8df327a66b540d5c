#include "pipeline_report.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/core.h>

#include "fusionllm/cost/workload.hpp"
#include "fusionllm/exec/threads.hpp"

namespace fusionllm::bench {
namespace {

//! Quartiles of seconds.
struct Spread {
    double low;
    double median;
    double high;
};

double quantile(std::vector<double> numbers, double share) {
    std::ranges::sort(numbers);
    const double position = share * static_cast<double>(numbers.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, numbers.size() - 1);
    const double fraction = position - static_cast<double>(below);
    return numbers[below] + fraction * (numbers[above] - numbers[below]);
}

Spread spread_of(const std::vector<double>& numbers) {
    return {quantile(numbers, 0.25),
            quantile(numbers, 0.5),
            quantile(numbers, 0.75)};
}

void print_spread(const std::string& name, const std::vector<double>& seconds) {
    const Spread spread = spread_of(seconds);
    fmt::print(
        "{:<10}{:9.2f} ms a step (quartiles {:.2f} to {:.2f}, {} "
        "steps)\n",
        name,
        1e3 * spread.median,
        1e3 * spread.low,
        1e3 * spread.high,
        seconds.size());
}

//! Step by step, so that a machine whose speed drifts does not matter.
void print_ratio(const std::string& what,
                 const std::vector<double>& trainer,
                 const std::vector<double>& bare) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < bare.size(); ++i) {
        ratios.push_back(trainer[i] / bare[i]);
    }
    const Spread ratio = spread_of(ratios);
    fmt::print("trainer / bare loop, {}: {:.4f} (quartiles {:.4f} to {:.4f})\n",
               what,
               ratio.median,
               ratio.low,
               ratio.high);
}

void print_sections(const Figures& figures,
                    const std::vector<std::string>& sections_of_rank) {
    double step_s = 0;
    for (const double seconds : figures.step_s) {
        step_s += seconds / static_cast<double>(figures.step_s.size());
    }
    fmt::print("share of a step, by rank:\n");
    for (const std::string& sections : sections_of_rank) {
        std::istringstream lines(sections);
        std::string rank;
        std::string name;
        std::string seconds;
        double waiting = 0;
        fmt::print(" ");
        while (std::getline(lines, rank, ',') &&
               std::getline(lines, name, ',') && std::getline(lines, seconds)) {
            const double share = std::stod(seconds) / step_s;
            waiting += name == "bubble" || name == "synchronise" ? share : 0;
            fmt::print(" {} {:.2f}%", name, 100 * share);
        }
        fmt::print("; waiting (bubble + synchronise) {:.2f}%\n", 100 * waiting);
    }
}

void append_csv(const BenchOptions& options,
                const Figures& figures,
                const std::vector<std::string>& sections_of_rank) {
    const bool is_new = !std::filesystem::exists(options.csv);
    std::ofstream file(options.csv, std::ios::app);
    if (is_new) {
        file << "ranks,rank,what,seconds\n";
    }
    const auto ranks = sections_of_rank.size();
    for (const double seconds : figures.step_s) {
        file << fmt::format("{},0,step,{:.9f}\n", ranks, seconds);
    }
    for (const double seconds : figures.bare_s) {
        file << fmt::format("{},0,bare step,{:.9f}\n", ranks, seconds);
    }
    for (const double seconds : figures.step_cpu_s) {
        file << fmt::format("{},0,step processor,{:.9f}\n", ranks, seconds);
    }
    for (const double seconds : figures.bare_cpu_s) {
        file << fmt::format(
            "{},0,bare step processor,{:.9f}\n", ranks, seconds);
    }
    for (const std::string& sections : sections_of_rank) {
        std::istringstream lines(sections);
        for (std::string line; std::getline(lines, line);) {
            file << ranks << ',' << line << '\n';
        }
    }
}

}  // namespace

std::string sections_text(const Figures& figures,
                          const BenchOptions& options,
                          int rank) {
    std::string text;
    for (const Section& section : figures.sections) {
        // "report" is the bare loop's; what is before the steps differs by 0.
        if (section.seconds > 0 && section.name != "report") {
            text += fmt::format(
                "{},{},{:.9f}\n",
                rank,
                section.name,
                section.seconds / static_cast<double>(options.steps));
        }
    }
    return text;
}

void report(const BenchOptions& options,
            const OpGraph& graph,
            const Plan& plan,
            const Figures& figures,
            const std::vector<std::string>& sections_of_rank) {
    fmt::print(
        "{} ranks, {} layers, {} wide, context {}, {} micro-batches of "
        "{}, {}, {}\n",
        sections_of_rank.size(),
        options.model.layers,
        options.model.width,
        options.model.context,
        options.micro_batches,
        options.micro_batch,
        plan.schedule,
        blas_name());
    const Workload workload = estimate_workload(graph);
    fmt::print("planned flops of a micro-batch:");
    for (const StagePlacement& stage : plan.placement.stages) {
        double flops = 0;
        for (std::size_t i = stage.ops.begin; i < stage.ops.end; ++i) {
            flops +=
                workload.ops[i].forward_flops + workload.ops[i].backward_flops;
        }
        fmt::print(" {:.4g}", flops);
    }
    fmt::print("\n");
    print_spread("trainer", figures.step_s);
    if (!figures.bare_s.empty()) {
        print_spread("bare loop", figures.bare_s);
        print_ratio("time", figures.step_s, figures.bare_s);
        print_ratio("processor time", figures.step_cpu_s, figures.bare_cpu_s);
        fmt::print("losses differ by {:.1e} at most\n",
                   figures.largest_loss_difference);
    }
    print_sections(figures, sections_of_rank);
    if (!options.csv.empty()) {
        append_csv(options, figures, sections_of_rank);
    }
}

}  // namespace fusionllm::bench
