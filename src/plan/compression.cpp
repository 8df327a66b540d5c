#include "fusionllm/plan/compression.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

bool has_ratio(const CodecChoice& codec) {
    return codec.id != CodecId::dense && codec.id != CodecId::quantised;
}

//! Whether the text itself says its ratio.
bool says_ratio(const std::string& text) {
    return parse_codec_choice(text, 2).element_ratio ==
           parse_codec_choice(text, 3).element_ratio;
}

//! What is wrong with `codec`.
std::string find_codec_problem(const CompressionOptions& options) {
    if (options.codec.empty() || options.rule == "none") {
        return "";
    }
    CodecChoice codec;
    try {
        codec = requested_codec(options);
    } catch (const InputError& error) {
        return error.what();
    }
    if (options.rule == "cut") {
        return "nothing is encoded with rule = \"cut\"; leave it out";
    }
    if (options.rule == "paper") {
        return "rule = \"paper\" has a codec of its own; leave it out, or "
               "choose rule = \"bottleneck\"";
    }
    if (options.rule == "bottleneck" && !has_ratio(codec)) {
        return fmt::format(
            "'{}' has no ratio that rule = \"bottleneck\" could choose; take "
            "top_k, top_k_row or subspace, or rule = \"adaptive\"",
            options.codec);
    }
    if (options.rule == "bottleneck" && says_ratio(options.codec)) {
        return fmt::format(
            "'{}' says a ratio, which rule = \"bottleneck\" chooses; leave it "
            "out, or choose rule = \"uniform\"",
            options.codec);
    }
    return "";
}

}  // namespace

const std::vector<std::string>& compression_rule_names() {
    static const std::vector<std::string> names = {
        "none", "uniform", "paper", "bottleneck", "adaptive", "cut"};
    return names;
}

bool follows_links(const std::string& rule) {
    return rule == "paper" || rule == "bottleneck" || rule == "adaptive";
}

CodecChoice requested_codec(const CompressionOptions& options) {
    return parse_codec_choice(options.codec.empty() ? "top_k" : options.codec,
                              options.element_ratio);
}

OptionProblem find_problem(const CompressionOptions& options) {
    std::string codec = find_codec_problem(options);
    if (!codec.empty()) {
        return {"codec", std::move(codec)};
    }
    if (options.adapt == "on" && !follows_links(options.rule)) {
        return {"adapt",
                fmt::format("\"on\" has no effect with rule = \"{}\", which "
                            "does not look at links; choose \"adaptive\", "
                            "\"bottleneck\" or \"paper\", or set adapt = "
                            "\"off\"",
                            options.rule)};
    }
    if (options.adapt == "replay" && options.replay.empty()) {
        return {"replay",
                "a file is needed for adapt = \"replay\": the record of "
                "choices that a run with adapt = \"on\" has written"};
    }
    return {};
}

}  // namespace fusionllm
