#include "fusionllm/runtime/gradient_exchange.hpp"

#include <algorithm>
#include <memory>
#include <set>

#include <ATen/ATen.h>

#include "fusionllm/runtime/message.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

MessageHeader header_of(const OpGraph& graph,
                        std::size_t parameter,
                        std::uint64_t step) {
    MessageHeader header;
    header.kind = MessageKind::parameter_gradient;
    header.step = step;
    header.value = graph.signature().parameters[parameter].value.get();
    header.type = graph.value(ValueId(header.value)).type;
    return header;
}

}  // namespace

std::size_t stage_of(const Plan& plan, OpId op) {
    const auto& stages = plan.placement.stages;
    const auto stage =
        std::ranges::find_if(stages, [&](const StagePlacement& candidate) {
            return op.get() < candidate.ops.end;
        });
    FUSIONLLM_EXPECTS(stage != stages.end());
    return static_cast<std::size_t>(stage - stages.begin());
}

GradientExchange::GradientExchange(const OpGraph& graph,
                                   const Plan& plan,
                                   const RankRole& role,
                                   const ParameterStore& parameters)
    : graph_(graph), role_(role), parameters_(parameters) {
    // Slots are numbered over the whole graph, equally on all ranks.
    std::uint32_t slot = 0;
    for (std::size_t p = 0; p < graph.signature().parameters.size(); ++p) {
        for (const ParameterUse& use : uses_of_parameter(graph, p)) {
            Use entry{p, stage_of(plan, use.op), -1, slot++};
            const auto local = std::ranges::find(parameters.uses(), use);
            if (local != parameters.uses().end()) {
                entry.local =
                    static_cast<int>(local - parameters.uses().begin());
            }
            if (parameters.has(p)) {
                uses_.push_back(entry);
            }
        }
    }
}

std::vector<GradientExchange::Use> GradientExchange::uses_of(
    std::size_t parameter) const {
    std::vector<Use> uses;
    std::ranges::copy_if(uses_, std::back_inserter(uses), [&](const Use& use) {
        return use.parameter == parameter;
    });
    return uses;
}

bool GradientExchange::is_owner(std::size_t parameter) const {
    return uses_of(parameter).front().stage == role_.stage;
}

std::vector<at::Tensor> GradientExchange::sum(Transport& transport,
                                              IdleWait& wait,
                                              ComputeThread& compute,
                                              Pipeline& pipeline,
                                              std::uint64_t step) {
    struct Incoming {
        Use use;
        Request request;
        Buffer message;
    };
    std::vector<Incoming> incoming;
    struct Outgoing {
        Use use;
        std::vector<int> ranks;
    };
    std::vector<Outgoing> outgoing;
    for (const std::size_t parameter : parameters_.indices()) {
        const std::vector<Use> uses = uses_of(parameter);
        std::set<int> others;
        for (const Use& use : uses) {
            if (use.local < 0) {
                const int source = role_.rank_of_stage[use.stage];
                const auto header = header_of(graph_, parameter, step);
                others.insert(source);
                incoming.push_back(
                    {use,
                     transport.receive(
                         source,
                         {MessageKind::parameter_gradient, use.slot},
                         dense_message_bytes(header.type)),
                     {}});
            }
        }
        for (const Use& use : uses) {
            if (use.local >= 0 && !others.empty()) {
                outgoing.push_back({use, {others.begin(), others.end()}});
            }
        }
    }
    const auto progress = [&] { pipeline.progress_sends(); };
    for (const Outgoing& out : outgoing) {
        std::vector<Buffer> messages;
        compute.run(
            [&] {
                for (std::size_t i = 0; i < out.ranks.size(); ++i) {
                    messages.push_back(encode_message(
                        header_of(graph_, out.use.parameter, step),
                        parameters_.gradient(out.use.local)));
                }
            },
            progress);
        for (std::size_t i = 0; i < out.ranks.size(); ++i) {
            pipeline.send(out.ranks[i],
                          {MessageKind::parameter_gradient, out.use.slot},
                          std::move(messages[i]));
        }
    }
    for (Incoming& in : incoming) {
        wait.reset();
        while (!in.request.test()) {
            if (!pipeline.progress_sends()) {
                wait.idle();
            }
        }
        in.message = in.request.take();
    }
    std::vector<at::Tensor> sums;
    compute.run(
        [&] {
            for (const std::size_t parameter : parameters_.indices()) {
                at::Tensor sum;
                for (const Use& use : uses_of(parameter)) {
                    at::Tensor part;
                    if (use.local >= 0) {
                        part = parameters_.gradient(use.local);
                    } else {
                        auto in = std::ranges::find_if(
                            incoming, [&](const Incoming& candidate) {
                                return candidate.use.slot == use.slot;
                            });
                        part = decode_message(
                            std::move(in->message),
                            header_of(graph_, parameter, step),
                            parameters_.get(parameter).value.device());
                    }
                    if (part.defined()) {
                        sum = sum.defined() ? sum.add(part) : part;
                    }
                }
                sums.push_back(sum);
            }
        },
        progress);
    return sums;
}

}  // namespace fusionllm
