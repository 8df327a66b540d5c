#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "fusionllm/comm/shaped_links.hpp"

namespace fusionllm::detail {

//! A message that is, or was, on a path; in shared memory.
struct BoardEntry {
    std::uint32_t channel = 0;
    std::uint32_t is_sent = 0;  //!< the last byte has left
    double bytes = 0;
    double given_s = 0;
    double due_s = 0;  //!< when it comes; known when it is sent
};

/*!
 * The links of all ranks as one state, in memory that they share. Whoever
 * looks moves it on to the present: what happens at which time follows from
 * the messages and when they were given, not from who looks when.
 *
 * All times are seconds since it was made. Calls may come from all ranks at
 * once; each takes a lock for some microseconds.
 */
class LinkBoard {
public:
    //! Most messages of a path that are on their way, or have come and nobody
    //! has asked for them, at a time.
    static constexpr std::uint64_t ring_size = 1024;

    static std::size_t num_bytes(const ShapedLinks& links);
    //! \param memory `num_bytes` zeros at first, shared by all ranks
    LinkBoard(ShapedLinks links,
              std::shared_ptr<void> memory,
              std::function<double()> clock);

    const ShapedLinks& links() const { return links_; }
    double now_s() const;

    //! A message starts now; its number on the path. None, and nothing has
    //! started, while `ring_size` others have not been released. Only `from`
    //! calls this and `is_sent`, which take no lock where nothing has changed.
    std::optional<std::uint64_t> give(int from,
                                      int to,
                                      std::uint32_t channel,
                                      double bytes);
    bool is_sent(int from, int to, std::uint64_t number);
    //! Entries [first, end of those given so far) of a path.
    std::vector<BoardEntry> read(int from, int to, std::uint64_t first);
    BoardEntry entry(int from, int to, std::uint64_t number);
    //! The receiver is done with all before `number`.
    void release(int from, int to, std::uint64_t number);
    //! Bytes that have left, those under way in part.
    double sent_bytes(int from, int to);
    //! What has left of a message while its last byte has not; else 0.
    double part_bytes(int from, int to, std::uint64_t number);

private:
    struct Head;
    struct PathState;
    class Lock;

    PathState* find(int from, int to) const;
    PathState& find_or_make(int from, int to);
    BoardEntry& slot(const PathState& path, std::uint64_t number) const;
    void advance(double now_s);
    void settle(double now_s);
    void start_next(std::uint32_t path);
    void finish(std::uint32_t position, double now_s);
    double next_event_s() const;
    double rate_of(const PathState& path, double now_s) const;
    double line_rate(std::size_t line, double now_s) const;
    double jitter_of(const PathState& path, std::uint64_t number) const;
    double part_bytes(const PathState& path) const;

    ShapedLinks links_;
    std::shared_ptr<void> memory_;
    std::function<double()> clock_;
    std::vector<double> change_times_;  // ascending
    Head* head_;
    std::span<std::uint32_t> path_of_pair_;  // position + 1; 0: none yet
    std::span<std::uint32_t> carrying_;      // positions
    std::span<std::uint32_t> num_on_line_;
    std::span<PathState> paths_;
    std::span<BoardEntry> entries_;  // [path * ring_size + number % ring_size]
};

}  // namespace fusionllm::detail
