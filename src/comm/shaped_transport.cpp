#include "fusionllm/comm/shaped_transport.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <map>
#include <set>
#include <tuple>

#include <sys/mman.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/timing.hpp"

#include "channel_check.hpp"
#include "link_board.hpp"
#include "shared_file.hpp"

namespace fusionllm {

using detail::BoardEntry;
using detail::LinkBoard;

namespace {

std::uint32_t pack(Channel channel) {
    return static_cast<std::uint32_t>(channel.kind) * detail::num_slots +
           channel.slot;
}

}  // namespace

void check_pace(double due_s, double late_s, const std::string& what) {
    constexpr double most_of_due = 0.1;
    constexpr double most_s = 2;
    FUSIONLLM_VALIDATE(
        late_s <= most_s || late_s <= most_of_due * due_s,
        "{} {:.1f} s late after {:.1f} s that they should have taken: this "
        "machine is too slow for the testbed, and its times would be those of "
        "the machine; slow the testbed by [network] time_scale, to at least "
        "{:.2g} times what it is",
        what,
        late_s,
        due_s,
        std::ceil(10 * (1 + late_s / due_s)) / 10);
}

//! The messages of a channel from one rank: which numbers of the path.
struct ChannelLog {
    std::uint64_t num_posted = 0;
    std::uint64_t first = 0;  // ordinal of numbers.front()
    std::deque<std::uint64_t> numbers;
};

//! What the board is told of a message that is sent.
struct ShapedMessage {
    std::uint32_t channel;
    double bytes;
    std::optional<std::uint64_t> number;  // on its path, once it has started
};

struct detail::ShapedState {
    ShapedState(Transport& inner_, SharedLinks board_)
        : inner(inner_), board(std::move(board_)), next(size()), open(size()) {}

    std::size_t size() const { return static_cast<std::size_t>(inner.size()); }

    //! The number on its path of a channel's n-th message, if it was given.
    const std::uint64_t* find(int source, Channel channel, std::uint64_t n) {
        ChannelLog& log = logs[{source, pack(channel)}];
        if (n >= log.first + log.numbers.size()) {
            scan(source);
        }
        return n < log.first + log.numbers.size()
                   ? &log.numbers[static_cast<std::size_t>(n - log.first)]
                   : nullptr;
    }

    void scan(int source) {
        std::uint64_t& number = next[static_cast<std::size_t>(source)];
        for (const BoardEntry& entry :
             board->read(source, inner.rank(), number)) {
            logs[{source, entry.channel}].numbers.push_back(number);
            open[static_cast<std::size_t>(source)].insert(number++);
        }
    }

    //! The board may forget what nobody will ask for again.
    void close(int source, Channel channel, std::uint64_t number) {
        auto& numbers = open[static_cast<std::size_t>(source)];
        numbers.erase(number);
        ChannelLog& log = logs[{source, pack(channel)}];
        while (!log.numbers.empty() && !numbers.contains(log.numbers.front())) {
            log.numbers.pop_front();
            ++log.first;
        }
        board->release(source,
                       inner.rank(),
                       numbers.empty() ? next[static_cast<std::size_t>(source)]
                                       : *numbers.begin());
    }

    /*!
     * Start what this rank sends, in order, as far as the board has room: a
     * receiver that is behind holds its senders up, as a socket's would. Every
     * test does this: whoever waits for an answer tests no send.
     */
    void start_held() {
        for (auto to = held.begin(); to != held.end();) {
            auto& [destination, messages] = *to;
            while (!messages.empty() && start(destination, *messages.front())) {
                messages.pop_front();
            }
            to = messages.empty() ? held.erase(to) : std::next(to);
        }
    }

    bool start(int destination, ShapedMessage& message) {
        message.number = board->give(
            inner.rank(), destination, message.channel, message.bytes);
        return message.number.has_value();
    }

    Transport& inner;
    SharedLinks board;
    std::map<std::pair<int, std::uint32_t>, ChannelLog> logs;
    std::vector<std::uint64_t> next;            // by source: not yet scanned
    std::vector<std::set<std::uint64_t>> open;  // by source: not yet received
    //! By destination: not yet started.
    std::map<int, std::deque<std::shared_ptr<ShapedMessage>>> held;
    double due_s = 0;   // that messages should have taken, in all
    double late_s = 0;  // that they came later, in all
};

namespace {

//! Done when the last byte would have left, and the buffer may be given up.
class ShapedSend final : public detail::Operation {
public:
    ShapedSend(Request inner,
               std::shared_ptr<detail::ShapedState> state,
               std::shared_ptr<const ShapedMessage> message,
               int to)
        : inner_(std::move(inner)),
          state_(std::move(state)),
          message_(std::move(message)),
          to_(to) {}

    bool test() override {
        state_->start_held();
        is_sent_ =
            is_sent_ || (message_->number &&
                         state_->board->is_sent(
                             state_->inner.rank(), to_, *message_->number));
        return inner_.test() && is_sent_;
    }
    Buffer take() override { return inner_.take(); }
    void leak() override {
        // Whoever destroys the request would wait for it.
        static_cast<void>(new Request(std::move(inner_)));
    }

private:
    Request inner_;
    std::shared_ptr<detail::ShapedState> state_;
    std::shared_ptr<const ShapedMessage> message_;
    int to_;
    bool is_sent_ = false;
};

}  // namespace

namespace detail {

//! Done when the message is in and due.
class ShapedReceive final : public Operation {
public:
    ShapedReceive(Request inner,
                  std::shared_ptr<ShapedState> state,
                  int source,
                  Channel channel)
        : inner_(std::move(inner)),
          state_(std::move(state)),
          source_(source),
          channel_(channel),
          ordinal_(state_->logs[{source_, pack(channel_)}].num_posted++) {}

