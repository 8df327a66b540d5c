#include "canonical_order.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <ranges>
#include <tuple>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

using Positions = std::vector<std::size_t>;

//! Who reads what, by position of op and value; without repeats.
struct Dependencies {
    std::vector<std::vector<ValueId>> reads;           // by op
    std::vector<Positions> predecessors;               // by op
    std::vector<Positions> successors;                 // by op
    std::vector<Positions> users;                      // by value
    std::vector<std::optional<std::size_t>> producer;  // by value
};

Dependencies find_dependencies(std::size_t num_values,
                               const std::vector<Op>& ops) {
    Dependencies result{std::vector<std::vector<ValueId>>(ops.size()),
                        std::vector<Positions>(ops.size()),
                        std::vector<Positions>(ops.size()),
                        std::vector<Positions>(num_values),
                        std::vector<std::optional<std::size_t>>(num_values)};
    for (std::size_t i = 0; i < ops.size(); ++i) {
        for (const ValueId output : ops[i].outputs) {
            result.producer[output.get()] = i;
        }
    }
    for (std::size_t i = 0; i < ops.size(); ++i) {
        for (const ValueId value : used_values(ops[i])) {
            auto& users = result.users[value.get()];
            if (!users.empty() && users.back() == i) {
                continue;
            }
            users.push_back(i);
            result.reads[i].push_back(value);
            if (const auto producer = result.producer[value.get()]) {
                auto& predecessors = result.predecessors[i];
                if (!std::ranges::count(predecessors, *producer)) {
                    predecessors.push_back(*producer);
                    result.successors[*producer].push_back(i);
                }
            }
        }
    }
    return result;
}

//! "'a', 'b', 'a'": ops in a cycle among those that no order could reach.
std::string describe_cycle(const std::vector<Op>& ops,
                           const Dependencies& dependencies,
                           const std::vector<std::size_t>& num_missing) {
    const auto is_stuck = [&](std::size_t i) { return num_missing[i] > 0; };
    Positions path;
    std::size_t at = 0;
    while (!is_stuck(at)) {
        ++at;
    }
    while (!std::ranges::count(path, at)) {
        path.push_back(at);
        at = *std::ranges::find_if(dependencies.predecessors[at], is_stuck);
    }
    std::string text = "'" + ops[at].name + "'";
    for (auto i = path.rbegin(); i != path.rend(); ++i) {
        text += ", '" + ops[*i].name + "'";
        if (*i == at) {
            break;
        }
    }
    return text;
}

//! Any topological order; throws if there is none.
Positions topological_order(const std::string& graph_name,
                            const std::vector<Op>& ops,
                            const Dependencies& dependencies) {
    std::vector<std::size_t> num_missing(ops.size());
    Positions order;
    for (std::size_t i = 0; i < ops.size(); ++i) {
        num_missing[i] = dependencies.predecessors[i].size();
        if (num_missing[i] == 0) {
            order.push_back(i);
        }
    }
    for (std::size_t next = 0; next < order.size(); ++next) {
        for (const std::size_t successor :
             dependencies.successors[order[next]]) {
            if (--num_missing[successor] == 0) {
                order.push_back(successor);
            }
        }
    }
    FUSIONLLM_VALIDATE(order.size() == ops.size(),
                       "graph '{}' has a cycle, so its ops cannot be ordered: "
                       "{} each need the one before; remove one of these uses",
                       graph_name,
                       describe_cycle(ops, dependencies, num_missing));
    return order;
}

/*!
 * Ops that depend on a parameter and on an input: the network proper. The
 * others (constants such as attention masks, labels given another shape,
 * transposed weights) could run at any time, and wait until one of these asks.
 */
std::vector<bool> find_main_ops(const Dependencies& dependencies,
                                const Positions& topological,
                                const GraphSignature& signature) {
    std::vector<bool> needs_parameter(dependencies.users.size(), false);
    std::vector<bool> needs_input(dependencies.users.size(), false);
    for (const Parameter& parameter : signature.parameters) {
        needs_parameter[parameter.value.get()] = true;
    }
    for (const ValueId input : signature.inputs) {
        needs_input[input.get()] = true;
    }
    std::vector<bool> op_needs_parameter(topological.size(), false);
    std::vector<bool> op_needs_input(topological.size(), false);
    std::vector<bool> is_main(topological.size(), false);
    for (const std::size_t i : topological) {
        for (const ValueId value : dependencies.reads[i]) {
            const auto producer = dependencies.producer[value.get()];
            op_needs_parameter[i] = op_needs_parameter[i] ||
                                    needs_parameter[value.get()] ||
                                    (producer && op_needs_parameter[*producer]);
            op_needs_input[i] = op_needs_input[i] || needs_input[value.get()] ||
                                (producer && op_needs_input[*producer]);
        }
        is_main[i] = op_needs_parameter[i] && op_needs_input[i];
    }
    return is_main;
}

