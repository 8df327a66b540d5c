#include "fusionllm/comm/rank_table.hpp"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>

#include <sys/mman.h>
#include <unistd.h>

#include "fusionllm/util/error.hpp"

#include "shared_file.hpp"

namespace fusionllm {

//! In shared memory, all zeros at first; a cache line for each rank.
struct alignas(64) RankTable::Slot {
    std::atomic<std::int32_t> pid;  //!< 0 until the rank has entered
    std::atomic<std::int32_t> rank;
    std::atomic<std::int32_t> stage_plus_one;
    std::atomic<std::int32_t> has_left;
    std::atomic<std::uint64_t> activity;
    std::atomic<std::uint32_t> meeting;
    std::atomic<std::int64_t> since_ms;
    // Of the first slot, for all of the host.
    std::atomic<std::int64_t> next_notice_ms;
    std::atomic<std::int64_t> notice_gap_ms;
    std::atomic<std::int32_t> report;  //!< 0: none, 1: begun, 2: ended
};

namespace {

static_assert(std::atomic<std::int32_t>::is_always_lock_free &&
              std::atomic<std::uint64_t>::is_always_lock_free);

//! step (32 bits), phase (8), micro-batch (24): read and written as one word.
std::uint64_t pack(const Activity& activity) {
    return std::uint64_t{activity.step} << 32 |
           std::uint64_t{static_cast<std::uint8_t>(activity.phase)} << 24 |
           (activity.micro_batch & 0xffffffu);
}

Activity unpack(std::uint64_t word) {
    return {static_cast<std::uint32_t>(word >> 32),
            Phase{static_cast<std::uint8_t>(word >> 24)},
            static_cast<std::uint32_t>(word & 0xffffffu)};
}

//! On the clock that all processes of a host share.
std::int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

//! A checkpoint is one meeting, though its ranks write in it.
bool is_same_meeting(const Activity& a, const Activity& b) {
    const auto of_checkpoint = [](Phase phase) {
        return phase == Phase::checkpoint || phase == Phase::writing;
    };
    return a.step == b.step && (a.phase == b.phase || (of_checkpoint(a.phase) &&
                                                       of_checkpoint(b.phase)));
}

//! By /proc; a zombie has ended, though its parent has not looked yet.
ProcessState find_process_state(int pid) {
    if (kill(pid, 0) != 0 && errno == ESRCH) {
        return ProcessState::is_gone;
    }
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    std::getline(file, line);
    // "pid (name) state": the name may contain anything, also ')'.
    const std::size_t end_of_name = line.rfind(')');
    if (end_of_name == line.npos || end_of_name + 2 >= line.size()) {
        return ProcessState::runs;
    }
    switch (line[end_of_name + 2]) {
        case 'Z':
            return ProcessState::is_gone;
        case 'D':
            return ProcessState::waits_for_disk;
        case 'T':
        case 't':
            return ProcessState::is_stopped;
        default:
            return ProcessState::runs;
    }
}

bool is_gone(int pid) {
    return find_process_state(pid) == ProcessState::is_gone;
}

//! A job id may hold what a file's name cannot.
std::string make_file_name(std::string job_id) {
    std::ranges::replace_if(
        job_id,
        [](unsigned char letter) { return std::isalnum(letter) == 0; },
        '_');
    return job_id.substr(0, 64);
}

}  // namespace

bool is_meeting(Phase phase) {
    return phase == Phase::checkpoint || phase == Phase::writing ||
           phase == Phase::agreement || phase == Phase::end;
}

std::string to_text(const Activity& activity) {
    switch (activity.phase) {
        case Phase::start:
        case Phase::agreement:
            return "start";
        case Phase::forward:
            return fmt::format("F{}", activity.micro_batch);
        case Phase::backward:
            return fmt::format("B{}", activity.micro_batch);
        case Phase::update:
            return "update";
        case Phase::checkpoint:
        case Phase::writing:
            return "checkpoint";
        case Phase::evaluation:
            return "evaluation";
        case Phase::trace:
            return "trace";
        case Phase::end:
            return "end";
        case Phase::probe:
            return "probe";
    }
    return "unknown phase";
}

std::string describe_death(const RankStatus& status, const std::string& host) {
    return fmt::format(
        "rank {} (pid {}, host {}) died in step {} while {}{}; continue with "
        "--resume from the last checkpoint",
        status.rank,
        status.pid,
        host,
        status.activity.step,
        to_text(status.activity),
        status.stage < 0 ? "" : fmt::format(" of stage {}", status.stage));
}

void RankTable::Unmap::operator()(Slot* slots) const {
    munmap(slots, num_bytes);
}

RankTable::RankTable(const mpi::Communicator& world, const std::string& job_id)
    : host_(mpi::host_name()), ranks_here_(RanksHere::all) {
    const auto neighbours = world.split_by_host();
    num_slots_ = neighbours.size();
    ranks_here_ = num_slots_ == world.size() ? RanksHere::all : RanksHere::some;
    own_slot_ = neighbours.rank();
    const std::size_t num_bytes = sizeof(Slot) * num_slots_;
    void* const memory =
        detail::map_shared(neighbours, make_file_name(job_id), num_bytes);
    slots_ = {static_cast<Slot*>(memory), Unmap{num_bytes}};
    slots_.get()[own_slot_].rank = world.rank();
}

RankTable::~RankTable() = default;

void RankTable::set_stage(int stage) {
    slots_.get()[own_slot_].stage_plus_one = stage + 1;
}

void RankTable::set_activity(const Activity& activity) {
    Slot& slot = slots_.get()[own_slot_];
    const Activity former = unpack(slot.activity);
    if (is_meeting(activity.phase) && !is_same_meeting(activity, former)) {
        ++slot.meeting;
    }
    slot.since_ms = now_ms();
    slot.activity = pack(activity);
}

void RankTable::enter() {
    Slot& slot = slots_.get()[own_slot_];
    slot.has_left = 0;
    slot.since_ms = now_ms();
    slot.pid = getpid();
}

void RankTable::leave() {
    slots_.get()[own_slot_].has_left = 1;
}

std::vector<RankStay> RankTable::find_stays() const {
    return find_stays([](int) { return ProcessState::runs; });
}

std::vector<RankStay> RankTable::find_stays_and_processes() const {
    return find_stays(find_process_state);
}

std::vector<RankStay> RankTable::find_stays(
    ProcessState (*state_of)(int pid)) const {
    std::vector<RankStay> stays;
    const std::int64_t now = now_ms();
    for (int i = 0; i < num_slots_; ++i) {
        const Slot& slot = slots_.get()[i];
        if (slot.pid != 0 && slot.has_left == 0) {
            stays.push_back({slot.rank,
                             unpack(slot.activity),
                             slot.meeting,
                             static_cast<double>(now - slot.since_ms) / 1e3,
                             state_of(slot.pid)});
        }
    }
    return stays;
}

bool RankTable::claim_notice(double after_s) {
    Slot& shared = slots_.get()[0];
    const std::int64_t now = now_ms();
    std::int64_t due = shared.next_notice_ms;
    std::int64_t gap = shared.notice_gap_ms;
    if (now < due) {
        return false;
    }
    if (gap == 0 || now > due + 2 * gap) {
        gap = static_cast<std::int64_t>(1e3 * after_s);  // long ago
    }
    gap *= 2;
    if (!shared.next_notice_ms.compare_exchange_strong(due, now + gap)) {
        return false;
    }
    shared.notice_gap_ms = gap;
    return true;
}

std::vector<RankStatus> RankTable::find_dead() const {
    std::vector<RankStatus> dead;
    for (int i = 0; i < num_slots_; ++i) {
        const Slot& slot = slots_.get()[i];
        const int pid = slot.pid;
        // The flag is read last: a rank sets it before its process ends.
        if (pid != 0 && is_gone(pid) && slot.has_left == 0) {
            dead.push_back({slot.rank,
                            pid,
                            slot.stage_plus_one - 1,
                            unpack(slot.activity)});
        }
    }
    return dead;
}

bool RankTable::begin_report() {
    std::int32_t none = 0;
    return slots_.get()[0].report.compare_exchange_strong(none, 1);
}

void RankTable::end_report() {
    slots_.get()[0].report = 2;
}

bool RankTable::has_report_ended() const {
    return slots_.get()[0].report == 2;
}

}  // namespace fusionllm
