// Law 1 for any model: graphs of random operators, cut anywhere, give the bits
// of the graph that is not cut.

#include <bit>
#include <cmath>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "fusionllm/exec/threads.hpp"

#include "random_graph.hpp"
#include "stage_chain.hpp"

namespace fusionllm::test {
namespace {

constexpr int num_micro_batches = 2;

using Cuts = std::vector<std::size_t>;

//! Every single cut, and a few times three cuts at once.
std::vector<Cuts> make_cuts(const OpGraph& graph, std::uint64_t seed) {
    std::vector<Cuts> all;
    const std::size_t num_ops = graph.ops().size();
    for (std::size_t cut = 1; cut < num_ops; ++cut) {
        all.push_back({cut});
    }
    std::mt19937_64 random(seed);
    for (int i = 0; i < 4; ++i) {
        std::set<std::size_t> cuts;
        while (cuts.size() < 3) {
            cuts.insert(1 + random() % (num_ops - 1));
        }
        all.emplace_back(cuts.begin(), cuts.end());
    }
    Cuts every;
    for (std::size_t cut = 1; cut < num_ops; ++cut) {
        every.push_back(cut);
    }
    all.push_back(every);
    return all;
}

class RandomGraph : public testing::TestWithParam<int> {};

TEST_P(RandomGraph, has_the_same_gradients_for_every_cut) {
    set_num_threads(1);
    const auto seed = static_cast<std::uint64_t>(GetParam());
    const OpGraph graph = make_random_graph(seed, 18);
    const std::vector<std::vector<HostTensor>> inputs{
        make_random_inputs(graph, seed + 1000),
        make_random_inputs(graph, seed + 2000)};
    StageChain whole(graph, {}, num_micro_batches);
    const ChainResult expected = whole.train(3, inputs);
    const double expected_evaluation = whole.evaluate(inputs);
    ASSERT_TRUE(std::isfinite(expected.loss)) << to_text(graph);

    int number = 0;
    for (const Cuts& cuts : make_cuts(graph, seed)) {
        StageChain chain(graph,
                         cuts,
                         num_micro_batches,
                         number++ % 2 == 0 ? Recompute::off : Recompute::on);

        const ChainResult actual = chain.train(3, inputs);
        const double evaluation = chain.evaluate(inputs);

        ASSERT_EQ(std::bit_cast<std::uint64_t>(actual.loss),
                  std::bit_cast<std::uint64_t>(expected.loss))
            << testing::PrintToString(cuts) << '\n'
            << to_text(graph);
        ASSERT_EQ(std::bit_cast<std::uint64_t>(evaluation),
                  std::bit_cast<std::uint64_t>(expected_evaluation))
            << testing::PrintToString(cuts) << '\n'
            << to_text(graph);
        for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
            ASSERT_TRUE(actual.gradients[p] == expected.gradients[p])
                << "parameter " << graph.signature().parameters[p].name
                << ", cuts " << testing::PrintToString(cuts) << '\n'
                << to_text(graph);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomGraph, testing::Range(0, 60));

}  // namespace
}  // namespace fusionllm::test
