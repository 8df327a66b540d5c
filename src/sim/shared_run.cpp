#include "shared_run.hpp"

#include <algorithm>
#include <deque>
#include <queue>
#include <utility>

namespace fusionllm {
namespace {

struct Event {
    enum class Kind : std::uint32_t {
        stage_is_free,
        message_is_sent,
        message_is_in
    };
    double at_s = 0;
    std::uint64_t order = 0;  // of events at one time: as they were made
    Kind kind = Kind::stage_is_free;
    std::uint32_t index = 0;  // stage or link
};

struct IsLater {
    bool operator()(const Event& a, const Event& b) const {
        return a.at_s != b.at_s ? a.at_s > b.at_s : a.order > b.order;
    }
};

//! A directed link: the first message of its queue is on its way. One that
//! shares no line has no queue, only the time from which it is free.
struct LinkState {
    double free_s = 0;
    std::deque<Message> queue;
    double begin_s = 0;
    double left_bytes = 0;
    double rate_bytes_per_s = 0;  // 0: not known yet
    double since_s = 0;           // left_bytes is of this time
    std::uint64_t forecast = 0;   // `order` of the event that is expected
    double in_s = 0;              // of the last one that was sent
    // Sent and not yet in; they come in as they were sent.
    std::deque<std::pair<Message, Transfer>> travelling;
};

class SharedRun {
public:
    SharedRun(const StepCosts& costs,
              const StepLinks& links,
              const Network& network,
              StepRecord& record)
        : links_(links),
          network_(network),
          record_(record),
          states_(links.links.size()),
          on_line_(network.num_lines()),
          is_computing_(costs.stages.size(), false) {}

    void run() {
        for (std::size_t s = 0; s < record_.num_stages(); ++s) {
            start_stage(s);
        }
        while (!events_.empty()) {
            const Event event = events_.top();
            events_.pop();
            now_s_ = event.at_s;
            handle(event);
        }
    }

private:
    void handle(const Event& event) {
        switch (event.kind) {
            case Event::Kind::stage_is_free:
                end_action(event.index);
                break;
            case Event::Kind::message_is_sent:
                if (states_[event.index].forecast == event.order) {
                    end_transfer(event.index);
                }
                break;
            case Event::Kind::message_is_in:
                take_in(event.index);
                break;
        }
    }

    void push(Event::Kind kind, std::size_t index, double at_s) {
        events_.push(
            {at_s, num_events_++, kind, static_cast<std::uint32_t>(index)});
    }

    void start_stage(std::size_t stage) {
        if (!is_computing_[stage] && record_.can_run(stage)) {
            is_computing_[stage] = true;
            push(Event::Kind::stage_is_free, stage, record_.run_next(stage));
        }
    }

    void end_action(std::size_t stage) {
        is_computing_[stage] = false;
        if (const auto message = record_.message_after(stage)) {
            give(*message);
        }
        if (record_.is_done(stage) && record_.has_updates()) {
            give_parameter_gradients(stage);
        }
        start_stage(stage);
    }

    void give_parameter_gradients(std::size_t stage) {
        for (std::size_t p = 0; p < links_.senders.size(); ++p) {
            const auto& senders = links_.senders[p];
            const bool is_over = std::ranges::all_of(senders, [&](auto s) {
                return record_.is_done(s) && !is_computing_[s];
            });
            if (is_over && std::ranges::find(senders, stage) != senders.end()) {
                give({Span::Kind::send_parameter_gradient,
                      static_cast<std::uint32_t>(p),
                      0});
            }
        }
    }

    void give(const Message& message) {
        const std::size_t link = links_.route(message.kind, message.index).link;
        if (link == Route::no_link) {
            deliver(message, {now_s_, now_s_, now_s_});
            return;
        }
        if (links_.links[link].shared_lines.empty()) {
            give_to_lone_link(message, link);
            return;
        }
        states_[link].queue.push_back(message);
        if (states_[link].queue.size() == 1) {
            for (const LineId line : links_.links[link].shared_lines) {
                on_line_[line.get()].push_back(link);
            }
            start_transfer(link);
            follow_rates(link);
        }
    }