//! Ops on the longest way from each op to an end of the graph.
std::vector<std::int64_t> find_heights(const Dependencies& dependencies,
                                       const Positions& topological) {
    std::vector<std::int64_t> heights(topological.size(), 0);
    for (const std::size_t i : std::views::reverse(topological)) {
        for (const std::size_t successor : dependencies.successors[i]) {
            heights[i] = std::max(heights[i], heights[successor] + 1);
        }
    }
    return heights;
}

class ListScheduler {
public:
    ListScheduler(const std::vector<Value>& values,
                  const std::vector<Op>& ops,
                  const Dependencies& dependencies,
                  const std::vector<std::int64_t>& heights)
        : values_(values),
          ops_(ops),
          dependencies_(dependencies),
          heights_(heights),
          is_done_(ops.size(), false),
          num_users_left_(values.size()) {
        for (std::size_t v = 0; v < values.size(); ++v) {
            num_users_left_[v] = dependencies.users[v].size();
        }
    }

    //! Run all the chosen ops; ops outside run just before their first user.
    void run(const std::vector<bool>& is_chosen) {
        Positions ready;
        std::vector<std::size_t> num_missing(ops_.size(), 0);
        for (std::size_t i = 0; i < ops_.size(); ++i) {
            for (const std::size_t p : dependencies_.predecessors[i]) {
                num_missing[i] += is_chosen[p] && !is_done_[p];
            }
            if (is_chosen[i] && !is_done_[i] && num_missing[i] == 0) {
                ready.push_back(i);
            }
        }
        while (!ready.empty()) {
            const auto best = std::ranges::min_element(
                ready, {}, [this](std::size_t i) { return key(i); });
            const std::size_t op = *best;
            ready.erase(best);
            run_with_needs(op);
            for (const std::size_t successor : dependencies_.successors[op]) {
                if (is_chosen[successor] && --num_missing[successor] == 0) {
                    ready.push_back(successor);
                }
            }
        }
    }

    const Positions& order() const { return order_; }

private:
    using Key = std::tuple<bool, std::int64_t, const std::string&>;

    /*!
     * Ops that go on from a made value before ops that begin anew, and of
     * those the one farthest from the end: a second chain, e.g. a decoder, is
     * not begun, and its value not held, before it is needed.
     */
    Key key(std::size_t op) const {
        std::int64_t live_bytes = 0;
        bool begins = true;
        for (const ValueId output : ops_[op].outputs) {
            if (num_users_left_[output.get()] > 0) {
                live_bytes += bytes_of(output);
            }
        }
        for (const ValueId value : dependencies_.reads[op]) {
            const auto producer = dependencies_.producer[value.get()];
            if (!producer || !is_done_[*producer]) {
                continue;
            }
            begins = false;
            if (num_users_left_[value.get()] == 1) {
                live_bytes -= bytes_of(value);
            }
        }
        return {begins, begins ? -heights_[op] : live_bytes, ops_[op].name};
    }

    std::int64_t bytes_of(ValueId value) const {
        return static_cast<std::int64_t>(num_bytes(values_[value.get()].type));
    }

    void run_with_needs(std::size_t op) {
        Positions stack{op};
        while (!stack.empty()) {
            const std::size_t top = stack.back();
            const auto missing = std::ranges::find_if(
                dependencies_.predecessors[top],
                [this](std::size_t p) { return !is_done_[p]; });
            if (missing != dependencies_.predecessors[top].end()) {
                stack.push_back(*missing);
                continue;
            }
            stack.pop_back();
            is_done_[top] = true;
            order_.push_back(top);
            for (const ValueId value : dependencies_.reads[top]) {
                --num_users_left_[value.get()];
            }
        }
    }

    const std::vector<Value>& values_;
    const std::vector<Op>& ops_;
    const Dependencies& dependencies_;
    const std::vector<std::int64_t>& heights_;  // by op
    std::vector<bool> is_done_;                 // by op
    std::vector<std::size_t> num_users_left_;   // by value
    Positions order_;
};

}  // namespace

std::vector<std::size_t> canonical_order(const std::string& graph_name,
                                         const std::vector<Value>& values,
                                         const std::vector<Op>& ops,
                                         const GraphSignature& signature) {
    const Dependencies dependencies = find_dependencies(values.size(), ops);
    const Positions topological =
        topological_order(graph_name, ops, dependencies);
    const auto heights = find_heights(dependencies, topological);
    ListScheduler scheduler(values, ops, dependencies, heights);
    scheduler.run(find_main_ops(dependencies, topological, signature));
    scheduler.run(std::vector<bool>(ops.size(), true));
    return scheduler.order();
}

}  // namespace fusionllm::detail
