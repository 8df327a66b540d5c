#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/runtime/long_wait.hpp"

namespace fusionllm {

//! Who says what about ranks that wait long.
struct WaitNotices {
    double after_s = 0;  //!< a wait is long from here on
    //! Root only: the wait that explains the others.
    std::function<void(const LongWait&)> say;
};

/*!
 * Finds out for what a run waits when nothing moves.
 *
 * Every rank that waits long tells rank 0, again each time that its wait has
 * become twice as long. Once rank 0 waits long itself, it follows from its own
 * wait to the cause (`find_cause`) and says that: one sentence for all ranks,
 * the next one not before twice the time has gone by since the last.
 *
 * Costs nothing while no rank waits long: rank 0 tests one posted receive a
 * rank and step. What a broken link holds back, rank 0 does not hear; it then
 * says what the last rank on its side of the link waits for.
 */
class WaitWatch {
public:
    //! \param clock seconds
    WaitWatch(Transport& transport,
              WaitNotices notices,
              Schedule schedule,
              const std::vector<int>& rank_of_stage,
              std::function<double()> clock);

    //! A step begins, on this rank.
    void begin_step(std::int64_t step);
    //! This rank waits; called again and again while it does.
    void see(const Awaited& awaited);
    //! Nobody tells anything any more; collective.
    void finish();

private:
    struct Heard {
        LongWait wait;
        double at_s = 0;
    };

    bool is_root() const { return transport_.rank() == 0; }
    LongWait own_wait(double now_s) const;
    void tell(const LongWait& wait);
    //! Whether anybody may still tell something.
    bool listen(double now_s);
    void see_as_root(double now_s);
    LongWait cause_of(const LongWait& own, double now_s) const;

    Transport& transport_;
    WaitNotices notices_;
    Schedule schedule_;
    std::vector<int> stage_of_rank_;
    std::function<double()> clock_;
    std::int64_t step_ = 0;
    std::optional<Awaited> awaited_;
    double since_s_ = 0;
    std::uint64_t bytes_before_ = 0;
    double tell_at_s_ = 0;
    double listen_at_s_ = 0;
    double say_at_s_ = 0;  // not before
    double gap_s_;         // from the last sentence to the next
    std::deque<Request> telling_;
    //! Root only, by source; none once that has ended.
    std::map<int, std::optional<Request>> posted_;
    std::map<int, Heard> heard_;  // root only, by source
};

}  // namespace fusionllm
