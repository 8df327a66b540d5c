#include "fusionllm/sim/simulate.hpp"

#include <map>
#include <numeric>
#include <tuple>

#include <gtest/gtest.h>

#include "fusionllm/plan/step_time.hpp"
#include "fusionllm/util/error.hpp"

#include "step_case.hpp"

namespace fusionllm::test {
namespace {

constexpr double rounding = 1e-12;  // relative

void expect_equal_to_rounding(double actual, double expected) {
    EXPECT_NEAR(actual, expected, rounding * expected);
}

//! (first + ... + last) + (M - 1) largest, where a link takes bytes/bandwidth
//! and its latency passes beside.
double sweep_s(const StepCase& step, bool is_forward) {
    const Network network = step.network();
    double sum_s = 0;
    double slowest_s = 0;
    for (const StageSeconds& stage : step.costs.stages) {
        const double took_s = is_forward ? stage.forward_s : stage.backward_s;
        sum_s += took_s;
        slowest_s = std::max(slowest_s, took_s);
    }
    const auto& list = is_forward ? step.costs.forward : step.costs.backward;
    for (const Crossing& crossing : list) {
        const Link link = network.link(crossing.from, crossing.to);
        const double took_s = crossing.bytes[0] / link.bandwidth_bytes_per_s;
        sum_s += link.latency_s + took_s;
        slowest_s = std::max(slowest_s, took_s);
    }
    return sum_s + (step.micro_batches - 1) * slowest_s;
}

StepCase make_uniform_case(int num_stages, int micro_batches, Link link) {
    StepCase step(num_stages, micro_batches);
    std::ranges::fill(step.costs.stages, StageSeconds{1.0, 2.0, 0.25});
    for (int s = 0; s + 1 < num_stages; ++s) {
        step.costs.forward[s].bytes = {600};
        step.costs.backward[s].bytes = {300};
        step.link(s, s + 1) = link;
        step.link(s + 1, s) = link;
    }
    return step;
}

TEST(SimulateTest, uniform_gpipe_is_the_closed_formula) {
    for (const int num_stages : {1, 2, 4, 48}) {
        for (const int m : {1, 3, 32}) {
            for (const Link link : {Link{}, Link{0.5, 1000}, Link{0.1, 100}}) {
                const auto step = make_uniform_case(num_stages, m, link);

                const double step_s = simulate_step_s(
                    make_gpipe(num_stages, m), step.costs, step.network());

                expect_equal_to_rounding(
                    step_s, sweep_s(step, true) + sweep_s(step, false) + 0.25);
                expect_equal_to_rounding(
                    step_s,
                    analytic_step_s(
                        step.costs, step.network(), m, Objective::sweeps));
            }
        }
    }
}

TEST(SimulateTest, one_f_one_b_with_free_links_is_the_closed_formula) {
    for (const int num_stages : {1, 2, 4, 48}) {
        for (const int m : {1, 3, 32, 100}) {
            const auto step = make_uniform_case(num_stages, m, {});

            const double step_s = simulate_step_s(
                make_1f1b(num_stages, m), step.costs, step.network());

            expect_equal_to_rounding(step_s,
                                     (num_stages + m - 1) * (1.0 + 2.0) + 0.25);
        }
    }
}

TEST(SimulateTest, any_gpipe_is_a_flow_shop) {
    std::mt19937 random(1);
    for (int repeat = 0; repeat < 300; ++repeat) {
        const int num_stages = 1 + static_cast<int>(random() % 12);
        const int m = 1 + static_cast<int>(random() % 20);
        StepCase step = make_random_case(random, num_stages, m);
        for (StageSeconds& stage : step.costs.stages) {
            stage.update_s = 0.5;
        }

        const double step_s = simulate_step_s(
            make_gpipe(num_stages, m), step.costs, step.network());

        expect_equal_to_rounding(
            step_s, sweep_s(step, true) + sweep_s(step, false) + 0.5);
    }
}

/*!
 * The same laws, as sentences about begin times that are swept over until none
 * of them moves: no queue, no event, nothing of the simulator.
 */
class NaiveStep {
public:
    NaiveStep(const Schedule& schedule, const StepCase& step)
        : schedule_(schedule), step_(step), network_(step.network()) {}

