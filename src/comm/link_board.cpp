#include "link_board.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm::detail {

struct LinkBoard::Head {
    std::atomic<std::uint32_t> is_locked;
    std::atomic<std::uint32_t> has_begun;
    double begin_s;  // on the clock: time zero
    double now_s;    // up to which everything is known
    //! Until then no message is sent and no rate changes.
    std::atomic<double> next_event_s;
    std::uint32_t num_paths;
    std::uint32_t num_carrying;
};

struct LinkBoard::PathState {
    std::int32_t from;
    std::int32_t to;
    std::uint64_t num_given;
    //! The next one is on its way, if there is one.
    std::atomic<std::uint64_t> num_sent;
    std::atomic<std::uint64_t> num_released;
    double sent_bytes;  // of those that have left
    double left_bytes;  // of the one on its way, at `Head::now_s`
    double rate;
    double last_due_s;
};

static_assert(std::atomic<double>::is_always_lock_free);

//! Between processes; a holder that is killed takes the whole job with it.
class LinkBoard::Lock {
public:
    explicit Lock(Head& head) : head_(head) {
        int num_tries = 0;
        while (head_.is_locked.exchange(1, std::memory_order_acquire) != 0) {
            if (++num_tries < 100) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(std::chrono::microseconds(50));
            }
        }
    }
    ~Lock() { head_.is_locked.store(0, std::memory_order_release); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

private:
    Head& head_;
};

namespace {

constexpr double never = std::numeric_limits<double>::infinity();

// Neighbours, the root and back, holders of shared parameters.
std::size_t max_paths(const ShapedLinks& links) {
    const auto ranks = static_cast<std::size_t>(links.num_ranks);
    return std::min(ranks * ranks, 16 * ranks);
}

//! Hands out parts of the shared memory, each on a cache line of its own.
class Parts {
public:
    explicit Parts(void* memory) : at_(static_cast<std::byte*>(memory)) {}

    template <class T>
    std::span<T> take(std::size_t count) {
        auto* const begin = reinterpret_cast<T*>(at_ + size_);
        size_ += (count * sizeof(T) + 63) / 64 * 64;
        return {begin, count};
    }
    std::size_t size() const { return size_; }

private:
    std::byte* at_;
    std::size_t size_ = 0;
};

}  // namespace

std::size_t LinkBoard::num_bytes(const ShapedLinks& links) {
    Parts parts(nullptr);
    const auto ranks = static_cast<std::size_t>(links.num_ranks);
    parts.take<Head>(1);
    parts.take<std::uint32_t>(ranks * ranks);
    parts.take<std::uint32_t>(max_paths(links));
    parts.take<std::uint32_t>(links.line_bytes_per_s.size());
    parts.take<PathState>(max_paths(links));
    parts.take<BoardEntry>(max_paths(links) * ring_size);
    return parts.size();
}

LinkBoard::LinkBoard(ShapedLinks links,
                     std::shared_ptr<void> memory,
                     std::function<double()> clock)
    : links_(std::move(links)),
      memory_(std::move(memory)),
      clock_(std::move(clock)) {
    Parts parts(memory_.get());
    const auto ranks = static_cast<std::size_t>(links_.num_ranks);
    head_ = parts.take<Head>(1).data();
    path_of_pair_ = parts.take<std::uint32_t>(ranks * ranks);
    carrying_ = parts.take<std::uint32_t>(max_paths(links_));
    num_on_line_ = parts.take<std::uint32_t>(links_.line_bytes_per_s.size());
    paths_ = parts.take<PathState>(max_paths(links_));
    entries_ = parts.take<BoardEntry>(max_paths(links_) * ring_size);
    for (const LineChange& change : links_.changes) {
        change_times_.push_back(change.begin_s);
        change_times_.push_back(change.end_s);
    }
    std::ranges::sort(change_times_);
    const Lock lock(*head_);
    if (head_->has_begun.exchange(1) == 0) {
        head_->begin_s = clock_();
    }
}

double LinkBoard::now_s() const {
    return clock_() - head_->begin_s;
}

