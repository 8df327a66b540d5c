#include "app/plan_svg.hpp"

#include <algorithm>
#include <map>

#include <fmt/ranges.h>

#include "fusionllm/util/units.hpp"

#include "app/plan_svg_layout.hpp"
#include "app/plan_svg_stages.hpp"

namespace fusionllm {
namespace {

constexpr double least_width = 1080;
constexpr double stages_y = 178;  // below title, bar and the bar's legend
constexpr double idle_width = 232;
constexpr double idle_height = 56;

// What matters differs in lightness, shape or words as well as in colour.
constexpr std::string_view style = R"svg(<style>
text{fill:#1a1a1a}
.title{font-size:22px;font-weight:bold}
.subtitle{font-size:14px}
.small{font-size:12px}
.group-name,.head{font-size:12px;font-weight:bold}
.head,.word,.tag-word{text-anchor:middle}
.word{font-size:10px}
.strong{font-weight:bold}
.faint,.small.faint{fill:#555}
.group{fill:#f1f4f8;stroke:#8794a5;stroke-width:1.2}
.idle{fill:#fff;stroke:#999;stroke-dasharray:3 3}
.card{fill:#fff;stroke:#b5bdc8}
.hot-card{stroke:#1a1a1a;stroke-width:2}
.bar{fill:#8db2dc;stroke:#24466f}
.gauge{fill:#fff;stroke:#666;stroke-width:.8}
.unknown{stroke-dasharray:2 2}
.used{fill:#666}
.link{fill:none;stroke:#4a5562;stroke-linejoin:round}
.fence{stroke-dasharray:7 4}
.tip{fill:#4a5562}
.hot{fill:#a3161a;stroke:#1a1a1a}
.hot-line{stroke:#a3161a}
.tag{fill:#a3161a}
.tag-word{font-size:9px;font-weight:bold;fill:#fff}
.part{stroke:#24466f}
.computing{fill:#2f5f9e}
.bubble{fill:#fff}
.links{fill:url(#stripes)}
.exchange{fill:url(#dots)}
</style>
<defs>
<pattern id="stripes" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7" fill="#fbe3b4"/><rect width="3" height="7" fill="#b36b00"/></pattern>
<pattern id="dots" width="6" height="6" patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#e6e6e6"/><circle cx="3" cy="3" r="1.6" fill="#333"/></pattern>
</defs>
)svg";

struct Part {
    std::string name;  //!< and class
    double seconds;
    const char* what;
};

std::vector<Part> list_parts(const StepParts& parts) {
    return {{"computing", parts.compute_s, "(busiest stage)"},
            {"bubble", parts.bubble_s, "(waits for stages)"},
            {"links", parts.links_s, "(waits for messages)"},
            {"exchange", parts.exchange_s, "(shared parameters)"}};
}

double share(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

std::string part_words(const Part& part, double step_s) {
    return fmt::format("{} {}: {}, {:.0f}%",
                       part.name,
                       part.what,
                       format_seconds(part.seconds),
                       100 * share(part.seconds, step_s));
}

double part_words_width(const std::string& words) {
    return 20 + text_width(words, 12) + 18;  // with a sample and a gap
}

//! How wide what is said of all parts is.
double parts_width(const StepParts& parts) {
    double width = 0;
    for (const Part& part : list_parts(parts)) {
        width += part_words_width(part_words(part, parts.step_s()));
    }
    return width;
}

//! The step as a bar, and what its parts are.
void draw_parts(SvgWriter& svg, const StepParts& parts, double width) {
    const double step_s = parts.step_s();
    double bar_x = svg_margin;
    double word_x = svg_margin;
    for (const Part& part : list_parts(parts)) {
        const double part_width =
            width * std::max(0.0, share(part.seconds, step_s));
        const std::string words = part_words(part, step_s);
        if (part_width > 0) {
            svg.rect("part " + part.name, {bar_x, 102, part_width, 22});
        }
        svg.rect("part " + part.name, {word_x, 133, 14, 12});
        svg.text("small", {word_x + 20, 143}, words);
        bar_x += part_width;
        word_x += part_words_width(words);
    }
}

std::string count(const std::string& noun, std::size_t number) {
    const char* ending = number == 1               ? ""
                         : noun.ends_with("batch") ? "es"
                                                   : "s";
    return fmt::format("{} {}{}", number, noun, ending);
}

std::string title_of(const PlanReport& report) {
    return fmt::format("Predicted step {}, {:.4g} samples/s",
                       format_seconds(report.parts.step_s()),
                       report.samples_per_s);
}

std::string bottleneck_of(const PlanReport& report) {
    return fmt::format("Bottleneck: {}, busy for {:.0f}% of the step",
                       shorten(report.bottleneck.name, 80),
                       100 * report.bottleneck.share);
}

void draw_title(SvgWriter& svg,
                const PlanReport& report,
                const Job& job,
                const Plan& plan) {
    svg.text("title", {svg_margin, 40}, title_of(report));
    svg.text("subtitle strong", {svg_margin, 64}, bottleneck_of(report));
    svg.text("subtitle faint",
             {svg_margin, 86},
             fmt::format("{} on {} of {}, schedule {}, {}, bubble {:.0f}% "
                         "of all stages' time",
                         count("stage", report.stages.size()),
                         job.topology.devices.size() - report.unused.size(),
                         count("device", job.topology.devices.size()),
                         plan.schedule,
                         count("micro-batch",
                               static_cast<std::size_t>(plan.micro_batches)),
                         100 * report.bubble));
}

//! Devices of a group that have no stage.
struct IdleGroup {
    std::string name;
    std::size_t num_devices = 0;  //!< of the group, all of them
    std::vector<std::string> devices;
    std::map<std::string, int> kinds;  //!< how many of each
};

std::vector<IdleGroup> find_idle_groups(const Plan& plan,
                                        const Topology& topology) {
    std::vector<bool> is_used(topology.devices.size(), false);
    for (const StagePlacement& stage : plan.placement.stages) {
        is_used.at(stage.devices.at(0).get()) = true;
    }
    std::vector<IdleGroup> groups;
    for (const DeviceGroup& group : plan.groups) {
        IdleGroup idle{group.name, group.devices.size(), {}, {}};
        for (const DeviceId device : group.devices) {
            if (!is_used.at(device.get())) {
                idle.devices.push_back(topology.devices[device.get()].name);
                ++idle.kinds[topology.kind_of(device).name];
            }
        }
        if (!idle.devices.empty()) {
            groups.push_back(std::move(idle));
        }
    }
    return groups;
}

std::string describe_kinds(const IdleGroup& group) {
    std::vector<std::string> texts;
    for (const auto& [kind, count] : group.kinds) {
        texts.push_back(fmt::format("{} {}", count, kind));
    }
    return fmt::format("{}", fmt::join(texts, ", "));
}

void draw_idle_group(SvgWriter& svg, SvgPoint at, const IdleGroup& group) {
    const std::string names = fmt::format("{}", fmt::join(group.devices, ", "));
    svg.begin_group(
        fmt::format("group {} without a stage: {}", group.name, names));
    svg.rect("idle", {at.x, at.y, idle_width, idle_height});
    svg.text("small strong faint",
             {at.x + 8, at.y + 16},
             shorten(fmt::format("{}: {} of {}",
                                 group.name,
                                 group.devices.size(),
                                 group.num_devices),
                     34));
    svg.text("small faint",
             {at.x + 8, at.y + 32},
             shorten(describe_kinds(group), 36));
    svg.text("small faint", {at.x + 8, at.y + 48}, shorten(names, 36));
    svg.end_group();
}

//! Returns where it ends.
double draw_idle_groups(SvgWriter& svg,
                        const std::vector<IdleGroup>& groups,
                        double width,
                        double y) {
    if (groups.empty()) {
        return y;
    }
    svg.text("subtitle faint", {svg_margin, y + 18}, "Devices without a stage");
    const double step = idle_width + 10;
    const auto columns =
        static_cast<std::size_t>(std::max(1.0, (width + 10) / step));
    for (std::size_t i = 0; i < groups.size(); ++i) {
        const auto column = static_cast<double>(i % columns);
        const auto row = static_cast<double>(i / columns);
        draw_idle_group(
            svg,
            {svg_margin + step * column, y + 28 + (idle_height + 10) * row},
            groups[i]);
    }
    const std::size_t rows = (groups.size() + columns - 1) / columns;
    return y + 28 + (idle_height + 10) * static_cast<double>(rows);
}

void draw_legend(SvgWriter& svg, double y) {
    double x = svg_margin;
    const auto item = [&](double sample_width, const char* words) {
        svg.text("small", {x + sample_width + 8, y + 4}, words);
        x += sample_width + text_width(words, 12) + 32;
    };
    svg.rect("bar", {x, y - 8, 16, 16});
    item(16, "seconds that a stage computes a step");
    svg.rect("gauge", {x, y - 10, 8, 20});
    svg.rect("used", {x, y - 2, 8, 12});
    item(8, "memory used of the device's");
    svg.line("link", {x, y}, {x + 40, y}, 4);
    item(40, "link: wider is faster");
    svg.line("link fence", {x, y}, {x + 40, y}, 4);
    item(40, "fence: link between groups");
}

}  // namespace

std::string to_svg(const PlanReport& report, const Job& job, const Plan& plan) {
    const PlanLayout layout = lay_out(plan,
                                      job.model.network(),
                                      stage_device_names(plan, job.topology),
                                      report.bottleneck.name,
                                      stages_y);
    std::vector<std::string> kinds;
    for (const StagePlacement& stage : plan.placement.stages) {
        kinds.push_back(job.topology.kind_of(stage.devices.at(0)).name);
    }
    const double right = std::max({least_width,
                                   layout.right + svg_margin,
                                   parts_width(report.parts) + 2 * svg_margin});
    const double width = right - 2 * svg_margin;
    SvgWriter svg;
    draw_title(svg, report, job, plan);
    draw_parts(svg, report.parts, width);
    draw_groups(svg, layout, plan);
    draw_links(svg, layout, report.stages);
    draw_stages(svg, layout, report.stages, kinds);
    const double idle_bottom = draw_idle_groups(
        svg, find_idle_groups(plan, job.topology), width, layout.bottom + 12);
    draw_legend(svg, idle_bottom + 30);
    return svg.finish(title_of(report) + ". " + bottleneck_of(report),
                      style,
                      right,
                      idle_bottom + 56);
}

}  // namespace fusionllm
