#include "fusionllm/runtime/link_survey.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "fusionllm/comm/loopback.hpp"
#include "fusionllm/comm/shaped_transport.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm::test {
namespace {

constexpr double megabit = 125e3;

constexpr double slow = megabit / 4;
constexpr double fast = 4 * megabit;
constexpr int num_surveys = 3;

//! Fast links from rank to rank, but for the one from 1 to 0.
ShapedLinks make_links(int num_ranks) {
    ShapedLinks links;
    links.num_ranks = num_ranks;
    for (int from = 0; from < num_ranks; ++from) {
        for (int to = 0; to < num_ranks; ++to) {
            const bool is_slow = from == 1 && to == 0;
            links.paths.push_back({1e-3, is_slow ? slow : fast, {}});
        }
    }
    return links;
}

TEST(LinkSurvey, finds_the_slow_direction_among_three_stages) {
    const auto shared = share_links(make_links(4), monotonic_s);
    std::vector<std::vector<StepReport>> found(4);

    // Stages may be on any rank; the last rank has none.
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
            for (int i = 0; i < num_surveys; ++i) {
                survey.measure();
                survey.add_to(
                    found.at(static_cast<std::size_t>(transport.rank()))
                        .emplace_back(),
                    StageSlice());
            }
        }
    });

    // A busy machine makes single trials slower.
    const auto of_trials = [&](int rank, auto rate, double share) {
        std::vector<double> rates;
        for (const StepReport& report :
             found.at(static_cast<std::size_t>(rank))) {
            rates.push_back((report.*rate).value());
        }
        std::ranges::sort(rates);
        return rates.at(static_cast<std::size_t>(
            share * static_cast<double>(rates.size() - 1)));
    };
    const auto next = &StepReport::rate_to_next;
    const auto previous = &StepReport::rate_to_previous;
    EXPECT_NEAR(of_trials(1, next, 0.5), slow, slow / 2);
    EXPECT_GT(of_trials(0, previous, 1), 2 * slow);
    EXPECT_GT(of_trials(0, next, 1), 2 * slow);
    EXPECT_GT(of_trials(3, previous, 1), 2 * slow);
    EXPECT_FALSE(found[1].back().rate_to_previous);
    EXPECT_FALSE(found[3].back().rate_to_next);
    EXPECT_TRUE(found[2].empty());
}

}  // namespace
}  // namespace fusionllm::test
