#include "app/adaptation.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::test {
namespace {

//! Two sites and a link that is too slow for dense values.
RunInput make_input() {
    RunInput input;
    input.model.layers = 2;
    input.model.width = 64;
    input.model.heads = 2;
    input.model.context = 128;
    input.model.vocabulary = 64;
    input.train.batch = 8;
    input.topology.spec.sites = {{"a", 1}, {"b", 1}};
    input.topology.spec.default_link = {1e-3, 8e6};
    input.plan.partition = "equal_flops";
    input.compression.options.rule = "adaptive";
    input.compression.options.adapt = "on";
    return input;
}

struct Adapting {
    RunInput input = make_input();
    Job job = make_job(input, {}, std::nullopt);

    Adapting() {
        job.plan = plan_job(input, job).plan;
        job.plan.fences =
            with_dense_fences(job.plan.fences, job.graph, job.plan.placement);
    }

    //! As if each probed codec had these errors at every fence.
    std::vector<MeasuredError> errors(double of_others,
                                      const std::string& favourite,
                                      double of_favourite) const {
        std::vector<MeasuredError> errors;
        for (const Fence& fence : job.plan.fences) {
            for (const CodecChoice& codec :
                 probed_codecs(input.compression.options)) {
                for (const Direction direction :
                     {Direction::forward, Direction::backward}) {
                    const bool is_favourite =
                        to_text(codec).starts_with(favourite);
                    errors.push_back({fence.cut,
                                      fence.value,
                                      direction,
                                      codec,
                                      is_favourite ? of_favourite : of_others});
                }
            }
        }
        return errors;
    }

