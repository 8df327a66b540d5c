#include "app/plan_svg_stages.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "fusionllm/util/units.hpp"

namespace fusionllm {
namespace {

constexpr std::size_t card_characters = 15;  // of a line on a card

double round_to_three_digits(double value) {
    const std::string text = fmt::format("{:.2e}", value);
    double rounded = value;
    std::from_chars(text.data(), text.data() + text.size(), rounded);
    return rounded;
}

std::string bandwidth_text(const Link& link) {
    const double bits_per_s = 8 * link.bandwidth_bytes_per_s;
    return std::isfinite(bits_per_s)
               ? write_bits_per_s(round_to_three_digits(bits_per_s) / 8)
               : "no limit";
}

std::string latency_text(const Link& link) {
    return write_seconds(round_to_three_digits(link.latency_s));
}

std::string link_text(const Link& link) {
    return bandwidth_text(link) + ", " + latency_text(link);
}

//! Of a line: 1.5 px more for ten times the bandwidth.
double stroke_width(const CutView& cut) {
    const double bits_per_s = 8 * cut.forward.bandwidth_bytes_per_s;
    const double thinnest = cut.is_bottleneck ? 3 : 1.5;
    return std::clamp(1.5 * std::log10(bits_per_s / 1e7) + 1.2, thinnest, 8.0);
}

//! A fence tells both directions where they differ.
std::vector<std::string> words_over(const CutView& cut) {
    const std::string forward = bandwidth_text(cut.forward);
    const std::string backward = bandwidth_text(cut.backward);
    if (!cut.is_fence && !cut.is_bottleneck) {
        const std::size_t space = forward.find(' ');
        return {forward.substr(0, space), forward.substr(space + 1)};
    }
    if (forward == backward) {
        return {forward, latency_text(cut.forward)};
    }
    return {"→ " + forward, "← " + backward, latency_text(cut.forward)};
}

void draw_link_words(SvgWriter& svg,
                     const CutView& cut,
                     const StageReport& stage,
                     SvgPoint middle) {
    const double half = stroke_width(cut) / 2;
    const std::vector<std::string> above = words_over(cut);
    double y = middle.y - half - 6 - 11 * static_cast<double>(above.size() - 1);
    for (const std::string& words : above) {
        svg.text(cut.is_fence ? "word strong" : "word", {middle.x, y}, words);
        y += 11;
    }
    if (cut.is_fence || cut.is_bottleneck) {
        y = middle.y + half + 14;
        svg.text("word", {middle.x, y}, format_bytes(stage.send_bytes));
        svg.text("word", {middle.x, y + 11}, "a micro-batch");
    }
    if (cut.is_bottleneck) {
        draw_tag(svg, {middle.x, middle.y + half + 38});
    }
}

std::string link_class(const CutView& cut) {
    return fmt::format("link{}{}",
                       cut.is_fence ? " fence" : "",
                       cut.is_bottleneck ? " hot-line" : "");
}

//! Around the end of a row: right, down, back and down to the next one.
std::string way_to_next_row(const PlanLayout& layout, std::size_t stage) {
    const SvgBox& card = layout.cards[stage];
    const SvgBox& next = layout.cards[stage + 1];
    return fmt::format("M{:.1f} {:.1f}H{:.1f}V{:.1f}H{:.1f}V{:.1f}H{:.1f}",
                       card.right(),
                       layout.link_y(stage),
                       layout.right - 4,
                       card.bottom() + 10 + svg_row_gap / 2,
                       svg_margin + 4,
                       layout.link_y(stage + 1),
                       next.x - 8);
}

void draw_link(SvgWriter& svg,
               const PlanLayout& layout,
               const StageReport& report,
               std::size_t stage) {
    const CutView& cut = layout.cuts[stage];
    const SvgBox& card = layout.cards[stage];
    const SvgBox& next = layout.cards[stage + 1];
    const double width = stroke_width(cut);
    const SvgPoint from{card.right(), layout.link_y(stage)};
    const SvgPoint tip{next.x, layout.link_y(stage + 1)};
    svg.begin_group(
        fmt::format("stage {} to stage {}: {}; back {}; {} a micro-batch",
                    stage,
                    stage + 1,
                    link_text(cut.forward),
                    link_text(cut.backward),
                    format_bytes(report.send_bytes)));
    SvgPoint middle{(from.x + tip.x) / 2, from.y};
    if (layout.ends_row(stage)) {
        svg.path(link_class(cut), way_to_next_row(layout, stage), width);
        middle.x = (from.x + layout.right) / 2;
    } else {
        svg.line(link_class(cut), from, {tip.x - 8, tip.y}, width);
    }
    svg.arrow_head(cut.is_bottleneck ? "tip hot" : "tip", tip, width + 7);
    draw_link_words(svg, cut, report, middle);
    svg.end_group();
}

std::string memory_text(const StageReport& stage) {
    if (stage.device_memory_bytes <= 0) {
        return format_bytes(stage.memory_bytes);
    }
    return fmt::format("{}, {:.0f}%",
                       format_bytes(stage.memory_bytes),
                       100 * stage.memory_bytes / stage.device_memory_bytes);
}

void draw_gauge(SvgWriter& svg, const SvgBox& gauge, const StageReport& stage) {
    if (stage.device_memory_bytes <= 0) {
        svg.rect("gauge unknown", gauge);
        return;
    }
    const double share =
        std::clamp(stage.memory_bytes / stage.device_memory_bytes, 0.0, 1.0);
    svg.rect("gauge", gauge);
    svg.rect("used",
             {gauge.x,
              gauge.bottom() - share * gauge.height,
              gauge.width,
              share * gauge.height});
}

void draw_stage_words(SvgWriter& svg,
                      SvgPoint at,
                      const StageReport& stage,
                      const std::string& kind) {
    const auto line = [&](const char* css_class, const std::string& words) {
        at.y += 13;
        svg.text(css_class, at, shorten(words, card_characters));
    };
    line("word strong", stage.device);
    line("word", kind);
    line("word",
         fmt::format(
             "{} op{} from", stage.num_ops, stage.num_ops == 1 ? "" : "s"));
    line("word faint", stage.first_op);
    line("word", memory_text(stage));
}

std::string stage_tooltip(std::size_t index,
                          const StageReport& stage,
                          const std::string& kind) {
    return fmt::format(
        "stage {} on {} ({}) of {}: {} a step, {} ops from {}, memory {}{}",
        index,
        stage.device,
        kind,
        stage.group,
        format_seconds(stage.compute_s),
        stage.num_ops,
        stage.first_op,
        format_bytes(stage.memory_bytes),
        stage.device_memory_bytes > 0
            ? " of " + format_bytes(stage.device_memory_bytes)
            : "");
}

void draw_stage(SvgWriter& svg,
                const PlanLayout& layout,
                std::size_t index,
                const StageReport& stage,
                const std::string& kind,
                double most_s) {
    const SvgBox& card = layout.cards[index];
    const bool is_hot = layout.bottleneck_stage == index;
    const double base = layout.base_y(index);
    const double share = most_s > 0 ? stage.compute_s / most_s : 0;
    const double height = std::max(1.0, share * layout.bar_height);
    const SvgBox bar{card.x + 18, base - height, 38, height};
    svg.begin_group(stage_tooltip(index, stage, kind));
    svg.rect(is_hot ? "card hot-card" : "card", card);
    svg.text(
        "head", {card.middle_x(), card.y + 20}, fmt::format("stage {}", index));
    svg.rect(is_hot ? "bar hot" : "bar", bar);
    svg.text(
        "word", {bar.middle_x(), bar.y - 4}, format_seconds(stage.compute_s));
    draw_gauge(svg,
               {card.x + 66, base - layout.bar_height, 8, layout.bar_height},
               stage);
    draw_stage_words(svg, {card.middle_x(), base + 2}, stage, kind);
    if (is_hot) {
        draw_tag(svg, {card.middle_x(), card.y});
    }
    svg.end_group();
}

}  // namespace

void draw_tag(SvgWriter& svg, SvgPoint middle) {
    svg.rect("tag", {middle.x - 38, middle.y - 7, 76, 14});
    svg.text("tag-word", {middle.x, middle.y + 3.5}, "BOTTLENECK");
}

void draw_groups(SvgWriter& svg, const PlanLayout& layout, const Plan& plan) {
    for (const GroupView& view : layout.groups) {
        const DeviceGroup& group = plan.groups[view.group];
        const auto room =
            static_cast<std::size_t>(std::max(view.box.width / 6.8, 4.0));
        const std::string name =
            view.is_continued && group.name.size() + 12 <= room
                ? group.name + " (continued)"
                : group.name;
        svg.begin_group(fmt::format(
            "group {}: {} devices", group.name, group.devices.size()));
        svg.rect("group", view.box);
        svg.text("group-name",
                 {view.box.x + 8, view.box.y + 17},
                 shorten(name, room));
        svg.end_group();
    }
}

void draw_links(SvgWriter& svg,
                const PlanLayout& layout,
                const std::vector<StageReport>& stages) {
    for (std::size_t s = 0; s < layout.cuts.size(); ++s) {
        draw_link(svg, layout, stages[s], s);
    }
}

void draw_stages(SvgWriter& svg,
                 const PlanLayout& layout,
                 const std::vector<StageReport>& stages,
                 const std::vector<std::string>& kinds) {
    double most_s = 0;
    for (const StageReport& stage : stages) {
        most_s = std::max(most_s, stage.compute_s);
    }
    for (std::size_t s = 0; s < stages.size(); ++s) {
        draw_stage(svg, layout, s, stages[s], kinds[s], most_s);
    }
}

}  // namespace fusionllm
