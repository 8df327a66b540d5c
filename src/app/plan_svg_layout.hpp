#pragma once

#include <optional>
#include <vector>

#include "fusionllm/plan/plan.hpp"
#include "fusionllm/topology/network.hpp"

#include "app/svg_writer.hpp"

namespace fusionllm {

//! What leads from a stage to the next one.
struct CutView {
    Link forward;
    Link backward;
    bool is_fence = false;  //!< between device groups
    bool is_bottleneck = false;
};

//! Stages of one group that follow each other in one row of the picture.
struct GroupView {
    std::size_t group = 0;  //!< position in `Plan::groups`
    std::size_t row = 0;
    std::size_t first_stage = 0;
    std::size_t last_stage = 0;  //!< included
    bool is_continued = false;   //!< from the row before
    SvgBox box;
};

//! Where everything is. Vectors by stage; a cut belongs to the stage before it.
struct PlanLayout {
    std::vector<SvgBox> cards;
    std::vector<std::size_t> rows;
    std::vector<CutView> cuts;
    std::vector<GroupView> groups;
    std::optional<std::size_t> bottleneck_stage;
    double words_above = 0;  //!< on a card, over its tallest bar
    double bar_height = 0;   //!< of the stage with most to compute
    double right = 0;
    double bottom = 0;

    //! Where links reach the cards of a stage.
    double link_y(std::size_t stage) const;
    //! Where bars stand.
    double base_y(std::size_t stage) const;
    bool ends_row(std::size_t stage) const;
};

inline constexpr double svg_margin = 24;     //!< around the picture
inline constexpr double svg_row_gap = 34;    //!< for links to the next row
inline constexpr double svg_wide_gap = 102;  //!< for what a fence tells

/*!
 * Lines the stages up in rows of about a dozen, the first at `top`. Finds
 * stage and links that bear the name of the bottleneck.
 */
PlanLayout lay_out(const Plan& plan,
                   const Network& network,
                   const std::vector<std::string>& devices,
                   const std::string& bottleneck,
                   double top);

}  // namespace fusionllm
