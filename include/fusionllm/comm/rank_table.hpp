#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fusionllm/comm/mpi.hpp"

namespace fusionllm {

//! What a rank is busy with.
enum class Phase : std::uint8_t {
    start = 0,
    forward = 1,   //!< of `micro_batch`
    backward = 2,  //!< of `micro_batch`
    update = 3,
    checkpoint = 4,  //!< waits for the others in it
    evaluation = 5,
    writing = 6,    //!< its own part of a checkpoint
    agreement = 7,  //!< waits for the others before the first step
    trace = 8,      //!< writes its own
    end = 9,        //!< waits for the others after the last step
    probe = 10,     //!< measures links, or waits until others have
};

//! Whether it is of something that all ranks come to, in the same order.
bool is_meeting(Phase phase);

//! Where in the run a rank is; small enough to be stored as one atomic word.
struct Activity {
    std::uint32_t step = 0;
    Phase phase = Phase::start;
    std::uint32_t micro_batch = 0;  //!< below 2^24

    friend bool operator==(const Activity&, const Activity&) = default;
};

//! "F3", "B2", "update", ...
std::string to_text(const Activity& activity);

//! What the table knows of one rank.
struct RankStatus {
    int rank = 0;
    int pid = 0;
    int stage = -1;  //!< -1: none yet
    Activity activity;

    friend bool operator==(const RankStatus&, const RankStatus&) = default;
};

//! What the system has to say of a process.
enum class ProcessState {
    runs,
    waits_for_disk,  //!< "D": in a call that cannot be interrupted
    is_stopped,      //!< by a signal or a debugger
    is_gone,
};

//! What a rank that has entered is busy with.
struct RankStay {
    int rank = 0;
    Activity activity;
    std::uint32_t meeting = 0;  //!< how many it has come to
    double for_s = 0;           //!< since its activity began
    ProcessState process = ProcessState::runs;

    friend bool operator==(const RankStay&, const RankStay&) = default;
};

//! Whether a host has all ranks of the run.
enum class RanksHere { some, all };

//! "rank 3 (pid 123, host h) died in step 12 while F3 of stage 3; continue
//! with --resume from the last checkpoint"
std::string describe_death(const RankStatus& status, const std::string& host);

/*!
 * One slot for each rank of this host, in memory that all of them share: when
 * a rank is gone, the others can say what it was doing.
 *
 * Lives in a file in /dev/shm (or $TMPDIR, /tmp) that has no name any more
 * once the constructor is through. Each rank writes its own slot only; all
 * accesses are atomic and none locks, so a rank may die at any moment.
 */
class RankTable {
public:
    /*!
     * Collective over `world`. `job_id` becomes part of the file's name.
     * Throws `Error` on all ranks of a host where no file can be shared.
     */
    RankTable(const mpi::Communicator& world, const std::string& job_id);
    ~RankTable();
    RankTable(const RankTable&) = delete;
    RankTable& operator=(const RankTable&) = delete;

    void set_stage(int stage);
    void set_activity(const Activity& activity);

    //! From now on this rank counts as dead when its process is gone.
    void enter();
    //! This process is about to exit, and that is no death.
    void leave();

    //! Ranks of this host that have entered and not left, ascending. Cheap:
    //! their processes are taken to run.
    std::vector<RankStay> find_stays() const;
    //! The same with a look at each process.
    std::vector<RankStay> find_stays_and_processes() const;
    //! True for one caller on this host: that is who says why nothing moves.
    //! The next time after twice `after_s`, then four times, ...
    bool claim_notice(double after_s);

    //! Ranks of this host whose process is gone without `leave`.
    std::vector<RankStatus> find_dead() const;
    //! True for one caller on this host: that is who reports the deaths, all
    //! that it found, and calls `end_report`.
    bool begin_report();
    void end_report();
    bool has_report_ended() const;

    const std::string& host() const { return host_; }
    RanksHere ranks_here() const { return ranks_here_; }

private:
    struct Slot;
    std::vector<RankStay> find_stays(ProcessState (*state_of)(int pid)) const;
    struct Unmap {
        std::size_t num_bytes;
        void operator()(Slot* slots) const;
    };

    std::string host_;
    RanksHere ranks_here_;
    int num_slots_ = 0;
    int own_slot_ = 0;
    std::unique_ptr<Slot, Unmap> slots_;
};

}  // namespace fusionllm
