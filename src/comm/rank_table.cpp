#include "fusionllm/comm/rank_table.hpp"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
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
    std::atomic<std::int32_t> is_reported;
    std::atomic<std::uint64_t> activity;
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

//! A zombie has ended, though its parent has not looked yet.
bool is_zombie(int pid) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    std::getline(file, line);
    // "pid (name) state": the name may contain anything, also ')'.
    const std::size_t end_of_name = line.rfind(')');
    return end_of_name != line.npos && end_of_name + 2 < line.size() &&
           line[end_of_name + 2] == 'Z';
}

bool is_gone(int pid) {
    return (kill(pid, 0) != 0 && errno == ESRCH) || is_zombie(pid);
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

std::string to_text(const Activity& activity) {
    switch (activity.phase) {
        case Phase::start:
            return "start";
        case Phase::forward:
            return fmt::format("F{}", activity.micro_batch);
        case Phase::backward:
            return fmt::format("B{}", activity.micro_batch);
        case Phase::update:
            return "update";
        case Phase::checkpoint:
            return "checkpoint";
        case Phase::evaluation:
            return "evaluation";
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
    : host_(mpi::host_name()) {
    const auto neighbours = world.split_by_host();
    num_slots_ = neighbours.size();
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
    slots_.get()[own_slot_].activity = pack(activity);
}

void RankTable::enter() {
    Slot& slot = slots_.get()[own_slot_];
    slot.has_left = 0;
    slot.pid = getpid();
}

void RankTable::leave() {
    slots_.get()[own_slot_].has_left = 1;
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

bool RankTable::claim_report(const RankStatus& dead) {
    for (int i = 0; i < num_slots_; ++i) {
        Slot& slot = slots_.get()[i];
        if (slot.rank == dead.rank && slot.pid == dead.pid) {
            return slot.is_reported.exchange(1) == 0;
        }
    }
    return false;
}

}  // namespace fusionllm
