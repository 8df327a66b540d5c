#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/runtime/basis_schedule.hpp"
#include "fusionllm/runtime/long_wait.hpp"
#include "fusionllm/runtime/sent_bytes.hpp"

#include "app/job.hpp"
#include "app/screen.hpp"

namespace fusionllm {

//! What was sent in steps [begin, end).
struct SentSteps {
    const RankTraffic& traffic;
    std::int64_t begin = 0;
    std::int64_t end = 0;
    BasisSchedule bases{};
};

//! What went over each communicator beside what the plan foresaw; "" if
//! nothing did.
std::string describe_sent(const Job& job,
                          const std::vector<DeviceId>& device_of_rank,
                          const std::vector<int>& group_of_rank,
                          const SentSteps& sent);

//! "stage 3 waits 12 s for F7 from stage 2; link lyon-osaka moved 0 bytes"
std::string describe_wait(const LongWait& wait,
                          const Job& job,
                          const std::vector<DeviceId>& device_of_rank);

//! Processor time of all ranks, as one line on the root and "" elsewhere;
//! collective.
std::string gather_cpu_time(Transport& transport,
                            const Plan& plan,
                            const std::vector<DeviceId>& device_of_rank);

//! The ranks of the first table.
std::vector<RankLine> make_rank_lines(
    const Job& job,
    const std::vector<DeviceId>& device_of_rank,
    const std::vector<int>& group_of_rank,
    const std::vector<std::string>& hosts,
    const std::vector<std::string>& pids);

//! Sentences of ranks, empty where there is none: each once, after the names of
//! the hosts that it is of.
std::vector<std::string> with_hosts(const std::vector<std::string>& sentences,
                                    const std::vector<std::string>& hosts);

}  // namespace fusionllm