    double run() {
        while (sweep()) {
        }
        double end_s = 0;
        for (std::size_t s = 0; s < schedule_.actions.size(); ++s) {
            const Action last = schedule_.actions[s].back();
            double done_s = end_of(s, last);
            for (const Crossing& crossing : step_.costs.parameter_gradients) {
                if (crossing.to.get() == s) {
                    done_s = std::max(done_s, arrival_s(crossing));
                }
            }
            end_s = std::max(end_s, done_s + step_.costs.stages[s].update_s);
        }
        return end_s;
    }

private:
    using Key = std::tuple<std::size_t, ActionKind, std::uint32_t>;

    static Key key(std::size_t s, Action action) {
        return {s, action.kind, action.microbatch.get()};
    }
    double end_of(std::size_t s, Action action) const {
        const StageSeconds& stage = step_.costs.stages[s];
        const auto begin = begin_s_.find(key(s, action));
        return (begin == begin_s_.end() ? 0 : begin->second) +
               (action.kind == ActionKind::forward ? stage.forward_s
                                                   : stage.backward_s);
    }
    //! When the message after an action has left its link.
    double sent_s(std::size_t s, Action action) const {
        const bool is_forward = action.kind == ActionKind::forward;
        const auto m = action.microbatch.get();
        const Crossing& crossing =
            is_forward ? step_.costs.forward[s] : step_.costs.backward[s - 1];
        double from_s = end_of(s, action);
        if (m > 0) {
            from_s =
                std::max(from_s, sent_s(s, {action.kind, MicrobatchId(m - 1)}));
        }
        const Link link = network_.link(crossing.from, crossing.to);
        return from_s + crossing.bytes_of(m) / link.bandwidth_bytes_per_s;
    }
    //! When that message is in: nobody overtakes.
    double in_s(std::size_t s, Action action) const {
        const bool is_forward = action.kind == ActionKind::forward;
        const auto m = action.microbatch.get();
        const Crossing& crossing =
            is_forward ? step_.costs.forward[s] : step_.costs.backward[s - 1];
        const double at_s = sent_s(s, action) +
                            latency_s(network_.link(crossing.from, crossing.to),
                                      crossing.bytes_of(m));
        return m == 0 ? at_s
                      : std::max(at_s,
                                 in_s(s, {action.kind, MicrobatchId(m - 1)}));
    }
    double arrival_s(const Crossing& gradient) const {
        const std::size_t s = gradient.from.get();
        Action last = schedule_.actions[s].back();
        double from_s = end_of(s, last);
        double least_s = 0;
        if (gradient.to.get() == s + 1) {
            const auto m = static_cast<std::uint32_t>(step_.micro_batches - 1);
            last = {ActionKind::forward, MicrobatchId(m)};
        }
        if (gradient.to.get() == s + 1 || gradient.to.get() + 1 == s) {
            from_s = std::max(from_s, sent_s(s, last));
            least_s = in_s(s, last);
        }
        return std::max(
            least_s,
            from_s + transfer_s(network_.link(gradient.from, gradient.to),
                                gradient.bytes_of(0)));
    }
    double input_s(std::size_t s, Action action) const {
        const bool is_forward = action.kind == ActionKind::forward;
        if (is_forward ? s == 0 : s + 1 == schedule_.actions.size()) {
            return is_forward
                       ? 0
                       : end_of(s, {ActionKind::forward, action.microbatch});
        }
        return in_s(is_forward ? s - 1 : s + 1, action);
    }
    bool sweep() {
        bool has_moved = false;
        for (std::size_t s = 0; s < schedule_.actions.size(); ++s) {
            double free_s = 0;
            for (const Action action : schedule_.actions[s]) {
                const double begin_s = std::max(free_s, input_s(s, action));
                double& known_s = begin_s_[key(s, action)];
                has_moved = has_moved || known_s != begin_s;
                known_s = begin_s;
                free_s = end_of(s, action);
            }
        }
        return has_moved;
    }