    StepMeasurements measured(double of_others,
                              const std::string& favourite,
                              double of_favourite) const {
        StepMeasurements measured;
        measured.errors = errors(of_others, favourite, of_favourite);
        return measured;
    }
};

TEST(Adaptation, changes_nothing_while_nothing_is_measured) {
    const Adapting run;
    Adaptation adaptation(
        run.job, run.input.compression.options, ClockKind::emulated);

    EXPECT_FALSE(adaptation.decide(run.job.plan.fences, StepMeasurements{}));
}

TEST(Adaptation, takes_the_kind_of_codec_that_was_found_to_err_least) {
    const Adapting run;
    for (const CodecId id : {CodecId::top_k, CodecId::subspace}) {
        const char* name = id == CodecId::top_k ? "top_k" : "subspace";
        Adaptation adaptation(
            run.job, run.input.compression.options, ClockKind::emulated);

        const auto fences = adaptation.decide(run.job.plan.fences,
                                              run.measured(0.95, name, 0.01));

        const auto& chosen = fences ? *fences : run.job.plan.fences;
        ASSERT_FALSE(chosen.empty());
        for (const Fence& fence : chosen) {
            EXPECT_EQ(fence.codec.id, id) << to_text(fence.codec);
        }
    }
}

TEST(Adaptation, keeps_what_is_about_as_good) {
    const Adapting run;
    Adaptation adaptation(
        run.job, run.input.compression.options, ClockKind::emulated);
    const auto first = adaptation.decide(run.job.plan.fences,
                                         run.measured(0.95, "top_k", 0.01));
    const auto now = first.value_or(run.job.plan.fences);

    EXPECT_FALSE(
        adaptation.decide(now, run.measured(0.9, "top_k", 0.011)).has_value());
}

TEST(Adaptation, goes_by_the_latest_errors_however_often_there_were_others) {
    const Adapting run;
    const auto choose = [&](int measurements) {
        Adaptation adaptation(
            run.job, run.input.compression.options, ClockKind::emulated);
        auto fences = run.job.plan.fences;
        for (int i = 0; i < measurements; ++i) {
            fences =
                adaptation.decide(fences, run.measured(0.95, "subspace", 0.01))
                    .value_or(fences);
        }
        return adaptation.decide(fences, run.measured(0.95, "top_k", 0.01))
            .value_or(fences);
    };

    EXPECT_EQ(choose(1), choose(20));
    EXPECT_EQ(choose(20).at(0).codec.id, CodecId::top_k);
}

TEST(Adaptation,
     compresses_more_where_a_real_link_is_slower_than_it_should_be) {
    const Adapting run;
    StepMeasurements slow = run.measured(0.3, "int", 0.05);
    slow.forward = {{.tried = 1e5, .seen = {}}};
    slow.backward = slow.forward;
    const auto ratio = [&](ClockKind clock) {
        Adaptation adaptation(run.job, run.input.compression.options, clock);
        const auto fences = adaptation.decide(run.job.plan.fences, slow)
                                .value_or(run.job.plan.fences);
        const Fence& fence = fences.at(0);
        return byte_ratio(fence.codec, shape_of(run.job.graph, fence.value));
    };

    EXPECT_GT(ratio(ClockKind::real), 1.5 * ratio(ClockKind::emulated));
}

TEST(Adaptation, does_not_wait_with_a_link_that_is_far_slower) {
    const Adapting run;
    StepMeasurements slow;  // no errors
    slow.forward = {{.tried = {}, .seen = 1e5}};
    slow.backward = slow.forward;
    Adaptation adaptation(
        run.job, run.input.compression.options, ClockKind::real);

    // A step or two may be disturbed.
    EXPECT_FALSE(adaptation.decide(run.job.plan.fences, slow));
    EXPECT_FALSE(adaptation.decide(run.job.plan.fences, slow));
    const auto fences = adaptation.decide(run.job.plan.fences, slow);
    ASSERT_TRUE(fences);
    EXPECT_FALSE(adaptation.decide(*fences, slow));
}

double rate_of(const LinkMemory& link) {
    return link.link().bandwidth_bytes_per_s;
}

TEST(LinkMemory, believes_what_was_tried_out_at_once) {
    LinkMemory link({0, 1e6});

    for (const double rate : {1e5, 3e6, 0.9e6}) {
        link.add({.tried = rate, .seen = {}});
        EXPECT_EQ(rate_of(link), rate);
    }
}

TEST(LinkMemory, believes_messages_only_that_are_far_slower_again_and_again) {
    LinkMemory link({0, 1e6});
    link.add({.tried = 1e6, .seen = {}});
    link.begin_choice();
    for (const double rate : {0.6e6, 5e6, 0.6e6, 0.7e6, 0.1e6}) {
        link.add({.tried = {}, .seen = rate});
        EXPECT_EQ(rate_of(link), 1e6);
    }
    for (int step = 0; step < 2; ++step) {
        link.add({.tried = {}, .seen = 0.1e6});
        EXPECT_FALSE(link.is_far_slower());
    }
    link.add({.tried = {}, .seen = 0.1e6});

    EXPECT_TRUE(link.is_far_slower());
    EXPECT_EQ(rate_of(link), 0.1e6);
    link.begin_choice();
    EXPECT_FALSE(link.is_far_slower());
}

TEST(LinkMemory, forgets_what_messages_showed_before_a_trial) {
    LinkMemory link({0, 1e6});
    for (int step = 0; step < 7; ++step) {
        link.add({.tried = {}, .seen = 0.1e6});
    }
    ASSERT_EQ(rate_of(link), 0.1e6);

    link.add({.tried = 1e6, .seen = 0.1e6});

    EXPECT_EQ(rate_of(link), 1e6);
}

TEST(FenceChanges, come_back_from_the_file_they_were_written_to) {
    const auto file = std::filesystem::path(testing::TempDir()) /
                      "fusionllm-adaptation-test.jsonl";
    std::ofstream(file)
        << R"({"step":3,"version":1,"fences":[{"cut":9,"value":4,)"
        << R"("codec":"int4/int3s"}]})" << '\n'
        << R"({"step":8,"version":2,"fences":[]})" << '\n'
        << R"({"step":9,"ver)";

    const auto changes = load_fence_changes(file);

    ASSERT_EQ(changes.size(), 2U);
    EXPECT_EQ(changes[0].fences.at(0).cut, 9U);
    EXPECT_EQ(to_text(changes[0].fences.at(0).codec), "int4/int3s");
    EXPECT_FALSE(find_change(changes, 2));
    EXPECT_EQ(find_change(changes, 3)->version, 1);
    EXPECT_EQ(find_change(changes, 7)->version, 1);
    EXPECT_EQ(find_change(changes, 100)->version, 2);
    std::ofstream(file) << "step 3\nstep 4\n";
    EXPECT_THROW(load_fence_changes(file), InputError);
    std::filesystem::remove(file);
}

}  // namespace
}  // namespace fusionllm::test
