// What must not show: how fast messages are; and what must: a failing stage.

#include "fusionllm/runtime/pipeline.hpp"

#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "fusionllm/comm/loopback.hpp"
#include "fusionllm/util/error.hpp"

#include "training.hpp"

namespace fusionllm::test {
namespace {

//! A message that is looked for some times before it is there.
class LateOperation final : public detail::Operation {
public:
    LateOperation(Request request, int num_tests)
        : request_(std::move(request)), num_tests_(num_tests) {}

    bool test() override {
        if (num_tests_ > 0) {
            --num_tests_;
            return false;
        }
        return request_.test();
    }
    Buffer take() override { return request_.take(); }
    void leak() override {}

private:
    Request request_;
    int num_tests_;
};

//! Delays each message by a random number of tests, a function of the seed.
class LateTransport final : public Transport {
public:
    LateTransport(Transport& transport, std::uint64_t seed, int max_tests)
        : transport_(transport),
          random_(seed + 1000 * static_cast<std::uint64_t>(transport.rank())),
          max_tests_(max_tests) {}

    int rank() const override { return transport_.rank(); }
    int size() const override { return transport_.size(); }
    Request send(int destination, Channel channel, Buffer message) override {
        return delay(transport_.send(destination, channel, std::move(message)));
    }
    Request receive(int source,
                    Channel channel,
                    std::size_t max_bytes) override {
        return delay(transport_.receive(source, channel, max_bytes));
    }
    std::uint64_t received_bytes(int source) const override {
        return transport_.received_bytes(source);
    }

private:
    Request delay(Request request) {
        const auto num_tests = static_cast<int>(
            random_() % static_cast<std::uint64_t>(max_tests_ + 1));
        return Request(
            std::make_unique<LateOperation>(std::move(request), num_tests));
    }

    Transport& transport_;
    std::mt19937_64 random_;
    int max_tests_;
};

TrainingCase make_case(int ranks, const std::string& schedule) {
    TrainingCase training = make_hard_case();
    training.options.steps = 2;
    training.ranks = ranks;
    training.schedule = schedule;
    return training;
}

//! How late, for whom: gives "a moving number is a race" a chance to move.
struct Late {
    std::uint64_t seed;
    int ranks;
    std::string schedule;
};

class LateMessages : public testing::TestWithParam<Late> {};

TEST_P(LateMessages, change_no_bit) {
    static const TrainingResult expected = train(make_case(1, "1f1b"));
    TrainingCase training = make_case(GetParam().ranks, GetParam().schedule);
    training.decorate = [](Transport& transport) {
        return std::make_unique<LateTransport>(transport, GetParam().seed, 12);
    };

    const TrainingResult actual = train(training);

    ASSERT_EQ(actual.metrics.size(), expected.metrics.size());
    for (std::size_t i = 0; i < expected.metrics.size(); ++i) {
        EXPECT_EQ(actual.metrics[i].loss, expected.metrics[i].loss);
        EXPECT_EQ(actual.metrics[i].grad_norm, expected.metrics[i].grad_norm);
    }
    EXPECT_EQ(actual.tensors, expected.tensors);
}

std::vector<Late> make_late() {
    std::vector<Late> all;
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
        all.push_back({seed, 2, "1f1b"});
        all.push_back({seed, 4, seed % 2 == 0 ? "gpipe" : "1f1b"});
    }
    return all;
}

INSTANTIATE_TEST_SUITE_P(Pipeline,
                         LateMessages,
                         testing::ValuesIn(make_late()),
                         [](const auto& info) {
                             return info.param.schedule + "_" +
                                    std::to_string(info.param.ranks) +
                                    "_seed_" + std::to_string(info.param.seed);
                         });

//! Sequences of which each has one impossible token or label.
class BadSequences final : public Dataset {
public:
    BadSequences(std::shared_ptr<const Dataset> good,
                 std::size_t field,
                 std::size_t num_good_calls)
        : good_(std::move(good)),
          field_(field),
          num_good_calls_(num_good_calls) {}