LinkBoard::PathState* LinkBoard::find(int from, int to) const {
    const std::uint32_t found =
        path_of_pair_[static_cast<std::size_t>(from * links_.num_ranks + to)];
    return found == 0 ? nullptr : &paths_[found - 1];
}

LinkBoard::PathState& LinkBoard::find_or_make(int from, int to) {
    if (PathState* const path = find(from, to)) {
        return *path;
    }
    if (head_->num_paths == paths_.size()) {
        throw Error(fmt::format(
            "more than {} pairs of ranks exchange messages, which shaped links "
            "have no room for; leave out [network] mode = \"shaped\"",
            paths_.size()));
    }
    path_of_pair_[static_cast<std::size_t>(from * links_.num_ranks + to)] =
        ++head_->num_paths;
    PathState& path = paths_[head_->num_paths - 1];
    path.from = from;
    path.to = to;
    return path;
}

BoardEntry& LinkBoard::slot(const PathState& path, std::uint64_t number) const {
    const auto position = static_cast<std::size_t>(&path - paths_.data());
    return entries_[position * ring_size + number % ring_size];
}

double LinkBoard::line_rate(std::size_t line, double now_s) const {
    double rate = links_.line_bytes_per_s[line];
    for (const LineChange& change : links_.changes) {
        if (change.line == line && now_s >= change.begin_s &&
            now_s < change.end_s) {
            rate *= change.factor;
        }
    }
    return rate;
}

double LinkBoard::rate_of(const PathState& path, double now_s) const {
    const ShapedPath& shape = links_.path(path.from, path.to);
    double rate = shape.bytes_per_s;
    for (const std::size_t line : shape.lines) {
        rate = std::min(rate, line_rate(line, now_s) / num_on_line_[line]);
    }
    return rate;
}

//! In [0, jitter), a function of seed, path and number alone.
double LinkBoard::jitter_of(const PathState& path, std::uint64_t number) const {
    if (links_.jitter_s == 0) {
        return 0;
    }
    std::uint64_t key = derive_key(links_.seed, std::string_view("jitter"));
    key = derive_key(key, static_cast<std::uint64_t>(path.from));
    key = derive_key(key, static_cast<std::uint64_t>(path.to));
    key = derive_key(key, number);
    return links_.jitter_s * static_cast<double>(key >> 11) * 0x1p-53;
}

double LinkBoard::next_event_s() const {
    double next = never;
    for (std::uint32_t i = 0; i < head_->num_carrying; ++i) {
        const PathState& path = paths_[carrying_[i]];
        if (path.left_bytes <= 0) {
            return head_->now_s;
        }
        next = std::min(next, head_->now_s + path.left_bytes / path.rate);
    }
    const auto change = std::ranges::upper_bound(change_times_, head_->now_s);
    return change == change_times_.end() ? next : std::min(next, *change);
}

//! Let all paths carry up to this time, at the rates that they have.
void LinkBoard::settle(double now_s) {
    for (std::uint32_t i = 0; i < head_->num_carrying; ++i) {
        PathState& path = paths_[carrying_[i]];
        const double passed_s = now_s - head_->now_s;
        // What rounding leaves of a message is no message.
        path.left_bytes = path.left_bytes / path.rate <= passed_s + 1e-9
                              ? 0
                              : path.left_bytes - passed_s * path.rate;
    }
    head_->now_s = now_s;
}

void LinkBoard::start_next(std::uint32_t path) {
    PathState& state = paths_[path];
    state.left_bytes = slot(state, state.num_sent).bytes;
}

void LinkBoard::finish(std::uint32_t position, double now_s) {
    const std::uint32_t index = carrying_[position];
    PathState& path = paths_[index];
    BoardEntry& entry = slot(path, path.num_sent);
    const ShapedPath& shape = links_.path(path.from, path.to);
    const double latency_s =
        static_cast<double>(entry.bytes) > shape.eager_bytes
            ? shape.latency_s + shape.rendezvous_s
            : shape.latency_s;
    entry.due_s = std::max(path.last_due_s,
                           now_s + latency_s + jitter_of(path, path.num_sent));
    entry.is_sent = 1;
    path.last_due_s = entry.due_s;
    path.sent_bytes += entry.bytes;
    ++path.num_sent;
    if (path.num_sent < path.num_given) {
        start_next(index);
        return;
    }
    carrying_[position] = carrying_[--head_->num_carrying];
    for (const std::size_t line : shape.lines) {
        --num_on_line_[line];
    }
}

