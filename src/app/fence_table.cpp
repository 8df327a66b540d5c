#include "app/fence_table.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

//! The stage that ends at the cut; none if the cut is inside a stage.
std::optional<std::size_t> find_stage_before(const Placement& placement,
                                             std::size_t cut) {
    const auto& stages = placement.stages;
    const auto found = std::ranges::find_if(
        stages, [&](const auto& stage) { return stage.ops.end == cut; });
    if (found == stages.end() || found + 1 == stages.end()) {
        return std::nullopt;
    }
    return static_cast<std::size_t>(found - stages.begin());
}

double element_ratio(const CodecSpec& spec, const MatrixShape& shape) {
    if (spec.kept == 0) {
        return 1;
    }
    const auto all = static_cast<double>(
        spec.id == CodecId::subspace ? shape.columns : shape.size());
    return all / static_cast<double>(spec.kept);
}

void add_link(FenceLine& line, const Plan& plan, const Network& network) {
    line.saved_s = -line.report.encode_s - line.report.decode_s;
    const auto before = find_stage_before(plan.placement, line.report.cut);
    if (!before) {
        return;
    }
    DeviceId from = plan.placement.stages[*before].devices.at(0);
    DeviceId to = plan.placement.stages[*before + 1].devices.at(0);
    if (line.report.direction == Direction::backward) {
        std::swap(from, to);
    }
    line.link = network.name(from, to);
    const double less = static_cast<double>(line.report.dense_bytes) -
                        static_cast<double>(line.report.bytes);
    line.saved_s += less / line.report.link_bytes_per_s.value_or(
                               network.link(from, to).bandwidth_bytes_per_s);
}

std::string write(const std::optional<double>& number, int digits) {
    return number ? fmt::format("{:.{}g}", *number, digits) : "-";
}

const Fence* find_fence(const std::vector<Fence>& fences,
                        const FenceReport& report) {
    const auto found = std::ranges::find_if(fences, [&](const Fence& fence) {
        return fence.cut == report.cut && fence.value.get() == report.value;
    });
    return found == fences.end() ? nullptr : &*found;
}

//! A line; "" where nothing was measured, or errors have no price.
std::string describe_errors(const std::vector<FenceLine>& lines,
                            const Job& job,
                            const CompressionSection& section) {
    std::vector<MeasuredError> measured;
    for (const FenceLine& line : lines) {
        const Fence* fence = find_fence(job.plan.fences, line.report);
        if (fence != nullptr && line.report.error) {
            measured.push_back({fence->cut,
                                fence->value,
                                line.report.direction,
                                fence->codec,
                                *line.report.error});
        }
    }
    const double price = section.options.error_price;
    if (measured.empty() || price <= 0) {
        return "";
    }
    const ErrorTable typical(job.graph);
    const double expected = price * typical.squared_errors(job.plan.fences);
    const double found =
        price *
        ErrorTable(measured, typical.maps()).squared_errors(job.plan.fences);
    const bool is_far_more = found > 2 * expected + 0.05;
    return fmt::format(
        "\nerrors  those measured cost {} to the same loss, typical ones of "
        "these codecs {}{}\n",
        more_steps_text(found),
        more_steps_text(expected),
        is_far_more && section.options.adapt == "off"
            ? "; rule = \"adaptive\" with adapt = \"on\" in [compression] "
              "chooses codecs by measured ones"
            : "");
}

}  // namespace

std::string more_steps_text(double more_steps) {
    return more_steps < 1 ? fmt::format("{:.2g}% more steps", 100 * more_steps)
                          : "twice the steps or many more";
}

std::string_view name_of(Direction direction) {
    return direction == Direction::forward ? "forward" : "backward";
}

std::vector<FenceLine> make_fence_lines(const std::vector<FenceReport>& reports,
                                        const Plan& plan,
                                        const OpGraph& graph,
                                        const Network& network) {
    std::vector<FenceLine> lines;
    for (const FenceReport& report : reports) {
        const Fence* fence = find_fence(plan.fences, report);
        if (fence == nullptr) {
            continue;
        }
        const MatrixShape shape = shape_of(graph, fence->value);
        const CodecSpec spec =
            resolve(fence->codec, shape).of(report.direction);
        FenceLine line{report,
                       graph.value(fence->value).name,
                       "",
                       to_text(spec),
                       element_ratio(spec, shape),
                       report.bytes > 0
                           ? static_cast<double>(report.dense_bytes) /
                                 static_cast<double>(report.bytes)
                           : 1,
                       0};
        add_link(line, plan, network);
        lines.push_back(std::move(line));
    }
    return lines;
}

std::string describe_fences(const std::vector<FenceLine>& lines,
                            const Job& job,
                            const CompressionSection& section) {
    if (lines.empty()) {
        return "";
    }
    std::vector<std::vector<std::string>> rows;
    for (const FenceLine& line : lines) {
        rows.push_back({fmt::format("{}", line.report.cut),
                        line.value,
                        std::string(name_of(line.report.direction)),
                        line.link.empty() ? "inside a stage" : line.link,
                        line.codec,
                        fmt::format("{:.4g}", line.element_ratio),
                        fmt::format("{:.4g}", line.byte_ratio),
                        format_bytes(static_cast<double>(line.report.bytes)),
                        write(line.report.error, 3),
                        write(line.report.cosine, 4),
                        fmt::format("{:.3g}", line.report.encode_s),
                        fmt::format("{:.3g}", line.saved_s)});
    }
    return format_table({"cut",
                         "value",
                         "direction",
                         "link",
                         "codec",
                         "n/k",
                         "byte ratio",
                         "a step",
                         "error",
                         "cosine",
                         "encode s",
                         "saved s"},
                        rows) +
           describe_errors(lines, job, section);
}

}  // namespace fusionllm
