#include "fusionllm/runtime/link_survey.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/comm/loopback.hpp"
#include "fusionllm/comm/shaped_transport.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm::test {
namespace {

constexpr double megabit = 125e3;

//! Links of 64 Mbit/s from rank to rank, of 2 Mbit/s between 1 and 0.
ShapedLinks make_links(int num_ranks) {
    ShapedLinks links;
    links.num_ranks = num_ranks;
    for (int from = 0; from < num_ranks; ++from) {
        for (int to = 0; to < num_ranks; ++to) {
            const bool is_slow = from == 1 && to == 0;
            links.paths.push_back({1e-3, (is_slow ? 2 : 64) * megabit, {}});
        }
    }
    return links;
}

TEST(LinkSurvey, finds_the_slow_direction_among_three_stages) {
    const auto shared = share_links(make_links(4), monotonic_s);
    std::vector<StepReport> found(4);

    // Stages may be on any rank; the last one has none.
    run_loopback(4, [&](Transport& inner) {
        ShapedTransport transport(inner, shared);
        RankRole role;
        role.rank_of_stage = {1, 0, 3};
        for (std::size_t s = 0; s < role.rank_of_stage.size(); ++s) {
            if (role.rank_of_stage[s] == transport.rank()) {
                role.stage = s;
            }
        }
        if (role.stage) {
            IdleWait wait;
            LinkSurvey survey(transport, wait, role);
            survey.measure();
            survey.measure();
            survey.add_to(found.at(static_cast<std::size_t>(transport.rank())),
                          StageSlice());
        }
    });

    // A busy machine makes it slower, not 16 times.
    EXPECT_NEAR(found[1].rate_to_next.value(), 2 * megabit, 1.5 * megabit);
    EXPECT_GT(found[0].rate_to_previous.value(), 8 * megabit);
    EXPECT_GT(found[0].rate_to_next.value(), 8 * megabit);
    EXPECT_GT(found[3].rate_to_previous.value(), 8 * megabit);
    EXPECT_FALSE(found[1].rate_to_previous);
    EXPECT_FALSE(found[3].rate_to_next);
}

}  // namespace
}  // namespace fusionllm::test
