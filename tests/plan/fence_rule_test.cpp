#include "fusionllm/plan/fence_rule.hpp"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "fusionllm/graph/gpt2.hpp"
#include "fusionllm/graph/graph_builder.hpp"
#include "fusionllm/graph/resnet.hpp"
#include "fusionllm/plan/partition.hpp"
#include "fusionllm/wire/message_header.hpp"

#include "fence_case.hpp"
#include "random_case.hpp"

namespace fusionllm::test {
namespace {

// So many micro-batches that filling the pipeline does not count.
constexpr int many = 1'000'000'000;
const FenceTask interleaved{Objective::interleaved, LinkTime::busy, many};
const FenceTask sweeps{Objective::sweeps, LinkTime::busy, many};

CompressionOptions rule(const char* name) {
    CompressionOptions options;
    options.rule = name;
    return options;
}

//! The codecs at the cuts of the case, "fp32" where there is no fence.
std::vector<std::string> codecs(const FenceCase& fences_of,
                                const CompressionOptions& options,
                                const FenceTask& task = interleaved) {
    const CostModel model = fences_of.model();
    const auto fences = choose_fences(
        model, fences_of.placement(), task, options, ErrorTable());
    std::vector<std::string> texts(model.num_ops() - 1, "fp32");
    for (const Fence& fence : fences) {
        texts.at(fence.cut - 1) = to_text(fence.codec);
    }
    return texts;
}

using Texts = std::vector<std::string>;

double message_bytes(const std::string& codec, Direction direction) {
    const auto shape = FenceCase::shape();
    return static_cast<double>(encoded_message_bytes(
        resolve(parse_codec_choice(codec, 1), shape).of(direction), shape));
}

TEST(FenceRuleTest, none_and_cut_give_no_fences) {
    FenceCase step(3);
    step.set_dense_s(0, 100);

    EXPECT_EQ(codecs(step, rule("none")), (Texts{"fp32", "fp32"}));
    EXPECT_EQ(codecs(step, rule("cut")), (Texts{"fp32", "fp32"}));
}

TEST(FenceRuleTest, uniform_compresses_every_cut_as_it_is_told) {
    FenceCase step(3);
    step.set_dense_s(0, 100);
    CompressionOptions options = rule("uniform");
    options.element_ratio = 20;

    EXPECT_EQ(codecs(step, options),
              (Texts{"top_k(20,int4)", "top_k(20,int4)"}));

    options.codec = "int8/int4s";
    EXPECT_EQ(codecs(step, options), (Texts{"int8/int4s", "int8/int4s"}));
}

TEST(FenceRuleTest, paper_compresses_in_proportion_to_the_links_time) {
    FenceCase step(5);
    step.set_dense_s(0, 8);
    step.set_dense_s(1, 4);
    step.set_dense_s(2, 0.2);
    step.set_dense_s(3, 0.1);
    CompressionOptions options = rule("paper");
    options.max_byte_ratio = 100;

    // max(1, 3 * 100 * R / max R): 300, 150, 7.5, 3.75.
    EXPECT_EQ(codecs(step, options),
              (Texts{"paper(300)", "paper(150)", "paper(7.5)", "paper(3.75)"}));
}

TEST(FenceRuleTest, paper_is_dense_where_it_would_grow) {
    FenceCase step(4);
    step.set_dense_s(0, 100);
    step.set_dense_s(1, 1);    // 3: 12 bytes for 4, of a third: no gain
    step.set_dense_s(2, 0.5);  // 1.5 would be twice as long
    CompressionOptions options = rule("paper");

    EXPECT_EQ(codecs(step, options), (Texts{"paper(300)", "fp32", "fp32"}));
}

TEST(FenceRuleTest, paper_counts_latency_and_both_directions) {
    FenceCase step(3);
    step.link(0, 1) = {3, (FenceCase::dense_bytes + 128) / 2};
    step.link(1, 0) = {4, (FenceCase::dense_bytes + 128) / 1};
    step.link(1, 2) = {0, (FenceCase::dense_bytes + 128) / 4};
    step.link(2, 1) = {0, (FenceCase::dense_bytes + 128) / 1};

    // 10 s and 5 s
    EXPECT_EQ(codecs(step, rule("paper")), (Texts{"paper(300)", "paper(150)"}));
}

TEST(FenceRuleTest, bottleneck_takes_the_least_ratio_that_fits) {
    FenceCase step(3);
    step.set_dense_s(0, 30);  // ten times the slowest stage, of 3 s
    step.set_dense_s(1, 3);

    const Texts texts = codecs(step, rule("bottleneck"));

    ASSERT_TRUE(texts[0].starts_with("top_k(")) << texts[0];
    EXPECT_EQ(texts[1], "fp32");
    const double bytes_per_s = (FenceCase::dense_bytes + 128) / 30;
    CodecChoice codec = parse_codec_choice(texts[0], 1);
    EXPECT_LE(message_bytes(texts[0], Direction::forward), 3 * bytes_per_s);
    EXPECT_LE(message_bytes(texts[0], Direction::backward), 3 * bytes_per_s);
    codec.element_ratio /= 1.02;
    EXPECT_GT(message_bytes(to_text(codec), Direction::forward),
              3 * bytes_per_s);
}

TEST(FenceRuleTest, bottleneck_compresses_with_the_codec_it_is_given) {
    FenceCase step(2);
    step.set_dense_s(0, 90);
    CompressionOptions options = rule("bottleneck");
    options.codec = "subspace";

    const Texts texts = codecs(step, options);

    EXPECT_TRUE(texts[0].starts_with("subspace(")) << texts[0];
}

TEST(FenceRuleTest, adaptive_takes_the_least_error_that_fits) {
    FenceCase step(7);
    step.set_dense_s(0, 3);    // fits dense
    step.set_dense_s(1, 5.9);  // half of it does
    step.set_dense_s(2, 11);   // a quarter
    step.set_dense_s(3, 22);   // an eighth
    step.set_dense_s(4, 36);   // a twelfth
    step.set_dense_s(5, 160);  // a 53rd

    const Texts texts = codecs(step, rule("adaptive"));

    EXPECT_EQ(texts[0], "fp32");
    EXPECT_EQ(texts[1], "bf16");
    EXPECT_EQ(texts[2], "int8/int8s");
    EXPECT_EQ(texts[3], "subspace(1.19,graded/int4s)");
    EXPECT_EQ(texts[4], "subspace(2,graded/int4s)");
    EXPECT_EQ(texts[5], "subspace(13.5,graded6/int4s)");
}

TEST(FenceRuleTest, adaptive_follows_the_errors_that_were_measured) {
    FenceCase step(2);
    step.set_dense_s(0, 36);
    const CostModel model = step.model();
    // Nothing to gain from components that are all alike.
    const ErrorTable errors({{1,
                              model.values_at(1)[0].value,
                              Direction::forward,
                              parse_codec_choice("subspace(2,graded)", 1),
                              0.7}});

    const auto fences = choose_fences(
        model, step.placement(), interleaved, rule("adaptive"), errors);

    ASSERT_EQ(fences.size(), 1u);
    EXPECT_FALSE(to_text(fences[0].codec).starts_with("subspace("))
        << to_text(fences[0].codec);
}

TEST(FenceRuleTest, adaptive_compresses_the_slow_direction) {
    FenceCase step(3);
    step.link(0, 1) = {0, (FenceCase::dense_bytes + 128) / 11};
    step.link(2, 1) = {0, (FenceCase::dense_bytes + 128) / 27};

    const Texts texts = codecs(step, rule("adaptive"));

    EXPECT_EQ(texts[0], "int8/fp32");
    // Gradients in three bits would cost more than both directions in this.
    EXPECT_EQ(texts[1], "subspace(1.68,graded6/int4s)");
}

TEST(FenceRuleTest, adaptive_compresses_by_the_codec_it_is_given) {
    FenceCase step(4);
    step.set_dense_s(0, 3.1);
    step.link(1, 2) = {0, (FenceCase::dense_bytes + 128) / 8};
    CompressionOptions options = rule("adaptive");
    options.codec = "int4/int3s";

    EXPECT_EQ(codecs(step, options),
              (Texts{"int4/int3s", "int4/fp32", "fp32"}));

    options.codec = "top_k(5,int8)";
    EXPECT_EQ(codecs(step, options),
              (Texts{"top_k(5,int8)", "top_k(5,int8)", "fp32"}));
}

TEST(FenceRuleTest, a_link_that_cannot_be_helped_is_the_target_of_all) {
    FenceCase step(3);
    step.set_dense_s(0, 3000);
    step.set_dense_s(1, 29);
    CompressionOptions options = rule("adaptive");
    options.max_byte_ratio = 100;

    const Texts texts = codecs(step, options);

    const double least_s = message_bytes(texts[0], Direction::forward) * 3000 /
                           (FenceCase::dense_bytes + 128);
    EXPECT_GT(least_s, 29);
    EXPECT_EQ(texts[1], "fp32");
}

TEST(FenceRuleTest, no_value_is_compressed_beyond_the_limit) {
    FenceCase step(2);
    step.set_dense_s(0, 1e6);
    const auto ratio = [&](const char* name, double limit) {
        CompressionOptions options = rule(name);
        options.max_byte_ratio = limit;
        return byte_ratio(parse_codec_choice(codecs(step, options)[0], 1),
                          FenceCase::shape());
    };

    for (const double limit : {1.0, 1.5, 3.0, 7.9, 16.0, 100.0}) {
        EXPECT_LE(ratio("adaptive", limit), limit);
        EXPECT_GE(ratio("adaptive", limit), limit * 0.65) << limit;
        EXPECT_LE(ratio("bottleneck", limit), limit);
        // But for whole elements.
        EXPECT_NEAR(ratio("paper", limit), limit, 0.01 * limit);
    }
    EXPECT_GE(ratio("bottleneck", 16), 15.5);
    EXPECT_GE(ratio("bottleneck", 100), 97);
    // Top-k in 4 bits is never that mild.
    EXPECT_EQ(ratio("bottleneck", 3), 1);
}

TEST(FenceRuleTest, no_value_has_more_than_the_largest_error) {
    FenceCase step(2);
    step.set_dense_s(0, 1e6);
    CompressionOptions options = rule("adaptive");

    options.max_error = 0.001;
    EXPECT_EQ(codecs(step, options), Texts{"fp32"});
    options.max_error = 0.01;
    EXPECT_EQ(codecs(step, options), Texts{"int8/int8s"});
    options.max_error = 0.3;
    EXPECT_EQ(codecs(step, options), Texts{"subspace(4,graded/int4s)"});
}

TEST(FenceRuleTest, directions_have_targets_of_their_own_in_sweeps) {
    FenceCase step(2);
    step.set_dense_s(0, 1.9);  // forwards take 1 s, backwards 2 s

    EXPECT_EQ(codecs(step, rule("adaptive")), Texts{"fp32"});
    EXPECT_EQ(codecs(step, rule("adaptive"), sweeps), Texts{"bf16/fp32"});
}

TEST(FenceRuleTest, latency_counts_where_it_is_waited_for) {
    FenceCase step(2);
    step.set_dense_s(0, 2);
    step.link(0, 1).latency_s = 2.5;

    EXPECT_EQ(codecs(step, rule("adaptive")), Texts{"fp32"});
    const CostModel model = step.model();
    const FenceRule adaptive(model, rule("adaptive"), ErrorTable());
    const auto fences =
        adaptive.choose_again(step.placement(),
                              {Objective::interleaved, LinkTime::whole, many},
                              {},
                              {});
    ASSERT_EQ(fences.size(), 1u);
    // 0.5 s, and what encoding takes, are left for 2 s.
    EXPECT_EQ(to_text(fences[0].codec), "int8/fp32");
}

TEST(FenceRuleTest, links_that_share_a_line_share_its_bandwidth) {
    // Stages 0 and 2 are at one site: what they send shares its line to the
    // other one.
    FenceCase step(4);
    step.topology.devices[2].site = "site0";
    step.topology.devices[3].site = "site1";
    step.set_dense_s(0, 3);

    // 1 -> 2 is the other direction of the line, with the two gradients of
    // 0 -> 1 and 2 -> 3 on it, too: three messages of 3 s in 3 s.
    EXPECT_EQ(codecs(step, rule("adaptive")),
              (Texts{"int8/int8s", "int8/int8s", "int8/int8s"}));
    // In sweeps 1 s for two messages of 3 s forward, or one; 2 s backward.
    EXPECT_EQ(codecs(step, rule("adaptive"), sweeps),
              (Texts{"subspace(1,graded/int4s)",
                     "int8/bf16",
                     "subspace(1,graded/int4s)"}));
}

TEST(FenceRuleTest, encoding_counts_for_the_stages) {
    FenceCase step(2);
    step.set_dense_s(0, 4);
    EXPECT_EQ(codecs(step, rule("adaptive")), Texts{"bf16"});

    // A copy of a message takes 5 s, so that nothing on the link matters.
    step.topology.kinds[0].copy_bytes_per_s = FenceCase::dense_bytes / 5;
    EXPECT_EQ(codecs(step, rule("adaptive")), Texts{"fp32"});
    EXPECT_EQ(codecs(step, rule("bottleneck")), Texts{"fp32"});
}

TEST(FenceRuleTest, never_takes_longer_than_dense) {
    // The link is slower than the stages, but no codec is worth its time.
    FenceCase step(2);
    step.set_dense_s(0, 3.3);
    step.topology.kinds[0].copy_bytes_per_s = FenceCase::dense_bytes / 0.1;
    CompressionOptions options = rule("adaptive");
    options.codec = "int8";

    EXPECT_EQ(codecs(step, options), Texts{"fp32"});
}

TEST(FenceRuleTest, a_small_gain_is_not_worth_a_large_error) {
    // 0.1% of a long step; with few micro-batches filling the pipeline counts.
    FenceCase step(2);
    step.set_dense_s(0, 3.003);
    CompressionOptions options = rule("adaptive");
    options.codec = "top_k(5,int8)";

    EXPECT_EQ(
        codecs(step, options, {Objective::interleaved, LinkTime::busy, 8}),
        Texts{"top_k(5,int8)"});
    EXPECT_EQ(
        codecs(step, options, {Objective::interleaved, LinkTime::busy, 10'000}),
        Texts{"fp32"});
    options.error_price = 0;
    EXPECT_EQ(
        codecs(step, options, {Objective::interleaved, LinkTime::busy, 10'000}),
        Texts{"top_k(5,int8)"});
}

TEST(FenceRuleTest, adaptive_goes_further_where_filling_is_worth_the_error) {
    // Three links that are no bottleneck take half as long as their stages.
    FenceCase step(4);
    for (const int link : {0, 1, 2}) {
        step.set_dense_s(link, 1.5);
    }
    const auto with = [&](int micro_batches, double price) {
        CompressionOptions options = rule("adaptive");
        options.error_price = price;
        return codecs(step,
                      options,
                      {Objective::interleaved, LinkTime::busy, micro_batches});
    };

    for (const std::string& codec : with(4, 5)) {
        EXPECT_NE(codec, "fp32");
    }
    EXPECT_EQ(with(many, 5), (Texts{"fp32", "fp32", "fp32"}));
    EXPECT_EQ(with(4, 1e6), (Texts{"fp32", "fp32", "fp32"}));
    // What the user has named is for the bottleneck alone, and so are ratios.
    EXPECT_EQ(codecs(step,
                     rule("bottleneck"),
                     {Objective::interleaved, LinkTime::busy, 4}),
              (Texts{"fp32", "fp32", "fp32"}));
    CompressionOptions named = rule("adaptive");
    named.codec = "int8";
    EXPECT_EQ(codecs(step, named, {Objective::interleaved, LinkTime::busy, 4}),
              (Texts{"fp32", "fp32", "fp32"}));
}

//! The least priced step of all pairs of options at two cuts.
double best_of_all(const CostModel& model,
                   const FenceRule& adaptive,
                   const Placement& placement,
                   const FenceTask& task) {
    double best = std::numeric_limits<double>::infinity();
    for (const CutOption& first : adaptive.options_at(1)) {
        for (const CutOption& second : adaptive.options_at(2)) {
            std::vector<Fence> fences;
            const CutOption* options[] = {&first, &second};
            for (std::size_t cut : {1, 2}) {
                if (!(options[cut - 1]->codec == CodecChoice{})) {
                    fences.push_back({cut,
                                      model.values_at(cut)[0].value,
                                      options[cut - 1]->codec});
                }
            }
            best = std::min(
                best,
                adaptive.price(fences) *
                    analytic_step_s(model.step_costs(placement, fences),
                                    model.network(),
                                    task.micro_batches,
                                    task.objective));
        }
    }
    return best;
}

TEST(FenceRuleTest, adaptive_is_near_the_best_of_all_choices) {
    std::mt19937 random(3);
    std::uniform_real_distribution<double> logarithm(-1, 2);
    for (int i = 0; i < 40; ++i) {
        FenceCase step(3);
        step.set_dense_s(0, std::pow(10, logarithm(random)));
        step.set_dense_s(1, std::pow(10, logarithm(random)));
        step.topology.kinds[0].copy_bytes_per_s = FenceCase::dense_bytes * 50;
        const FenceTask task{
            i % 2 == 0 ? Objective::interleaved : Objective::sweeps,
            LinkTime::busy,
            4 << (i % 5)};
        const CostModel model = step.model();
        const FenceRule adaptive(model, rule("adaptive"), ErrorTable());
        const Placement placement = step.placement();

        const auto fences = adaptive.choose(placement, task);

        const double seconds =
            adaptive.price(fences) *
            analytic_step_s(model.step_costs(placement, fences),
                            model.network(),
                            task.micro_batches,
                            task.objective);
        EXPECT_LE(seconds, 1.05 * best_of_all(model, adaptive, placement, task))
            << "case " << i;
    }
}

TEST(FenceRuleTest, every_value_costs_its_squared_error) {
    FenceCase step(2);
    const CostModel model = step.model();
    CompressionOptions options = rule("adaptive");
    options.error_price = 0.5;
    const FenceRule adaptive(model, options, ErrorTable());
    const CodecChoice int4 = parse_codec_choice("int4/fp32", 1);
    const std::vector<Fence> fences{{1, ValueId(7), int4},
                                    {1, ValueId(8), int4}};

    EXPECT_EQ(adaptive.price({}), 1);
    EXPECT_DOUBLE_EQ(
        adaptive.price(fences),
        1 + 0.5 * 2 * std::pow(prior_error(int4, Direction::forward), 2));
    EXPECT_EQ(FenceRule(model, rule("uniform"), ErrorTable()).price(fences), 1);
}

TEST(FenceRuleTest, measured_links_and_stages_replace_estimates) {
    FenceCase step(3);
    const CostModel model = step.model();
    const FenceRule adaptive(model, rule("adaptive"), ErrorTable());
    const double dense = FenceCase::dense_bytes + 128;
    MeasuredStep measured;
    measured.forward = {{0, dense / 3}, {0, dense / 3}};
    measured.backward = {{0, dense / 5}, {0, dense / 2}};

    const auto by_links =
        adaptive.choose_again(step.placement(), interleaved, measured, {});
    measured.stages = {{1, 1, 0}, {1, 1, 0}, {1, 1, 0}};
    const auto by_both =
        adaptive.choose_again(step.placement(), interleaved, measured, {});

    ASSERT_EQ(by_links.size(), 1u);
    EXPECT_EQ(by_links[0].cut, 1u);
    EXPECT_EQ(to_text(by_links[0].codec), "fp32/bf16");
    ASSERT_EQ(by_both.size(), 2u);
    EXPECT_EQ(to_text(by_both[0].codec), "bf16/int8s");
    EXPECT_EQ(to_text(by_both[1].codec), "bf16/fp32");
}

TEST(FenceRuleTest, a_codec_in_use_stays_while_it_nearly_fits) {
    FenceCase step(2);
    const CostModel model = step.model();
    const FenceRule adaptive(model, rule("adaptive"), ErrorTable());
    const double dense = FenceCase::dense_bytes + 128;
    const auto choose = [&](double dense_s, const char* now) {
        const Link link{0, dense / dense_s};
        const auto fences = adaptive.choose_again(
            step.placement(),
            interleaved,
            {{}, {link}, {link}},
            {{1, model.values_at(1)[0].value, parse_codec_choice(now, 1)}});
        return fences.empty() ? "fp32" : to_text(fences[0].codec);
    };

    // bf16 takes half of the dense time, of which 3 s are allowed.
    EXPECT_EQ(choose(5.9, "int8"), "bf16");
    EXPECT_EQ(choose(6.4, "bf16"), "bf16");
    EXPECT_EQ(choose(6.4, "int4"), "int8/int8s");
    EXPECT_EQ(choose(6.8, "bf16"), "int8/int8s");
    // A milder one is taken when it has clearly less error.
    EXPECT_EQ(choose(2.9, "bf16"), "fp32");
    const char* near = "subspace(2,graded/int4s)";
    EXPECT_EQ(choose(29, near), near);
    EXPECT_EQ(choose(29, "top_k_row(2,int4/int4s)"),
              "subspace(1.68,graded/int4s)");
}

TEST(FenceRuleTest, measured_errors_change_the_choice) {
    FenceCase step(2);
    step.set_dense_s(0, 90);
    const CostModel model = step.model();
    const auto choose = [&](const ErrorTable& errors) {
        const auto fences = choose_fences(
            model, step.placement(), interleaved, rule("adaptive"), errors);
        return fences.empty() ? "" : to_text(fences[0].codec);
    };
    const std::string prior = choose(ErrorTable());
    ASSERT_TRUE(prior.starts_with("subspace(")) << prior;
    const Fence fence = choose_fences(model,
                                      step.placement(),
                                      interleaved,
                                      rule("adaptive"),
                                      ErrorTable())[0];
    const auto at = [&](Direction direction, double error) {
        return MeasuredError{1, fence.value, direction, fence.codec, error};
    };

    // Subspaces turn out to be useless here.
    const std::string measured = choose(ErrorTable(
        {at(Direction::forward, 0.99), at(Direction::backward, 0.99)}));

    EXPECT_EQ(measured, "int4/int4s");
}

TEST(FenceRuleTest, small_values_that_would_grow_stay_dense) {
    GraphBuilder builder("small");
    const ValueId w = builder.add_parameter(
        "w", {DType::f32, {2}}, {Initializer::Kind::normal, 0.02});
    const ValueId small =
        builder.add_op("small", "aten::relu", {w}, {DType::f32, {2}});
    const ValueId large =
        builder.add_op("large", "aten::relu", {small}, {DType::f32, {1000}});
    builder.set_loss(
        builder.add_op("loss", "aten::mul", {large, small}, {DType::f32, {}}));
    const OpGraph graph = builder.build();
    const CostModel model(graph,
                          estimate_workload(graph),
                          make_topology({{"a", 1}, {"b", 1}}),
                          0);
    const Placement placement{
        {{{0, 2}, {DeviceId(0)}}, {{2, 3}, {DeviceId(1)}}}};
    const FenceRule paper(model, rule("paper"), ErrorTable());

    const auto fences = paper.choose(placement, interleaved);

    ASSERT_EQ(model.values_at(2).size(), 2u);
    ASSERT_EQ(fences.size(), 1u);
    EXPECT_EQ(fences[0].value, large);
}

void expect_values_of(const OpGraph& graph) {
    const CostModel model(
        graph, estimate_workload(graph), make_uniform_topology(1), 0);
    for (std::size_t cut = 0; cut <= graph.ops().size(); ++cut) {
        std::vector<ValueId> values;
        for (const CutValue& value : model.values_at(cut)) {
            values.push_back(value.value);
            EXPECT_EQ(model.shapes()[value.shape],
                      shape_of(graph, value.value));
        }
        ASSERT_EQ(values, compressible_values(graph, cut)) << "cut " << cut;
    }
}

TEST(CostModelTest, knows_the_compressible_values_of_every_cut) {
    expect_values_of(make_gpt2({2, 64, 2, 16, 50, 0.1, true}, 3));
    expect_values_of(make_resnet({18, 10, 32, ResnetStem::cifar}, 2));
    std::mt19937 random(3);
    CaseShape shape;
    shape.num_ops = 30;
    expect_values_of(make_random_graph(random, shape));
}

TEST(CostModelTest, fences_change_bytes_and_seconds_as_their_codec_says) {
    FenceCase step(3);
    const double copy_s = 0.01;
    step.topology.kinds[0].copy_bytes_per_s = FenceCase::dense_bytes / copy_s;
    const CostModel model = step.model();
    const Placement placement = step.placement();
    const ValueId value = model.values_at(2)[0].value;
    const StepCosts dense = model.step_costs(placement);

    const StepCosts costs = model.step_costs(
        placement,
        std::vector<Fence>{{2, value, parse_codec_choice("int4/bf16", 1)}});

    EXPECT_EQ(costs.forward[0], dense.forward[0]);
    EXPECT_EQ(costs.forward[1].bytes[0],
              message_bytes("int4", Direction::forward));
    EXPECT_EQ(costs.backward[1].bytes[0],
              message_bytes("bf16", Direction::backward));
    const double header_s = copy_s * 128 / FenceCase::dense_bytes;
    EXPECT_EQ(costs.stages[0], dense.stages[0]);
    // Encoding int4 takes three copies, decoding two, bf16 one each.
    EXPECT_NEAR(costs.stages[1].forward_s - dense.stages[1].forward_s,
                2 * copy_s - header_s,
                1e-9);
    EXPECT_NEAR(costs.stages[2].forward_s - dense.stages[2].forward_s,
                1 * copy_s - header_s,
                1e-9);
    EXPECT_NEAR(costs.stages[1].backward_s - dense.stages[1].backward_s,
                -header_s,
                1e-9);
    EXPECT_NEAR(costs.stages[2].backward_s - dense.stages[2].backward_s,
                -header_s,
                1e-9);
}

TEST(CostModelTest, a_fence_inside_a_stage_costs_encoding_and_decoding) {
    FenceCase step(3);
    const double copy_s = 0.01;
    step.topology.kinds[0].copy_bytes_per_s = FenceCase::dense_bytes / copy_s;
    const CostModel model = step.model();
    const Placement one{{{{0, 3}, {DeviceId(0)}}}};
    const ValueId value = model.values_at(1)[0].value;

    const StepCosts costs = model.step_costs(
        one,
        std::vector<Fence>{{1, value, parse_codec_choice("top_k(8,int4)", 1)}});

    const StepCosts dense = model.step_costs(one);
    EXPECT_NEAR(costs.stages[0].forward_s - dense.stages[0].forward_s,
                4 * copy_s,
                1e-9);
    EXPECT_NEAR(costs.stages[0].backward_s - dense.stages[0].backward_s,
                1.5 * copy_s,
                1e-9);
}

//! Everything that a rule promises, on one case.
void expect_promises(const CostModel& model,
                     const Placement& placement,
                     const CompressionOptions& options,
                     const FenceTask& task) {
    const FenceRule rule(model, options, ErrorTable());
    const auto fences = rule.choose(placement, task);
    const auto step_s = [&](const std::vector<Fence>& some) {
        return analytic_step_s(model.step_costs(placement, some),
                               model.network(),
                               task.micro_batches,
                               task.objective);
    };
    EXPECT_EQ(fences, rule.choose(placement, task));
    EXPECT_LE(step_s(fences), step_s({}));
    for (const Fence& fence : fences) {
        MatrixShape shape;
        for (const CutValue& value : model.values_at(fence.cut)) {
            if (value.value == fence.value) {
                shape = model.shapes()[value.shape];
            }
        }
        ASSERT_GT(shape.size(), 0u);
        EXPECT_LE(byte_ratio(fence.codec, shape), options.max_byte_ratio);
        EXPECT_GT(byte_ratio(fence.codec, shape), 1);
        if (options.max_error > 0) {
            EXPECT_LE(prior_error(fence.codec, Direction::forward),
                      options.max_error);
            EXPECT_LE(prior_error(fence.codec, Direction::backward),
                      options.max_error);
        }
    }
}

TEST(FenceRuleTest, keeps_its_promises_on_random_cases) {
    std::mt19937 random(48);
    int num_compressed = 0;
    for (int trial = 0; trial < 300; ++trial) {
        CaseShape shape;
        shape.num_ops = 6 + static_cast<int>(random() % 20);
        shape.num_devices = 2 + static_cast<int>(random() % 5);
        shape.lines =
            trial % 2 == 0 ? CaseShape::Lines::own : CaseShape::Lines::shared;
        const CostModel model = make_random_model(random, shape);
        const Placement placement = place_equal_ops(model, {});
        CompressionOptions options =
            rule(trial % 3 == 0 ? "bottleneck" : "adaptive");
        options.max_byte_ratio = 2 + static_cast<double>(random() % 99);
        options.max_error = trial % 4 == 0 ? 0.5 : 0;
        const FenceTask task{
            random() % 2 == 0 ? Objective::interleaved : Objective::sweeps,
            LinkTime::busy,
            1 + static_cast<int>(random() % 24)};

        expect_promises(model, placement, options, task);

        num_compressed +=
            choose_fences(model, placement, task, options, ErrorTable()).empty()
                ? 0
                : 1;
    }
    // Neither all nor nothing, else it says little.
    EXPECT_GT(num_compressed, 100);
    EXPECT_LT(num_compressed, 300);
}

TEST(CodecErrorTest, quantisers_come_first_then_top_k_then_subspaces) {
    // Of equal bytes, as in the study.
    const auto error = [](const char* text) {
        return prior_error(parse_codec_choice(text, 1), Direction::forward);
    };

    EXPECT_EQ(error("fp32"), 0);
    EXPECT_LT(error("bf16"), error("int8"));
    EXPECT_LT(error("int8"), error("int4"));
    EXPECT_LT(error("int4"), error("top_k(1.5,int4)"));
    EXPECT_LT(error("top_k(2.8,int4)"), error("subspace(2.06,int4)"));
    EXPECT_GT(error("top_k(6.5,int4)"), error("subspace(4.1,int4)"));
    EXPECT_GT(error("top_k(23,int4)"), error("subspace(13,int4)"));
    EXPECT_EQ(error("int4s"), error("int4"));
    EXPECT_GT(error("int3s"), error("int3"));
}

TEST(CodecErrorTest, subspaces_of_maps_leave_more_out) {
    const auto codec = [](const char* text) {
        return parse_codec_choice(text, 1);
    };
    for (const char* text :
         {"subspace(1.4,graded/int4s)", "subspace(4,graded6/int4s)"}) {
        for (const auto way : {Direction::forward, Direction::backward}) {
            EXPECT_GT(prior_error(codec(text), way, RowsOf::maps),
                      2 * prior_error(codec(text), way))
                << text;
        }
    }
    EXPECT_LE(
        prior_error(
            codec("subspace(20,graded)"), Direction::forward, RowsOf::maps),
        1);
    EXPECT_EQ(prior_error(codec("int4"), Direction::forward, RowsOf::maps),
              prior_error(codec("int4"), Direction::forward));
}

TEST(ErrorTableTest, knows_feature_maps_by_the_graph) {
    const OpGraph images = make_resnet({.depth = 18}, 2);
    const ErrorTable table(images);
    for (const Op& op : images.ops()) {
        for (const ValueId value : op.outputs) {
            EXPECT_EQ(table.rows_of(value) == RowsOf::maps,
                      images.value(value).type.sizes.size() == 4)
                << op.name;
        }
    }
    // Heads of attention have four dimensions, too.
    const OpGraph tokens = make_gpt2(
        {.layers = 2, .width = 8, .heads = 2, .context = 4, .vocabulary = 9},
        2);
    EXPECT_TRUE(feature_maps(tokens).empty());
}

TEST(ErrorTableTest, patches_of_an_image_are_tokens_once_they_are_moved) {
    GraphBuilder graph("patches");
    const TensorType map{DType::f32, {2, 8, 16}};
    const TensorType rows{DType::f32, {2, 16, 8}};
    const ValueId x = graph.add_input("x", {DType::f32, {2, 3, 64}});
    const ValueId weight = graph.add_parameter(
        "weight", {DType::f32, {8, 3, 4}}, {Initializer::Kind::normal, 1});
    const ValueId patches =
        graph.add_op("patches", "aten::conv1d", {x, weight}, map);
    const ValueId active = graph.add_op("active", "aten::relu", {patches}, map);
    const ValueId moved =
        graph.add_op("moved",
                     "aten::permute",
                     {active, std::vector<std::int64_t>{0, 2, 1}},
                     rows);
    const ValueId tokens = graph.add_op("tokens", "aten::relu", {moved}, rows);
    graph.set_loss(
        graph.add_op("loss", "aten::mean", {tokens}, {DType::f32, {}}));
    const OpGraph built = graph.build();

    std::vector<std::string> names;
    for (const ValueId id : feature_maps(built)) {
        names.push_back(built.value(id).name);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"patches", "active"}));
}

TEST(ErrorTableTest, gradients_count_little_unless_they_lose_small_numbers) {
    const ValueId value(7);
    const ErrorTable table;
    const auto both = [&](const char* text) {
        return table.both_errors(3, value, parse_codec_choice(text, 1));
    };

    EXPECT_EQ(both("fp32"), 0);
    EXPECT_EQ(both("int4/fp32"), 0.118);
    EXPECT_EQ(both("fp32/int4"), 0.118);
    EXPECT_NEAR(both("fp32/int4s"), 0.15 * 0.118, 1e-9);
    // The gradient of half of the components is the true one of what came, but
    // for its rounding.
    EXPECT_NEAR(both("subspace(2,fp32/int4s)"),
                std::hypot(both("subspace(2,fp32/fp32)"), both("fp32/int4s")),
                1e-3);
    EXPECT_LT(both("int8/int4s"), both("int4/int8"));
    EXPECT_GT(both("paper(1.5)"), both("top_k(1.5,fp32)"));
}

TEST(ErrorTableTest, extrapolates_what_was_measured_to_codecs_alike) {
    const auto codec = [](const char* text) {
        return parse_codec_choice(text, 1);
    };
    const ValueId value(7);
    const ErrorTable table(
        {{3, value, Direction::forward, codec("int8"), 0.013},
         {3, value, Direction::forward, codec("top_k(16,int4)"), 0.4}});
    const auto error = [&](std::size_t cut, Direction way, const char* text) {
        return table.error(cut, value, way, codec(text));
    };
    const auto forward = Direction::forward;

    EXPECT_TRUE(table.has_any(3, value));
    EXPECT_FALSE(table.has_any(4, value));
    EXPECT_FALSE(table.has_any(3, ValueId(8)));
    EXPECT_EQ(error(3, forward, "int8"), 0.013);
    EXPECT_NEAR(error(3, forward, "int4"), 2 * 0.118, 1e-12);
    EXPECT_EQ(error(3, forward, "top_k(16,int4)"), 0.4);
    EXPECT_LT(error(3, forward, "top_k(32,int4)"), 0.5);
    EXPECT_EQ(error(3, forward, "bf16"), prior_error(codec("bf16"), forward));
    EXPECT_EQ(error(3, Direction::backward, "int8"), 0.0065);
    EXPECT_EQ(error(4, forward, "int8"), 0.0065);
}

TEST(ErrorTableTest, keeps_the_last_error_of_a_codec_in_a_direction) {
    const auto entry = [](std::size_t cut, const char* text, double error) {
        return MeasuredError{cut,
                             ValueId(1),
                             Direction::forward,
                             parse_codec_choice(text, 1),
                             error};
    };
    const std::vector<MeasuredError> now = {entry(1, "subspace(4,graded5)", .2),
                                            entry(1, "int8", .01),
                                            entry(2, "int8", .02)};
    std::vector<MeasuredError> all;
    for (int step = 0; step < 9; ++step) {
        all.push_back(entry(1, "subspace(4,graded5)", .9));
        all.push_back(entry(2, "int8", .5));
    }
    all.insert(all.end(), now.begin(), now.end());

    const ErrorTable table(all);

    EXPECT_EQ(table, ErrorTable(now));
    EXPECT_EQ(table.measured().size(), now.size());
    // Others are expected to err as their like do now.
    const CodecChoice alike = parse_codec_choice("subspace(8,graded5)", 1);
    EXPECT_EQ(table.error(1, ValueId(1), Direction::forward, alike),
              ErrorTable(now).error(1, ValueId(1), Direction::forward, alike));
}

}  // namespace
}  // namespace fusionllm::test
