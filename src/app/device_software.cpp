#include "app/device_software.hpp"

#include <algorithm>

#include <fmt/ranges.h>

#include "fusionllm/graph/call.hpp"
#include "fusionllm/graph/decompose.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

using Problems = std::map<OperatorCall, std::string>;

//! "rank 3", "ranks 0 to 3", "ranks 0, 2 to 5 and 9".
std::string name_ranks(const std::vector<std::size_t>& ranks) {
    std::vector<std::string> runs;
    for (std::size_t i = 0; i < ranks.size();) {
        std::size_t end = i + 1;
        while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) {
            ++end;
        }
        runs.push_back(end - i == 1
                           ? fmt::format("{}", ranks[i])
                           : fmt::format("{} to {}", ranks[i], ranks[end - 1]));
        i = end;
    }
    const std::string last = runs.back();
    runs.pop_back();
    return fmt::format("rank{} {}{}{}",
                       ranks.size() == 1 ? "" : "s",
                       fmt::join(runs, ", "),
                       runs.empty() ? "" : " and ",
                       last);
}

//! What every rank said of the calls.
class Answers {
public:
    Answers(std::vector<OperatorCall> calls,
            const RankSoftware& ranks,
            const AskRanks& ask)
        : ranks_(ranks) {
        const auto answers = ask(calls);
        FUSIONLLM_EXPECTS(answers.size() == ranks.libtorch.size());
        for (const auto& answer : answers) {
            Problems& problems = problems_.emplace_back();
            for (std::size_t i = 0; i < calls.size(); ++i) {
                if (!answer.at(i).empty()) {
                    problems[calls[i]] = answer[i];
                }
            }
        }
    }

    bool is_lacking(const OperatorCall& call) const {
        return std::ranges::any_of(problems_, [&](const Problems& problems) {
            return problems.contains(call);
        });
    }
    bool is_lacking_everywhere(const OperatorCall& call) const {
        return std::ranges::all_of(problems_, [&](const Problems& problems) {
            return problems.contains(call);
        });
    }

    //! "LibTorch 1.13.1 (ranks 0 and 1) does not have it", of each that cannot.
    std::string describe(const OperatorCall& call) const {
        std::map<std::pair<std::string, std::string>, std::vector<std::size_t>>
            ranks;
        for (std::size_t rank = 0; rank < problems_.size(); ++rank) {
            const auto found = problems_[rank].find(call);
            if (found != problems_[rank].end()) {
                ranks[{ranks_.libtorch[rank], found->second}].push_back(rank);
            }
        }
        std::vector<std::string> parts;
        for (const auto& [what, who] : ranks) {
            parts.push_back(fmt::format("LibTorch {} ({}) {}",
                                        what.first,
                                        name_ranks(who),
                                        what.second));
        }
        return fmt::format("{}", fmt::join(parts, ", "));
    }

    //! Of these calls only; equal ranks share a kind.
    DeviceSoftware make_software(const std::vector<OperatorCall>& calls) const {
        DeviceSoftware software;
        software.kind_of_device.resize(ranks_.devices.size());
        for (std::size_t rank = 0; rank < problems_.size(); ++rank) {
            DeviceSoftware::Kind kind{"LibTorch " + ranks_.libtorch[rank], {}};
            for (const OperatorCall& call : calls) {
                const auto found = problems_[rank].find(call);
                if (found != problems_[rank].end()) {
                    kind.problems.insert(*found);
                }
            }
            const auto known = std::ranges::find(software.kinds, kind);
            software.kind_of_device.at(ranks_.devices[rank].get()) =
                static_cast<std::size_t>(known - software.kinds.begin());
            if (known == software.kinds.end()) {
                software.kinds.push_back(std::move(kind));
            }
        }
        return software;
    }

private:
    const RankSoftware& ranks_;
    std::vector<Problems> problems_;  // by rank
};

//! Of the graph, and of what it could be decomposed to.
std::vector<OperatorCall> possible_calls(const OpGraph& graph) {
    std::vector<OperatorCall> calls = calls_of(graph);
    const auto more =
        calls_of(decompose(graph, [](const Op&) { return true; }));
    calls.insert(calls.end(), more.begin(), more.end());
    std::ranges::sort(calls);
    calls.erase(std::ranges::unique(calls).begin(), calls.end());
    return calls;
}