    std::size_t size() const override { return good_->size(); }
    std::vector<HostTensor> get(std::size_t index) const override {
        auto sample = good_->get(index);
        if (num_calls_++ >= num_good_calls_) {
            const std::int64_t impossible = 1'000'000;
            std::memcpy(
                sample.at(field_).bytes.data(), &impossible, sizeof impossible);
        }
        return sample;
    }
    std::uint64_t content_hash() const override {
        return good_->content_hash();
    }

private:
    std::shared_ptr<const Dataset> good_;
    std::size_t field_;
    std::size_t num_good_calls_;
    mutable std::size_t num_calls_ = 0;
};

TrainingCase make_failing(std::size_t field, std::size_t num_good_calls) {
    TrainingCase training = make_case(4, "1f1b");
    training.load_data = [field, num_good_calls] {
        const DatasetSplit good = make_synthetic_dataset(1, 16, 64, 0.001);
        return DatasetSplit{
            std::make_shared<BadSequences>(good.train, field, num_good_calls),
            good.validation};
    };
    return training;
}

template <class Function>
std::string failure_of(Function function) {
    try {
        function();
    } catch (const std::exception& failure) {
        return failure.what();
    }
    return "";
}

// The batch has 8 sequences: the failures are in step 0 and step 1.
TEST(Pipeline, reports_the_failure_of_the_first_stage) {
    for (const std::size_t num_good_calls : {0, 11}) {
        const std::string failure =
            failure_of([&] { train(make_failing(0, num_good_calls)); });

        EXPECT_NE(failure.find("index out of range"), std::string::npos)
            << failure;
    }
}

TEST(Pipeline, reports_the_failure_of_the_last_stage) {
    for (const std::size_t num_good_calls : {0, 11}) {
        const std::string failure =
            failure_of([&] { train(make_failing(1, num_good_calls)); });

        EXPECT_NE(failure.find("out of bounds"), std::string::npos) << failure;
    }
}

TEST(Pipeline, reports_a_failure_before_the_first_step) {
    TrainingCase training = make_case(4, "1f1b");
    training.load = [](const std::string& name) -> HostTensor {
        throw InputError("no tensor '" + name + "'");
    };

    EXPECT_THROW(train(training), InputError);
}

TEST(Pipeline, reports_data_that_do_not_fit_the_model) {
    TrainingCase training = make_case(3, "gpipe");
    training.load_data = [] {
        return make_synthetic_dataset(1, 15, 64, 0.001);
    };

    const std::string failure = failure_of([&] { train(training); });

    EXPECT_NE(failure.find("i64[2,16]"), std::string::npos) << failure;
}

//! Forwards that a first stage has made, and a second one has run, slowly.
struct Progress {
    std::atomic<int> num_made = 0;
    std::atomic<int> num_run = 0;
    std::atomic<int> most_ahead = 0;
};

//! Messages of some size in place of a stage's values.
class MessageWork final : public StageWork {
public:
    MessageWork(StageSlice slice, std::size_t num_bytes, Progress& progress)
        : slice_(std::move(slice)),
          num_bytes_(num_bytes),
          progress_(progress) {}

    const StageSlice& slice() const override { return slice_; }
    std::size_t max_message_bytes(MessageKind, ValueId) const override {
        return num_bytes_;
    }
    std::vector<MadeMessage> run(WorkItem, PipelineResult&) override {
        if (slice_.outputs.empty()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
            ++progress_.num_run;
            return {};
        }
        const int ahead = ++progress_.num_made - progress_.num_run;
        progress_.most_ahead = std::max(progress_.most_ahead.load(), ahead);
        std::vector<MadeMessage> made;
        for (const ValueId value : slice_.outputs) {
            made.push_back({value, Buffer(num_bytes_)});
        }
        return made;
    }

private:
    StageSlice slice_;
    std::size_t num_bytes_;
    Progress& progress_;
};

//! Most forwards made and not run; twice, as nothing may be left of the first.
int most_ahead_in_evaluation(std::size_t num_bytes) {
    constexpr int num_micro_batches = 60;
    const OpGraph graph = make_gpt2(make_hard_case().model, 2);
    const std::size_t cut = graph.ops().size() / 2;
    Progress progress;
    run_loopback(2, [&](Transport& transport) {
        const bool is_first = transport.rank() == 0;
        const OpRange ops =
            is_first ? OpRange{0, cut} : OpRange{cut, graph.ops().size()};
        StageSlice slice = make_slice(graph, ops);
        slice.user_inputs.clear();
        const std::size_t num_values =
            is_first ? slice.outputs.size() : slice.inputs.size();
        MessageWork work(slice, num_bytes / num_values, progress);
        IdleWait wait;
        ComputeThread compute(wait, [] { return std::shared_ptr<void>(); });
        Pipeline pipeline(transport,
                          wait,
                          compute,
                          graph,
                          work,
                          {is_first ? -1 : 0, is_first ? 1 : -1});
        for (int step = 0; step < 2; ++step) {
            pipeline.evaluate(num_micro_batches, 0, CodecUse::on, {});
        }
    });
    EXPECT_EQ(progress.num_run, 2 * num_micro_batches);
    return progress.most_ahead;
}

// The second stage has taken two more than it has run.
TEST(Pipeline, evaluates_few_forwards_ahead_of_the_next_stage) {
    EXPECT_LE(most_ahead_in_evaluation(std::size_t{1} << 20), 8 + 2 + 2);
    EXPECT_LE(most_ahead_in_evaluation(std::size_t{10} << 20), 4 + 2);
}

TEST(Pipeline, evaluates_as_many_forwards_ahead_as_a_long_link_holds) {
    EXPECT_GE(most_ahead_in_evaluation(std::size_t{1} << 17), 40);
}

}  // namespace
}  // namespace fusionllm::test