void LinkBoard::advance(double now_s) {
    while (true) {
        const double event_s = next_event_s();
        if (!(event_s <= now_s)) {
            head_->next_event_s = event_s;
            break;
        }
        settle(event_s);
        for (std::uint32_t i = head_->num_carrying; i-- > 0;) {
            if (paths_[carrying_[i]].left_bytes <= 0) {
                finish(i, event_s);
            }
        }
        for (std::uint32_t i = 0; i < head_->num_carrying; ++i) {
            PathState& path = paths_[carrying_[i]];
            path.rate = rate_of(path, event_s);
        }
    }
    if (now_s > head_->now_s) {
        settle(now_s);
    }
}

std::optional<std::uint64_t> LinkBoard::give(int from,
                                             int to,
                                             std::uint32_t channel,
                                             double bytes) {
    if (const PathState* const known = find(from, to)) {
        if (known->num_given - known->num_released >= ring_size) {
            return std::nullopt;
        }
    }
    const Lock lock(*head_);
    advance(now_s());
    PathState& path = find_or_make(from, to);
    const std::uint64_t number = path.num_given++;
    slot(path, number) = {channel, 0, bytes, head_->now_s, 0};
    if (path.num_sent == number) {
        const auto index = static_cast<std::uint32_t>(&path - paths_.data());
        carrying_[head_->num_carrying++] = index;
        for (const std::size_t line : links_.path(from, to).lines) {
            ++num_on_line_[line];
        }
        start_next(index);
        for (std::uint32_t i = 0; i < head_->num_carrying; ++i) {
            PathState& other = paths_[carrying_[i]];
            other.rate = rate_of(other, head_->now_s);
        }
        head_->next_event_s = next_event_s();
    }
    return number;
}

bool LinkBoard::is_sent(int from, int to, std::uint64_t number) {
    const PathState& path = *find(from, to);
    if (path.num_sent > number) {
        return true;
    }
    // The event is read before the number: until the event it cannot change.
    if (now_s() < head_->next_event_s) {
        return path.num_sent > number;
    }
    const Lock lock(*head_);
    advance(now_s());
    return path.num_sent > number;
}

std::vector<BoardEntry> LinkBoard::read(int from, int to, std::uint64_t first) {
    const Lock lock(*head_);
    std::vector<BoardEntry> found;
    if (const PathState* const path = find(from, to)) {
        for (std::uint64_t n = first; n < path->num_given; ++n) {
            found.push_back(slot(*path, n));
        }
    }
    return found;
}

BoardEntry LinkBoard::entry(int from, int to, std::uint64_t number) {
    const Lock lock(*head_);
    advance(now_s());
    return slot(*find(from, to), number);
}

void LinkBoard::release(int from, int to, std::uint64_t number) {
    const Lock lock(*head_);
    find(from, to)->num_released = number;
}

double LinkBoard::sent_bytes(int from, int to) {
    const Lock lock(*head_);
    advance(now_s());
    const PathState* const path = find(from, to);
    if (path == nullptr) {
        return 0;
    }
    return path->sent_bytes + part_bytes(*path);
}

double LinkBoard::part_bytes(int from, int to, std::uint64_t number) {
    const Lock lock(*head_);
    advance(now_s());
    const PathState& path = *find(from, to);
    return path.num_sent == number ? part_bytes(path) : 0;
}

//! Of the message that is on its way.
double LinkBoard::part_bytes(const PathState& path) const {
    return path.num_sent < path.num_given
               ? slot(path, path.num_sent).bytes - path.left_bytes
               : 0;
}

}  // namespace fusionllm::detail
