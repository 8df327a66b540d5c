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

//! The accumulator of one use on another stage, on its way to us.
struct GradientExchange::Incoming {
    Use use;
    Request request;
    Buffer message;
};

std::vector<GradientExchange::Incoming> GradientExchange::receive_others(
    Transport& transport, std::uint64_t step) const {
    std::vector<Incoming> incoming;
    for (const Use& use : uses_) {
        if (use.local >= 0) {
            continue;
        }
        const auto header = header_of(graph_, use.parameter, step);
        incoming.push_back(
            {use,
             transport.receive(role_.rank_of_stage[use.stage],
                               {MessageKind::parameter_gradient, use.slot},
                               dense_message_bytes(header.type)),
             {}});
    }
    return incoming;
}

std::set<int> GradientExchange::other_holders(std::size_t parameter) const {
    std::set<int> ranks;
    for (const Use& use : uses_of(parameter)) {
        if (use.local < 0) {
            ranks.insert(role_.rank_of_stage[use.stage]);
        }
    }
    return ranks;
}

void GradientExchange::send_own(ComputeThread& compute,
                                Pipeline& pipeline,
                                std::uint64_t step,
                                std::map<int, std::uint64_t>& sent) const {
    for (const Use& use : uses_) {
        const std::set<int> ranks = other_holders(use.parameter);
        if (use.local < 0 || ranks.empty()) {
            continue;
        }
        std::vector<Buffer> messages;
        const auto encode = [&] {
            for (std::size_t i = 0; i < ranks.size(); ++i) {
                messages.push_back(
                    encode_message(header_of(graph_, use.parameter, step),
                                   parameters_.gradient(use.local)));
            }
        };
        compute.run(encode, [&] { pipeline.progress_sends(); });
        auto message = messages.begin();
        for (const int rank : ranks) {
            sent[rank] += message->size();
            pipeline.send(rank,
                          {MessageKind::parameter_gradient, use.slot},
                          std::move(*message++));
        }
    }
}

at::Tensor GradientExchange::add_up(std::size_t parameter,
                                    std::vector<Incoming>& incoming,
                                    std::uint64_t step) const {
    at::Tensor sum;
    for (const Use& use : uses_of(parameter)) {
        at::Tensor part;
        if (use.local >= 0) {
            part = parameters_.gradient(use.local);
        } else {
            const auto in = std::ranges::find(
                incoming, use.slot, [](const Incoming& candidate) {
                    return candidate.use.slot;
                });
            part = decode_message(std::move(in->message),
                                  header_of(graph_, parameter, step),
                                  parameters_.get(parameter).value.device());
        }
        if (part.defined()) {
            sum = sum.defined() ? sum.add(part) : part;
        }
    }
    return sum;
}

std::vector<at::Tensor> GradientExchange::sum(
    Transport& transport,
    IdleWait& wait,
    ComputeThread& compute,
    Pipeline& pipeline,
    std::uint64_t step,
    std::map<int, std::uint64_t>& sent) {
    std::vector<Incoming> incoming = receive_others(transport, step);
    send_own(compute, pipeline, step, sent);
    for (Incoming& in : incoming) {
        wait.reset();
        while (!in.request.test()) {
            if (!pipeline.progress_sends()) {
                wait.idle({MessageKind::parameter_gradient,
                           0,
                           role_.rank_of_stage[in.use.stage]});
            }
        }
        in.message = in.request.take();
    }
    std::vector<at::Tensor> sums;
    const auto add_all = [&] {
        for (const std::size_t parameter : parameters_.indices()) {
            sums.push_back(add_up(parameter, incoming, step));
        }
    };
    compute.run(add_all, [&] { pipeline.progress_sends(); });
    return sums;
}

}  // namespace fusionllm
