#pragma once

#include "app/run_input.hpp"
#include "app/run_input_rules.hpp"

namespace fusionllm::detail {

// The keys of [compression], [network] and [trace], what happens to values
// between stages, for run_input_keys.hpp.

template <class Input, class Visitor>
void visit_compression(Input& input, Visitor& visitor) {
    auto& options = input.compression.options;
    visitor.section("compression", "What is sent between stages.");
    visitor.key("rule",
                options.rule,
                Choices{compression_rule_names()},
                "How codecs are chosen; \"none\": nothing is compressed.");
    visitor.key("codec",
                options.codec,
                Any{},
                "Such as \"int8\" or \"top_k(100,int4)\"; \"\" = any.");
    visitor.key("element_ratio",
                options.element_ratio,
                at_least_one,
                "Of a codec that leaves it out: n/k.");
    visitor.key("max_byte_ratio",
                options.max_byte_ratio,
                at_least_one,
                "Most that a value is compressed.");
    visitor.key("max_error",
                options.max_error,
                at_least_zero,
                "Largest relative error of a value; 0 = no limit.");
    visitor.key("error_price",
                options.error_price,
                at_least_zero,
                "What plans pay for a squared error, in steps.");
    visitor.key("adapt",
                options.adapt,
                Choices{{"off", "on", "replay"}},
                "Whether codecs follow the links while training.");
    visitor.key("replay",
                options.replay,
                Any{},
                "For \"replay\": the choices that another run recorded.");
    visitor.key("basis_every",
                input.compression.basis_every,
                some_count,
                "Steps between new bases of subspace codecs.");
    visitor.key("measure_every",
                input.compression.measure_every,
                any_count,
                "Steps between measurements of their errors; 0 = never.");
    visitor.key("evaluate",
                input.compression.evaluate,
                Choices{{"on", "off", "both"}},
                "Whether evaluations go through the codecs.");
    visitor.key("fences",
                input.compression.fences,
                Any{},
                "A plan whose fences to take; \"\" = the rule's.");
    visitor.key("cut_after",
                input.compression.cut_after,
                Any{},
                "For rule \"cut\": the block or op before it, like \"h.1\".");
    visitor.key("restart",
                input.compression.restart,
                Choices{{"embedding", "zeros"}},
                "For rule \"cut\": what the ops after it begin with.");
}

template <class Input, class Visitor>
void visit_network(Input& input, Visitor& visitor) {
    auto& network = input.network;
    visitor.section("network", "The testbed's links and devices.");
    visitor.key("mode",
                network.mode,
                Choices{{"none", "emulated", "shaped"}},
                "\"emulated\": time steps for it; \"shaped\": delay messages.");
    visitor.key("compute",
                network.compute,
                Choices{{"real", "paced", "waits"}},
                "In the devices' time: \"paced\", or without computing: "
                "\"waits\".");
    visitor.key("time_scale",
                network.time_scale,
                above_zero,
                "The testbed's times are so much longer here.");
    visitor.key("jitter",
                network.jitter,
                Any{},
                "Of shaped links: messages come up to this later.");
    visitor.key("changes",
                network.changes,
                Any{},
                "Of shaped lines: [\"lyon-osaka x0.1 at 30 s for 5 s\"].");
}

template <class Input, class Visitor>
void visit_trace(Input& input, Visitor& visitor) {
    auto& trace = input.trace;
    visitor.section("trace", "Which values between stages are recorded.");
    visitor.key("values",
                trace.values,
                Any{},
                "Names of values or blocks, or \"all\"; [] = no trace.");
    visitor.key("steps",
                trace.steps,
                StepRange{},
                "First and last step, [1, 500], or 500 alone; [] = all.");
    visitor.key("every",
                trace.every,
                some_count,
                "Steps from one traced step to the next.");
    visitor.key("micro_batches",
                trace.micro_batches,
                some_count,
                "The first so many of a step.");
    visitor.key("file",
                trace.file,
                Any{},
                "HDF5, one a stage; \"\" = traces/trace.h5 of the output.");
}

}  // namespace fusionllm::detail