    bool test() override {
        state_->start_held();
        const bool is_in = inner_.test();
        if (!entry_) {
            look_up();
        }
        if (!entry_) {
            return false;
        }
        const double now_s = state_->board->now_s();
        if (!is_in || now_s < entry_->due_s) {
            is_missed_ = is_missed_ || (!is_in && now_s >= entry_->due_s);
            return false;
        }
        if (!is_done_) {
            finish(now_s);
        }
        return true;
    }
    std::size_t received_bytes() const override {
        const std::uint64_t* const number =
            entry_ ? nullptr : state_->find(source_, channel_, ordinal_);
        return number == nullptr
                   ? 0
                   : static_cast<std::size_t>(state_->board->part_bytes(
                         source_, state_->inner.rank(), *number));
    }
    Buffer take() override { return inner_.take(); }
    void leak() override {
        // Whoever destroys the request would wait for it.
        static_cast<void>(new Request(std::move(inner_)));
    }

private:
    //! When it is due, once that is known.
    void look_up() {
        const std::uint64_t* const number =
            state_->find(source_, channel_, ordinal_);
        if (number == nullptr) {
            return;
        }
        const BoardEntry entry =
            state_->board->entry(source_, state_->inner.rank(), *number);
        if (entry.is_sent != 0) {
            entry_ = entry;
            number_ = *number;
        }
    }

    void finish(double now_s) {
        is_done_ = true;
        state_->close(source_, channel_, number_);
        // A message that was in, but was not looked for, was not late.
        state_->due_s += entry_->due_s - entry_->given_s;
        state_->late_s += is_missed_ ? now_s - entry_->due_s : 0;
        check_pace(state_->due_s,
                   state_->late_s,
                   fmt::format("messages from rank {} came", source_));
    }

    Request inner_;
    std::shared_ptr<ShapedState> state_;
    int source_;
    Channel channel_;
    std::uint64_t ordinal_;
    std::uint64_t number_ = 0;
    std::optional<BoardEntry> entry_;
    bool is_missed_ = false;
    bool is_done_ = false;
};

}  // namespace detail

ShapedTransport::ShapedTransport(Transport& inner, SharedLinks links)
    : state_(std::make_shared<detail::ShapedState>(inner, std::move(links))) {
    FUSIONLLM_EXPECTS(state_->board->links().num_ranks == inner.size());
}

ShapedTransport::~ShapedTransport() = default;

int ShapedTransport::rank() const {
    return state_->inner.rank();
}

int ShapedTransport::size() const {
    return state_->inner.size();
}

Request ShapedTransport::send(int destination,
                              Channel channel,
                              Buffer message) {
    if (destination == rank()) {
        return state_->inner.send(destination, channel, std::move(message));
    }
    detail::check_address(destination, size(), channel);
    const auto told = std::make_shared<ShapedMessage>(ShapedMessage{
        pack(channel), static_cast<double>(message.size()), std::nullopt});
    state_->held[destination].push_back(told);
    state_->start_held();
    return Request(std::make_unique<ShapedSend>(
        state_->inner.send(destination, channel, std::move(message)),
        state_,
        told,
        destination));
}

Request ShapedTransport::receive(int source,
                                 Channel channel,
                                 std::size_t max_bytes) {
    Request inner = state_->inner.receive(source, channel, max_bytes);
    if (source == rank()) {
        return inner;
    }
    return Request(std::make_unique<detail::ShapedReceive>(
        std::move(inner), state_, source, channel));
}

std::uint64_t ShapedTransport::received_bytes(int source) const {
    return static_cast<std::uint64_t>(
        state_->board->sent_bytes(source, rank()));
}

double ShapedTransport::sent_bytes(int destination) const {
    return state_->board->sent_bytes(rank(), destination);
}

SharedLinks share_links(ShapedLinks links, std::function<double()> clock) {
    const std::size_t num_bytes = LinkBoard::num_bytes(links);
    const std::shared_ptr<void> memory(std::calloc(num_bytes, 1), std::free);
    FUSIONLLM_EXPECTS(memory != nullptr);
    return std::make_shared<LinkBoard>(
        std::move(links), memory, std::move(clock));
}

SharedLinks share_links(const mpi::Communicator& world,
                        const std::string& job_id,
                        ShapedLinks links) {
    const auto host = world.split_by_host();
    FUSIONLLM_VALIDATE(
        host.size() == world.size(),
        "[network] mode = \"shaped\" delays messages between ranks of one "
        "host, by its clock, but host {} has {} of {} ranks; start all ranks "
        "on one host, or shape the links themselves (fusionllm-netlab)",
        mpi::host_name(),
        host.size(),
        world.size());
    const std::size_t num_bytes = LinkBoard::num_bytes(links);
    const std::shared_ptr<void> memory(
        detail::map_shared(host, "links-" + job_id, num_bytes),
        [num_bytes](void* mapped) { munmap(mapped, num_bytes); });
    return std::make_shared<LinkBoard>(std::move(links), memory, monotonic_s);
}

}  // namespace fusionllm
