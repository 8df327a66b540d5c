#include "codec_candidates.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

namespace fusionllm::detail {
namespace {

// Ratios of `bottleneck`, which shall not be larger than needed, and of the
// others, which also choose the codec: so much apart.
constexpr double fine_step = 1.01;
constexpr double coarse_step = 1.189207115002721;  // 2^(1/4)
// A byte ratio takes at most that many times as large an element ratio: paper's
// 12 bytes for 4 (12 and 4 bytes the other way for top-k in fp32: less).
constexpr double most_elements_for_bytes = 3;

//! Three digits, so that people can read the plan.
double rounded(double ratio) {
    return std::stod(fmt::format("{:.3g}", ratio));
}

//! The codec with ratios from 1 up to what the byte ratio can ask for.
void add_ratios(CodecChoice codec,
                const CompressionOptions& options,
                double step,
                std::vector<CodecChoice>& candidates) {
    const double most = most_elements_for_bytes * options.max_byte_ratio;
    double last = 0;
    for (double ratio = 1; ratio <= most * step; ratio *= step) {
        codec.element_ratio = std::min(rounded(ratio), most);
        if (codec.element_ratio > last) {
            candidates.push_back(codec);
        }
        last = codec.element_ratio;
    }
}

//! All pairs of the two lists.
void add_pairs(const std::vector<ValueChoice>& forward,
               const std::vector<ValueChoice>& backward,
               std::vector<CodecChoice>& candidates) {
    for (const ValueChoice& there : forward) {
        for (const ValueChoice& back : backward) {
            CodecChoice codec;
            codec.id =
                has_scales(there.format) ? CodecId::quantised : CodecId::dense;
            codec.forward = there;
            codec.backward = back;
            candidates.push_back(codec);
        }
    }
}

bool has_ratio(const CodecChoice& codec) {
    return codec.id != CodecId::dense && codec.id != CodecId::quantised;
}

bool leaves_ratio_out(const std::string& text) {
    return text.find('(') == std::string::npos;
}

//! Where the user has named the codec.
std::vector<CodecChoice> named_candidates(const CompressionOptions& options) {
    const CodecChoice codec = requested_codec(options);
    std::vector<CodecChoice> candidates;
    if (!has_ratio(codec)) {
        add_pairs({{}, codec.forward}, {{}, codec.backward}, candidates);
        for (CodecChoice& candidate : candidates) {
            candidate.has_feedback =
                codec.has_feedback && !(candidate == CodecChoice{});
        }
        return candidates;
    }
    candidates.push_back({});
    if (leaves_ratio_out(options.codec)) {
        add_ratios(codec, options, coarse_step, candidates);
    } else {
        candidates.push_back(codec);
    }
    return candidates;
}

std::vector<CodecChoice> all_candidates(const CompressionOptions& options) {
    const ValueChoice f32{};
    const ValueChoice bf16{ValueFormat::bf16, Rounding::nearest};
    const ValueChoice int8{ValueFormat::int8, Rounding::nearest};
    const ValueChoice int4{ValueFormat::int4, Rounding::nearest};
    // Gradients of tokens differ by orders of magnitude: to the nearest, small
    // ones can vanish beside large ones of their tile (docs/evaluation.md).
    const ValueChoice int8s{ValueFormat::int8, Rounding::stochastic};
    const ValueChoice int4s{ValueFormat::int4, Rounding::stochastic};
    const ValueChoice int3s{ValueFormat::int3, Rounding::stochastic};
    std::vector<CodecChoice> candidates;
    add_pairs(
        {f32, bf16, int8, int4}, {f32, bf16, int8s, int4s, int3s}, candidates);
    // Of whole tensors top-k can make activations run away, and its error does
    // not show it: docs/decisions/one-compressed-link.md.
    for (const char* text : {"top_k_row(1,int4/int4s)",
                             "top_k_row(1,int4/int8s)",
                             "subspace(1,graded/int4s)",
                             "subspace(1,graded5/int3s)",
                             "subspace(1,graded6/int4s)"}) {
        add_ratios(
            parse_codec_choice(text, 1), options, coarse_step, candidates);
    }
    return candidates;
}

}  // namespace

std::vector<CodecChoice> codec_candidates(const CompressionOptions& options) {
    if (options.rule == "uniform") {
        return {requested_codec(options)};
    }
    std::vector<CodecChoice> candidates{CodecChoice{}};
    if (options.rule == "paper") {
        add_ratios(
            parse_codec_choice("paper", 1), options, coarse_step, candidates);
    } else if (options.rule == "bottleneck") {
        add_ratios(requested_codec(options), options, fine_step, candidates);
    } else if (options.rule == "adaptive") {
        return options.codec.empty() ? all_candidates(options)
                                     : named_candidates(options);
    } else {
        return {};
    }
    return candidates;
}

}  // namespace fusionllm::detail
