#include "app/commands/train_report.hpp"

#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/runtime/emulation.hpp"
#include "fusionllm/runtime/rank_role.hpp"
#include "fusionllm/util/units.hpp"

#include "app/traffic_table.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t cpu_slot = 17;

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

//! What the new bases of subspaces add, which are not part of every step.
void add_bases(RankTraffic& planned,
               const Job& job,
               const std::vector<int>& rank_of_stage,
               const SentSteps& sent) {
    const std::int64_t count = sent.bases.count(sent.begin, sent.end);
    const auto& stages = job.plan.placement.stages;
    for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
        for (const Fence& fence :
             fences_at(job.plan.fences, stages[s].ops.end)) {
            planned[{rank_of_stage[s], rank_of_stage[s + 1]}] +=
                basis_bytes(fence.codec, shape_of(job.graph, fence.value)) *
                static_cast<std::uint64_t>(count);
        }
    }
}

//! "F7 from stage 2", "the report of rank 3", "the trial of the link by stage
//! 1", "stage 1 to take F7"
std::string describe_message(const Awaited& awaited, const std::string& from) {
    switch (awaited.kind) {
        case MessageKind::activation:
            return fmt::format("F{} from {}", awaited.micro_batch, from);
        case MessageKind::gradient:
            return fmt::format("B{} from {}", awaited.micro_batch, from);
        case MessageKind::parameter_gradient:
            return fmt::format("gradients of shared parameters from {}", from);
        case MessageKind::control:
            if (awaited.is_of_trial) {
                return fmt::format("the trial of the link by {}", from);
            }
            if (awaited.is_receipt) {
                return fmt::format("{} to take F{}", from, awaited.micro_batch);
            }
            return awaited.from_rank == root
                       ? "the decision of rank 0"
                       : fmt::format("the report of {}", from);
    }
    return from;
}

}  // namespace

std::string describe_wait(const LongWait& wait,
                          const Job& job,
                          const std::vector<DeviceId>& device_of_rank) {
    const auto name = [&](int rank) {
        const RankRole role = make_rank_role(job.plan, device_of_rank, rank);
        return role.stage ? fmt::format("stage {}", *role.stage)
                          : fmt::format("rank {}", rank);
    };
    const auto device = [&](int rank) {
        return device_of_rank.at(static_cast<std::size_t>(rank));
    };
    const int from = wait.awaited.from_rank;
    return fmt::format(
        "{} waits {} for {}; link {} moved {}",
        name(wait.rank),
        format_seconds(wait.waited_s),
        describe_message(wait.awaited, name(from)),
        job.model.network().name(device(from), device(wait.rank)),
        wait.moved_bytes == 0
            ? "0 bytes"
            : format_bytes(static_cast<double>(wait.moved_bytes)));
}

std::string describe_sent(const Job& job,
                          const std::vector<DeviceId>& device_of_rank,
                          const std::vector<int>& group_of_rank,
                          const SentSteps& sent) {
    const auto rank_of_stage =
        make_rank_role(job.plan, device_of_rank, root).rank_of_stage;
    RankTraffic planned = foresee_traffic(
        job.model.step_costs(job.plan.placement, job.plan.fences),
        rank_of_stage,
        device_of_rank,
        job.plan.micro_batches);
    for (auto& [ranks, bytes] : planned) {
        bytes *= static_cast<std::uint64_t>(sent.end - sent.begin);
    }
    add_bases(planned, job, rank_of_stage, sent);
    return describe_traffic(
        sent.traffic, planned, group_of_rank, job.plan.groups);
}

std::string gather_cpu_time(Transport& transport,
                            const Plan& plan,
                            const std::vector<DeviceId>& device_of_rank) {
    const auto cpu =
        gather(transport, root, cpu_slot, fmt::format("{}", cpu_seconds()));
    if (cpu.empty()) {
        return "";
    }
    double idle_s = 0;
    double all_s = 0;
    int num_idle = 0;
    for (std::size_t rank = 0; rank < cpu.size(); ++rank) {
        const double seconds = std::stod(cpu[rank]);
        all_s += seconds;
        if (!make_rank_role(plan, device_of_rank, static_cast<int>(rank))
                 .stage) {
            ++num_idle;
            idle_s += seconds;
        }
    }
    std::string line =
        fmt::format("CPU time: {:.1f} s over {} ranks", all_s, cpu.size());
    if (num_idle > 0) {
        line += fmt::format(
            ", of it {:.1f} s by {} ranks without a stage", idle_s, num_idle);
    }
    return line;
}

std::vector<RankLine> make_rank_lines(
    const Job& job,
    const std::vector<DeviceId>& device_of_rank,
    const std::vector<int>& group_of_rank,
    const std::vector<std::string>& hosts,
    const std::vector<std::string>& pids) {
    std::vector<RankLine> ranks;
    for (std::size_t rank = 0; rank < pids.size(); ++rank) {
        const RankRole role =
            make_rank_role(job.plan, device_of_rank, static_cast<int>(rank));
        ranks.push_back({static_cast<int>(rank),
                         hosts[rank],
                         std::stoi(pids[rank]),
                         job.topology.devices[device_of_rank[rank].get()].name,
                         job.plan.groups[group_of_rank[rank]].name,
                         role.stage ? static_cast<int>(*role.stage) : -1});
    }
    return ranks;
}

std::vector<std::string> with_hosts(const std::vector<std::string>& sentences,
                                    const std::vector<std::string>& hosts) {
    std::map<std::string, std::set<std::string>> hosts_of;
    for (std::size_t rank = 0; rank < sentences.size(); ++rank) {
        if (!sentences[rank].empty()) {
            hosts_of[sentences[rank]].insert(hosts[rank]);
        }
    }
    std::vector<std::string> notes;
    for (const auto& [sentence, names] : hosts_of) {
        notes.push_back(
            fmt::format("on {}: {}", fmt::join(names, ", "), sentence));
    }
    return notes;
}

}  // namespace fusionllm