//! The graph without what some rank lacks, unless the parts lack, too.
OpGraph substitute(OpGraph graph, const Answers& answers) {
    OpGraph other = decompose(
        graph, [&](const Op& op) { return answers.is_lacking(call_of(op)); });
    const auto known = calls_of(graph);
    const bool has_parts =
        std::ranges::none_of(calls_of(other), [&](const OperatorCall& call) {
            return answers.is_lacking(call) &&
                   !std::ranges::binary_search(known, call);
        });
    return has_parts ? std::move(other) : std::move(graph);
}

void check_somebody_can(const OpGraph& graph, const Answers& answers) {
    for (const Op& op : graph.ops()) {
        const OperatorCall call = call_of(op);
        FUSIONLLM_VALIDATE(
            !answers.is_lacking_everywhere(call),
            "op '{}' calls {}, which no rank can run: {}; build fusionllm with "
            "a LibTorch that has it (docs/how-to/mixed-versions.md) for some "
            "of the ranks, or write the model without it",
            op.name,
            full_name(op),
            answers.describe(call));
    }
}

//! "LibTorch 1.13.1 (ranks 0 to 1), LibTorch 2.6.0 (rank 2)".
std::string list_versions(const RankSoftware& ranks) {
    std::map<std::string, std::vector<std::size_t>> ranks_of;
    for (std::size_t rank = 0; rank < ranks.libtorch.size(); ++rank) {
        ranks_of[ranks.libtorch[rank]].push_back(rank);
    }
    std::vector<std::string> parts;
    for (const auto& [version, who] : ranks_of) {
        parts.push_back(
            fmt::format("LibTorch {} ({})", version, name_ranks(who)));
    }
    return fmt::format("{}", fmt::join(parts, ", "));
}

//! Which versions there are, if several; what was decomposed, and what must be
//! placed, once a call.
std::vector<std::string> make_notes(const OpGraph& before,
                                    const OpGraph& after,
                                    const RankSoftware& ranks,
                                    const Answers& answers) {
    std::vector<std::string> notes;
    if (std::ranges::adjacent_find(ranks.libtorch,
                                   std::ranges::not_equal_to()) !=
        ranks.libtorch.end()) {
        notes.push_back("the ranks compute with " + list_versions(ranks));
    }
    const auto calls = calls_of(after);
    std::vector<OperatorCall> done;
    for (const Op& op : before.ops()) {
        const OperatorCall call = call_of(op);
        if (!answers.is_lacking(call) ||
            std::ranges::find(done, call) != done.end()) {
            continue;
        }
        done.push_back(call);
        const bool is_placed = std::ranges::binary_search(calls, call);
        notes.push_back(fmt::format("{} {}: {}",
                                    full_name(op),
                                    is_placed ? "is placed where it can be run"
                                              : "is computed by its parts",
                                    answers.describe(call)));
    }
    return notes;
}

}  // namespace

OpSupport make_op_support(const OpGraph& graph,
                          const DeviceSoftware& software) {
    std::vector<Software> kinds;
    for (const DeviceSoftware::Kind& kind : software.kinds) {
        Software& entry = kinds.emplace_back(Software{kind.name, {}});
        for (std::size_t i = 0; i < graph.ops().size(); ++i) {
            if (kind.problems.contains(call_of(graph.ops()[i]))) {
                entry.missing.push_back(i);
            }
        }
    }
    return {std::move(kinds), software.kind_of_device, graph.ops().size()};
}

std::vector<std::vector<std::string>> ask_this_program(
    const std::vector<OperatorCall>& calls) {
    std::vector<std::string> problems;
    for (const OperatorCall& call : calls) {
        problems.push_back(find_call_problem(call));
    }
    return {problems};
}

FittedGraph fit_to_ranks(OpGraph graph,
                         const RankSoftware& ranks,
                         const AskRanks& ask) {
    const Answers answers(possible_calls(graph), ranks, ask);
    OpGraph fitted = substitute(graph, answers);
    check_somebody_can(fitted, answers);
    auto notes = make_notes(graph, fitted, ranks, answers);
    DeviceSoftware software = answers.make_software(calls_of(fitted));
    return {std::move(fitted), std::move(software), std::move(notes)};
}

}  // namespace fusionllm