    const Schedule& schedule_;
    const StepCase& step_;
    Network network_;
    std::map<Key, double> begin_s_;
};

std::vector<int> make_random_depths(std::mt19937& random, int num_stages) {
    std::vector<int> in_flight;
    for (int s = 0; s < num_stages; ++s) {
        in_flight.push_back(1 + static_cast<int>(random() % 8));
    }
    std::ranges::sort(in_flight, std::greater<>());
    return in_flight;
}

//! From a stage to another, chosen at random, and back.
void add_parameter_gradients(StepCase& step, std::mt19937& random) {
    const auto num_stages = static_cast<std::uint32_t>(step.num_stages());
    if (num_stages < 2) {
        return;
    }
    const auto a = static_cast<int>(random() % (num_stages - 1));
    const auto b = a + 1 + static_cast<int>(random() % (num_stages - a - 1));
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
        step.costs.parameter_gradients.push_back(
            {StepCase::device(from), StepCase::device(to), {2.5}});
        step.link(from, to) = {0.3, 1.5};
    }
}

//! For about half of the messages.
void add_rendezvous(StepCase& step) {
    for (Link& link : step.topology.site_links) {
        link.eager_bytes = 0.5;
        link.rendezvous_s = 0.4;
    }
}

TEST(SimulateTest, agrees_with_a_naive_simulator_on_random_steps) {
    std::mt19937 random(2);
    for (int repeat = 0; repeat < 400; ++repeat) {
        const int num_stages = 1 + static_cast<int>(random() % 6);
        const int m = 1 + static_cast<int>(random() % 8);
        StepCase step = make_random_case(random, num_stages, m);
        vary_bytes(step, random);
        if (repeat % 2 == 0) {
            add_parameter_gradients(step, random);
        }
        if (repeat % 3 == 0) {
            add_rendezvous(step);
        }
        const Schedule schedule =
            repeat % 4 == 3
                ? make_gpipe(num_stages, m)
                : make_1f1b(make_random_depths(random, num_stages), m);

        const double step_s =
            simulate_step_s(schedule, step.costs, step.network());

        expect_equal_to_rounding(step_s, NaiveStep(schedule, step).run());
    }
}

TEST(SimulateTest, a_line_too_wide_to_matter_changes_no_bit) {
    std::mt19937 random(3);
    for (int repeat = 0; repeat < 200; ++repeat) {
        const int num_stages = 2 + static_cast<int>(random() % 6);
        const int m = 1 + static_cast<int>(random() % 8);
        StepCase step = make_random_case(random, num_stages, m);
        vary_bytes(step, random);
        add_parameter_gradients(step, random);
        if (repeat % 3 == 0) {
            add_rendezvous(step);
        }
        const Schedule schedule =
            make_1f1b(make_random_depths(random, num_stages), m);
        const Timeline alone = simulate(schedule, step.costs, step.network());
        for (Site& site : step.topology.sites) {
            site.uplink_bytes_per_s = 1e6;
            site.downlink_bytes_per_s = 1e6;
        }

        const Timeline beside = simulate(schedule, step.costs, step.network());

        EXPECT_EQ(beside, alone);
    }
}

TEST(SimulateTest, a_step_of_its_timeline_is_the_step_without_one) {
    std::mt19937 random(4);
    for (int repeat = 0; repeat < 50; ++repeat) {
        StepCase step = make_random_case(random, 5, 7);
        step.topology.sites[2].uplink_bytes_per_s = 0.2;
        const Schedule schedule = make_1f1b(5, 7);

        const Timeline first = simulate(schedule, step.costs, step.network());
        const Timeline second = simulate(schedule, step.costs, step.network());

        EXPECT_EQ(first, second);
        EXPECT_EQ(first.makespan_s,
                  simulate_step_s(schedule, step.costs, step.network()));
    }
}

TEST(SimulateTest, one_stage_computes_and_updates) {
    StepCase step(1, 3);
    step.costs.stages[0] = {1, 2, 4};

    const Timeline timeline =
        simulate(make_gpipe(1, 3), step.costs, step.network());

    EXPECT_EQ(timeline.makespan_s, 3 * (1 + 2) + 4);
    EXPECT_EQ(timeline.busy_s, (std::vector<double>{13}));
    EXPECT_TRUE(timeline.links.empty());
    EXPECT_EQ(timeline.spans.back(),
              (Span{Span::Kind::update, 0, 0, 9, 13, 13}));
}

TEST(SimulateTest, forwards_alone_end_without_an_update) {
    auto step = make_uniform_case(3, 4, {0.5, 1000});
    step.costs.backward.clear();

    const Timeline timeline =
        simulate(make_forward_only(3, 4), step.costs, step.network());

    expect_equal_to_rounding(timeline.makespan_s, sweep_s(step, true));
    EXPECT_TRUE(std::ranges::none_of(timeline.spans, [](const Span& span) {
        return span.kind == Span::Kind::update;
    }));
}

TEST(SimulateTest, what_a_device_sends_itself_is_there_at_once) {
    auto step = make_uniform_case(3, 4, {5, 1});
    for (auto* list : {&step.costs.forward, &step.costs.backward}) {
        for (Crossing& crossing : *list) {
            crossing.from = DeviceId(0);
            crossing.to = DeviceId(0);
        }
    }

    const Timeline timeline =
        simulate(make_gpipe(3, 4), step.costs, step.network());

    EXPECT_EQ(timeline.makespan_s, (3 + 4 - 1) * (1.0 + 2.0) + 0.25);
    EXPECT_TRUE(timeline.links.empty());
}

std::vector<Span> spans_of(const Timeline& timeline, Span::Kind kind) {
    std::vector<Span> spans;
    std::ranges::copy_if(timeline.spans,
                         std::back_inserter(spans),
                         [&](const Span& span) { return span.kind == kind; });
    return spans;
}

TEST(SimulateTest, a_link_is_free_after_the_last_byte_and_latency_passes_then) {
    StepCase step(2, 2);
    step.costs.forward[0].bytes = {100};
    step.link(0, 1) = {7, 10};

    const Timeline timeline =
        simulate(make_forward_only(2, 2), step.costs, step.network());

    EXPECT_EQ(spans_of(timeline, Span::Kind::send_activation),
              (std::vector<Span>{
                  {Span::Kind::send_activation, 0, 0, 0, 17, 10},
                  {Span::Kind::send_activation, 0, 1, 10, 27, 20},
              }));
    EXPECT_EQ(timeline.links,
              (std::vector<LinkUse>{{DeviceId(0), DeviceId(1), 200, 20},
                                    {DeviceId(1), DeviceId(0), 0, 0}}));
}

TEST(SimulateTest, what_is_asked_for_comes_later_and_keeps_others_back) {
    StepCase step(2, 2);
    step.costs.forward[0].bytes = {100, 10};
    step.link(0, 1) = {7, 10, 50, 5};

    const Timeline timeline =
        simulate(make_forward_only(2, 2), step.costs, step.network());

    EXPECT_EQ(spans_of(timeline, Span::Kind::send_activation),
              (std::vector<Span>{
                  {Span::Kind::send_activation, 0, 0, 0, 22, 10},
                  {Span::Kind::send_activation, 0, 1, 10, 22, 11},
              }));
}

/*!
 * Sites of three devices, left and right, over one line of 10 bytes/s: stages
 * 0 (left), 1 (right), 2 (left), 3 (right) cross it twice forwards.
 */
StepCase make_zigzag(double bytes) {
    StepCase step(4, 1);
    step.topology.sites = {{"left", {}, {}, 0, 0}, {"right", {}, {}, 0, 0}};
    step.topology.site_links = {{}, {1, 10}, {1, 10}, {}};
    for (int s = 0; s < 4; ++s) {
        step.topology.devices[s].site = s % 2 == 0 ? "left" : "right";
    }
    for (auto* list : {&step.costs.forward, &step.costs.backward}) {
        for (Crossing& crossing : *list) {
            crossing.bytes = {bytes};
        }
    }
    return step;
}

TEST(SharedLineTest, two_messages_at_a_time_get_half_each) {
    StepCase step = make_zigzag(0);
    step.micro_batches = 3;
    // Stage 0 sends micro-batch 1 when stage 2 sends micro-batch 0.
    step.costs.forward[0].bytes = {0, 100, 0};
    step.costs.forward[2].bytes = {100, 0, 0};
    step.costs.forward[1].bytes = {0};
    step.costs.stages[0].forward_s = 2;  // F1 ends at 4
    step.costs.stages[2].forward_s = 0;  // F0 begins after two latencies, at 4

    const Timeline timeline =
        simulate(make_forward_only(4, 3), step.costs, step.network());

    const auto spans = spans_of(timeline, Span::Kind::send_activation);
    const auto find = [&](std::size_t index, std::uint32_t m) {
        return *std::ranges::find_if(spans, [&](const Span& span) {
            return span.index == index && span.microbatch == m;
        });
    };
    // Alone either would take 10 s. Micro-batch 2 leaves stage 0 at 6 and
    // waits for its link, not for the line.
    EXPECT_EQ(find(0, 1), (Span{Span::Kind::send_activation, 0, 1, 4, 25, 24}));
    EXPECT_EQ(find(2, 0), (Span{Span::Kind::send_activation, 2, 0, 4, 25, 24}));
}

TEST(SharedLineTest, the_rest_is_faster_once_the_other_is_over) {
    StepCase step = make_zigzag(0);
    step.micro_batches = 2;
    step.costs.forward[0].bytes = {0, 100};
    step.costs.forward[2].bytes = {50, 0};
    step.costs.stages[0].forward_s = 2;

    const Timeline timeline =
        simulate(make_forward_only(4, 2), step.costs, step.network());

    const auto spans = spans_of(timeline, Span::Kind::send_activation);
    // Both begin at 4 with 5 bytes/s; the short one is sent at 14, then 50
    // bytes are left for 10 bytes/s.
    EXPECT_TRUE(std::ranges::count(
        spans, Span{Span::Kind::send_activation, 2, 0, 4, 15, 14}));
    EXPECT_TRUE(std::ranges::count(
        spans, Span{Span::Kind::send_activation, 0, 1, 4, 20, 19}));
}

//! Devices of a few sites in random order, with up- and downlinks.
StepCase make_shared_case(std::mt19937& random,
                          int num_stages,
                          int micro_batches) {
    std::uniform_real_distribution<double> number(0.1, 1);
    StepCase step = make_random_case(random, num_stages, micro_batches);
    step.topology.sites.clear();
    constexpr int num_sites = 3;
    for (int s = 0; s < num_sites; ++s) {
        const Link inside{0.01, 5};
        step.topology.sites.push_back({fmt::format("site{}", s),
                                       inside,
                                       inside,
                                       s == 0 ? 0 : number(random),
                                       s == 1 ? 0 : number(random)});
    }
    step.topology.site_links.assign(num_sites * num_sites, {});
    for (Link& link : step.topology.site_links) {
        link = {number(random), number(random)};
    }
    for (Device& device : step.topology.devices) {
        device.site = fmt::format("site{}", random() % num_sites);
    }
    return step;
}

TEST(SharedLineTest, no_byte_is_lost_and_no_line_is_faster_than_it_is) {
    std::mt19937 random(5);
    for (int repeat = 0; repeat < 200; ++repeat) {
        const int num_stages = 2 + static_cast<int>(random() % 8);
        const int m = 1 + static_cast<int>(random() % 8);
        StepCase step = make_shared_case(random, num_stages, m);
        vary_bytes(step, random);
        const Network network = step.network();

        const Timeline timeline =
            simulate(make_1f1b(num_stages, m), step.costs, network);

        std::map<std::pair<DeviceId, DeviceId>, double> expected;
        std::vector<double> line_bytes(network.num_lines(), 0);
        for (const auto* list : {&step.costs.forward, &step.costs.backward}) {
            for (const Crossing& crossing : *list) {
                const double bytes = std::accumulate(
                    crossing.bytes.begin(), crossing.bytes.end(), 0.0);
                expected[{crossing.from, crossing.to}] += bytes;
                for (const LineId line :
                     network.lines(crossing.from, crossing.to)) {
                    line_bytes[line.get()] += bytes;
                }
            }
        }
        ASSERT_EQ(timeline.links.size(), expected.size());
        for (const LinkUse& use : timeline.links) {
            const double bytes = expected.at({use.from, use.to});
            EXPECT_NEAR(use.bytes, bytes, 1e-9);
            const Link link = network.link(use.from, use.to);
            EXPECT_GE(use.busy_s * (1 + 1e-9),
                      bytes / link.bandwidth_bytes_per_s);
        }
        for (std::uint32_t line = 0; line < network.num_lines(); ++line) {
            EXPECT_LE(line_bytes[line],
                      network.line(LineId(line)).bandwidth_bytes_per_s *
                          timeline.makespan_s);
        }
    }
}

TEST(SharedLineTest, sharing_never_makes_gpipe_faster) {
    std::mt19937 random(6);
    int num_slower = 0;
    for (int repeat = 0; repeat < 200; ++repeat) {
        const int num_stages = 2 + static_cast<int>(random() % 8);
        const int m = 1 + static_cast<int>(random() % 8);
        const StepCase step = make_shared_case(random, num_stages, m);
        const Network network = step.network();
        double update_s = 0;
        for (const StageSeconds& stage : step.costs.stages) {
            update_s = std::max(update_s, stage.update_s);
        }

        const double step_s =
            simulate_step_s(make_gpipe(num_stages, m), step.costs, network);

        const double alone_s = sweep_s(step, true) + sweep_s(step, false);
        EXPECT_GE(step_s * (1 + 1e-9), alone_s);
        num_slower += step_s > alone_s + update_s ? 1 : 0;
    }
    EXPECT_GT(num_slower, 50);
}

TEST(SimulateTest, more_bandwidth_never_hurts_gpipe) {
    std::mt19937 random(7);
    for (int repeat = 0; repeat < 100; ++repeat) {
        StepCase step = make_random_case(random, 6, 8);
        vary_bytes(step, random);
        const Schedule schedule = make_gpipe(6, 8);
        const double before_s =
            simulate_step_s(schedule, step.costs, step.network());
        const int s = static_cast<int>(random() % 5);
        step.link(s, s + 1).bandwidth_bytes_per_s *= 2;

        const double after_s =
            simulate_step_s(schedule, step.costs, step.network());

        EXPECT_LE(after_s, before_s);
    }
}

std::string complaint_of(const Schedule& schedule, const StepCase& step) {
    try {
        simulate_step_s(schedule, step.costs, step.network());
    } catch (const InputError& error) {
        return error.what();
    }
    return "";
}

TEST(SimulateTest, what_does_not_fit_together_is_refused) {
    StepCase step(2, 3);
    EXPECT_NE(complaint_of(make_gpipe(3, 3), step).find("3 stages"),
              std::string::npos);

    const Schedule stuck{{{{ActionKind::forward, MicrobatchId(0)},
                           {ActionKind::backward, MicrobatchId(0)}},
                          {{ActionKind::backward, MicrobatchId(0)},
                           {ActionKind::forward, MicrobatchId(0)}}}};
    EXPECT_NE(complaint_of(stuck, step).find("deadlocks"), std::string::npos);

    step.costs.forward[0].bytes = {1, 2};
    EXPECT_NE(complaint_of(make_gpipe(2, 3), step).find("2 numbers of bytes"),
              std::string::npos);

    step.costs.forward[0].bytes = {1};
    step.costs.backward.clear();
    EXPECT_NE(complaint_of(make_gpipe(2, 3), step).find("no backward"),
              std::string::npos);

    step.costs.forward.clear();
    EXPECT_NE(complaint_of(make_gpipe(2, 3), step).find("0 forward crossings"),
              std::string::npos);
}

TEST(SimulateTest, parameter_gradients_need_a_stage_at_either_end) {
    StepCase step(3, 1);
    step.costs.stages.pop_back();
    step.costs.forward.pop_back();
    step.costs.backward.pop_back();
    step.costs.parameter_gradients = {{DeviceId(2), DeviceId(0), {1}}};

    EXPECT_NE(complaint_of(make_gpipe(2, 1), step).find("device 2"),
              std::string::npos);
}

}  // namespace
}  // namespace fusionllm::test
