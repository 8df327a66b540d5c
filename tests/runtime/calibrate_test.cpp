#include "fusionllm/runtime/calibrate.hpp"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/cost/op_seconds.hpp"
#include "fusionllm/data/text.hpp"
#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/runtime/batches.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

constexpr Gpt2Options model{2, 16, 2, 8, 32, 0.1, true};

OpGraph small_graph() {
    return make_gpt2(model, 2);
}

std::vector<HostTensor> make_inputs(const OpGraph& graph) {
    return make_batch(graph,
                      *make_synthetic_dataset(1, 8, 32, 0).train,
                      {0, 1},
                      graph.signature().inputs);
}

MeasureOptions once() {
    MeasureOptions options;
    options.warmup = 0;
    options.repeats = 1;
    return options;
}

class CalibrateTest : public testing::Test {
protected:
    static void SetUpTestSuite() { kokkos_ = new KokkosScope(1); }
    static void TearDownTestSuite() {
        delete kokkos_;
        kokkos_ = nullptr;
    }

private:
    static KokkosScope* kokkos_;
};

KokkosScope* CalibrateTest::kokkos_ = nullptr;

TEST_F(CalibrateTest, measures_every_signature_of_a_graph_once) {
    const OpGraph graph = small_graph();
    std::set<std::string> signatures;
    for (const Op& op : graph.ops()) {
        signatures.insert(op_signature(graph, op));
    }

    const auto ops = measure_ops(graph, make_inputs(graph), once());

    std::set<std::string> measured;
    std::size_t count = 0;
    for (const MeasuredOpCost& op : ops) {
        measured.insert(op.signature);
        count += op.count;
    }
    EXPECT_EQ(measured, signatures);
    EXPECT_EQ(measured.size(), ops.size());
    EXPECT_EQ(count, graph.ops().size());
}

TEST_F(CalibrateTest, times_go_to_the_direction_that_an_op_has) {
    const OpGraph graph = small_graph();

    for (const MeasuredOpCost& op :
         measure_ops(graph, make_inputs(graph), once())) {
        EXPECT_GT(op.forward_s, 0) << op.signature;
        EXPECT_EQ(op.backward_s > 0, op.cost.has_backward) << op.signature;
    }
}

TEST_F(CalibrateTest, inputs_of_another_size_are_refused) {
    const OpGraph graph = small_graph();
    const OpGraph other = make_gpt2(model, 3);
    auto inputs = make_inputs(graph);

    EXPECT_THROW(measure_ops(other, inputs, once()), InputError);
    inputs.pop_back();
    EXPECT_THROW(measure_ops(graph, inputs, once()), InputError);
}

}  // namespace
}  // namespace fusionllm::test
