#include "fusionllm/plan/codec_cost.hpp"

namespace fusionllm {
namespace {

//! Copies of the tensor that each end takes.
struct Copies {
    double encode;
    double decode;
};

constexpr double copies_of_feedback = 2;
// Seconds of a flop of the codecs' products over those of the model's own. On a
// CPU 1.1 to 2.2, as measured; the kernel for GPUs, whose tiles are in
// registers alone, was not measured, and is taken to be a quarter as fast as a
// library's.
constexpr double slowdown_of_products = 4;

Copies copies_of(CodecId id) {
    switch (id) {
        case CodecId::dense:
            return {1, 1};
        case CodecId::quantised:
            return {3, 2};
        case CodecId::top_k:
        case CodecId::paper_top_k:
            return {3, 1};
        case CodecId::masked:
            return {0.5, 1};
        case CodecId::subspace:
            return {1, 1};
    }
    return {1, 1};
}

CodecWork work_of(double copies,
                  const CodecSpec& spec,
                  const MatrixShape& shape) {
    const auto elements = static_cast<double>(shape.size());
    const double flops = spec.id == CodecId::subspace
                             ? slowdown_of_products * 2 * elements *
                                   static_cast<double>(spec.kept)
                             : 0;
    return {copies * 4 * elements, flops};
}

}  // namespace

CodecWork encode_work(const CodecChoice& choice,
                      const MatrixShape& shape,
                      Direction direction) {
    const CodecSpec spec = resolve(choice, shape).of(direction);
    const double more = choice.has_feedback ? copies_of_feedback : 0;
    return work_of(copies_of(spec.id).encode + more, spec, shape);
}

CodecWork decode_work(const CodecChoice& choice,
                      const MatrixShape& shape,
                      Direction direction) {
    const CodecSpec spec = resolve(choice, shape).of(direction);
    return work_of(copies_of(spec.id).decode, spec, shape);
}

}  // namespace fusionllm
