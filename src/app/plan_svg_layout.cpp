#include "app/plan_svg_layout.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace fusionllm {
namespace {

constexpr double widest_row = 1724;
constexpr double card_width = 90;
constexpr double narsvg_row_gap = 46;  // a bandwidth in two lines
constexpr double box_edge = 10;
constexpr double box_head = 34;  // the group's name, a tag on a card
constexpr double lead_in = 22;   // of a link from the row above
constexpr double words_below = 76;

std::size_t group_of(const Plan& plan, std::size_t stage) {
    return static_cast<std::size_t>(
        find_group(plan, plan.placement.stages[stage].devices.at(0)));
}

//! Whether the name is that of the link, or of a line that it crosses.
bool is_called(const Network& network,
               DeviceId from,
               DeviceId to,
               const std::string& name) {
    if (name == "link " + network.name(from, to)) {
        return true;
    }
    return std::ranges::any_of(network.lines(from, to), [&](LineId id) {
        const std::string& line = network.line(id).name;
        return name == line || name == "link " + line;
    });
}

std::vector<CutView> find_cuts(const Plan& plan,
                               const Network& network,
                               const std::string& bottleneck) {
    std::vector<CutView> cuts;
    const auto& stages = plan.placement.stages;
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        const DeviceId a = stages[s].devices.at(0);
        const DeviceId b = stages[s + 1].devices.at(0);
        cuts.push_back({network.link(a, b),
                        network.link(b, a),
                        group_of(plan, s) != group_of(plan, s + 1),
                        is_called(network, a, b, bottleneck) ||
                            is_called(network, b, a, bottleneck)});
    }
    return cuts;
}

double gap_after(const CutView& cut) {
    return cut.is_fence || cut.is_bottleneck ? svg_wide_gap : narsvg_row_gap;
}

//! The row and the left end of every card; a row has room for the words of the
//! link to the next one. Returns the last row.
std::size_t place_cards(PlanLayout& layout, double width) {
    const double first_x = svg_margin + lead_in + box_edge;
    double x = first_x;
    std::size_t row = 0;
    for (std::size_t s = 0; s < layout.cards.size(); ++s) {
        if (s > 0 && x + card_width + svg_wide_gap > svg_margin + width) {
            ++row;
            x = first_x;
        }
        layout.cards[s] = {x, 0, card_width, 0};
        layout.rows[s] = row;
        x += card_width;
        if (s + 1 < layout.cards.size()) {
            x += gap_after(layout.cuts[s]);
        }
    }
    return row;
}

//! Rows as narrow as they can be without making one more of them.
void fill_rows(PlanLayout& layout) {
    const std::size_t last_row = place_cards(layout, widest_row);
    double width = widest_row;
    while (last_row > 0 && place_cards(layout, width - 10) == last_row) {
        width -= 10;
    }
    place_cards(layout, width);
    if (last_row == 0) {
        for (SvgBox& card : layout.cards) {
            card.x -= lead_in;
        }
    }
}

void find_groups(PlanLayout& layout, const Plan& plan) {
    for (std::size_t s = 0; s < layout.cards.size(); ++s) {
        const std::size_t group = group_of(plan, s);
        const bool is_same =
            !layout.groups.empty() && layout.groups.back().group == group;
        if (is_same && layout.groups.back().row == layout.rows[s]) {
            layout.groups.back().last_stage = s;
        } else {
            layout.groups.push_back({group, layout.rows[s], s, s, is_same, {}});
        }
    }
}

void place_rows(PlanLayout& layout, double top) {
    const double height = layout.words_above + layout.bar_height + words_below;
    const double row_height = box_head + height + box_edge + svg_row_gap;
    for (std::size_t s = 0; s < layout.cards.size(); ++s) {
        SvgBox& card = layout.cards[s];
        card.y =
            top + row_height * static_cast<double>(layout.rows[s]) + box_head;
        card.height = height;
        const double tail = layout.ends_row(s) ? svg_wide_gap : box_edge;
        layout.right = std::max(layout.right, card.right() + tail);
        layout.bottom = card.bottom() + box_edge;
    }
    for (GroupView& group : layout.groups) {
        const SvgBox& first = layout.cards[group.first_stage];
        const SvgBox& last = layout.cards[group.last_stage];
        group.box = {first.x - box_edge,
                     first.y - box_head,
                     last.right() - first.x + 2 * box_edge,
                     first.height + box_head + box_edge};
    }
}

}  // namespace

double PlanLayout::link_y(std::size_t stage) const {
    return base_y(stage) - bar_height / 2;
}

double PlanLayout::base_y(std::size_t stage) const {
    return cards[stage].y + words_above + bar_height;
}

bool PlanLayout::ends_row(std::size_t stage) const {
    return stage + 1 < rows.size() && rows[stage + 1] != rows[stage];
}

PlanLayout lay_out(const Plan& plan,
                   const Network& network,
                   const std::vector<std::string>& devices,
                   const std::string& bottleneck,
                   double top) {
    PlanLayout layout;
    for (std::size_t s = 0; s < devices.size(); ++s) {
        if (bottleneck == fmt::format("stage {} on {}", s, devices[s])) {
            layout.bottleneck_stage = s;
        }
    }
    layout.cuts = find_cuts(plan, network, bottleneck);
    layout.cards.resize(devices.size());
    layout.rows.resize(devices.size());
    fill_rows(layout);
    find_groups(layout, plan);
    layout.words_above = 40;
    layout.bar_height = layout.rows.back() < 2 ? 120 : 90;
    place_rows(layout, top);
    return layout;
}

}  // namespace fusionllm