    //! Nothing else changes its rate: the end is known at once.
    void give_to_lone_link(const Message& message, std::size_t link) {
        const Link& alone = links_.links[link].link;
        double& free_s = states_[link].free_s;
        const double begin_s = std::max(free_s, now_s_);
        const double bytes = record_.bytes_of(message);
        free_s = begin_s + bytes / alone.bandwidth_bytes_per_s;
        push_arrival(
            message, {begin_s, free_s, free_s + latency_s(alone, bytes)}, link);
    }

    void push_arrival(const Message& message,
                      Transfer transfer,
                      std::size_t link) {
        double& in_s = states_[link].in_s;
        in_s = transfer.end_s = std::max(in_s, transfer.end_s);
        states_[link].travelling.emplace_back(message, transfer);
        push(Event::Kind::message_is_in, link, transfer.end_s);
    }

    void take_in(std::size_t link) {
        const auto [message, transfer] = states_[link].travelling.front();
        states_[link].travelling.pop_front();
        deliver(message, transfer);
    }

    void deliver(const Message& message, const Transfer& transfer) {
        const std::size_t stage = record_.receive(message, transfer);
        if (message.kind != Span::Kind::send_parameter_gradient) {
            start_stage(stage);
        }
    }

    void start_transfer(std::size_t link) {
        LinkState& state = states_[link];
        state.begin_s = now_s_;
        state.since_s = now_s_;
        state.left_bytes = record_.bytes_of(state.queue.front());
        state.rate_bytes_per_s = rate_of(link);
        expect_end(link);
    }

    void end_transfer(std::size_t link) {
        LinkState& state = states_[link];
        const Message message = state.queue.front();
        state.queue.pop_front();
        push_arrival(message,
                     {state.begin_s,
                      now_s_,
                      now_s_ + latency_s(links_.links[link].link,
                                         record_.bytes_of(message))},
                     link);
        if (!state.queue.empty()) {
            start_transfer(link);
            return;
        }
        state.forecast = num_events_;  // no event that was pushed has this one
        for (const LineId line : links_.links[link].shared_lines) {
            std::erase(on_line_[line.get()], link);
        }
        follow_rates(link);
    }

    double rate_of(std::size_t link) const {
        const UsedLink& used = links_.links[link];
        double rate = used.link.bandwidth_bytes_per_s;
        for (const LineId line : used.shared_lines) {
            const auto num = static_cast<double>(on_line_[line.get()].size());
            rate =
                std::min(rate, network_.line(line).bandwidth_bytes_per_s / num);
        }
        return rate;
    }

    //! A link has begun or ceased to carry: others get less or more.
    void follow_rates(std::size_t changed) {
        for (const LineId line : links_.links[changed].shared_lines) {
            for (const std::size_t link : on_line_[line.get()]) {
                LinkState& state = states_[link];
                const double rate = rate_of(link);
                if (rate == state.rate_bytes_per_s) {
                    continue;
                }
                const double sent =
                    (now_s_ - state.since_s) * state.rate_bytes_per_s;
                state.left_bytes = std::max(0.0, state.left_bytes - sent);
                state.since_s = now_s_;
                state.rate_bytes_per_s = rate;
                expect_end(link);
            }
        }
    }

    void expect_end(std::size_t link) {
        LinkState& state = states_[link];
        state.forecast = num_events_;
        push(Event::Kind::message_is_sent,
             link,
             now_s_ + state.left_bytes / state.rate_bytes_per_s);
    }

    const StepLinks& links_;
    const Network& network_;
    StepRecord& record_;
    std::vector<LinkState> states_;                  // by link
    std::vector<std::vector<std::size_t>> on_line_;  // links that carry
    std::vector<bool> is_computing_;                 // by stage
    std::priority_queue<Event, std::vector<Event>, IsLater> events_;
    std::uint64_t num_events_ = 0;
    double now_s_ = 0;
};

}  // namespace

void run_on_shared_lines(const StepCosts& costs,
                         const StepLinks& links,
                         const Network& network,
                         StepRecord& record) {
    SharedRun(costs, links, network, record).run();
}

}  // namespace fusionllm
