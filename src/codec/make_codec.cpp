#include <cmath>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/util/error.hpp"

#include "error_feedback.hpp"
#include "quantised_codec.hpp"
#include "subspace_codec.hpp"
#include "top_k_codec.hpp"

namespace fusionllm {
namespace {

//! Half a sentence, "" if there is none.
std::string find_problem(const ValueChoice& values) {
    if (values.format == ValueFormat::native) {
        return "its numbers have no format";
    }
    if (values.rounding == Rounding::stochastic && !has_scales(values.format)) {
        return "it rounds stochastically, but not to integers";
    }
    return "";
}

std::string find_problem(const CodecChoice& choice) {
    for (const ValueChoice& values : {choice.forward, choice.backward}) {
        const std::string problem = find_problem(values);
        if (!problem.empty()) {
            return problem;
        }
    }
    if (!(std::isfinite(choice.element_ratio) && choice.element_ratio >= 1)) {
        return fmt::format("its element ratio is {}", choice.element_ratio);
    }
    const bool is_f32 =
        choice.forward == ValueChoice{} && choice.backward == ValueChoice{};
    switch (choice.id) {
        case CodecId::dense:
        case CodecId::quantised:
            return has_scales(choice.forward.format) ==
                           (choice.id == CodecId::quantised)
                       ? ""
                       : "it does not send such numbers forward";
        case CodecId::masked:
            return "a mask is sent with the largest elements forward, and "
                   "shared by the gradient; no fence begins with one";
        case CodecId::paper_top_k:
            return is_f32 ? "" : "the paper's values are fp32 both ways";
        case CodecId::top_k:
        case CodecId::subspace:
            break;
    }
    return "";
}

void check(const CodecChoice& choice, const MatrixShape& shape) {
    std::string problem = find_problem(choice);
    if (problem.empty()) {
        const CodecPair pair = resolve(choice, shape);
        problem = find_spec_problem(pair.forward, shape);
        if (problem.empty()) {
            problem = find_spec_problem(pair.backward, shape);
        }
    }
    FUSIONLLM_VALIDATE(
        problem.empty(),
        "codec '{}' cannot be used for a tensor of {} x {}: {}; try int4, or "
        "top_k(100,int4)",
        to_text(choice),
        shape.rows,
        shape.columns,
        problem);
}

std::unique_ptr<Codec> make_plain(const CodecChoice& choice,
                                  const MatrixShape& shape,
                                  MemorySpace space) {
    switch (choice.id) {
        case CodecId::top_k:
            return make_top_k_codec(choice, shape, space);
        case CodecId::paper_top_k:
            return make_paper_codec(choice, shape, space);
        case CodecId::subspace:
            return make_subspace_codec(choice, shape, space);
        case CodecId::dense:
        case CodecId::quantised:
        case CodecId::masked:
            break;
    }
    return make_quantised_codec(resolve(choice, shape), shape, space);
}

}  // namespace

std::unique_ptr<Codec> make_codec(const CodecChoice& choice,
                                  const MatrixShape& shape,
                                  MemorySpace space) {
    check(choice, shape);
    if (space == MemorySpace::cuda && !kokkos_has_cuda()) {
        throw Error(fmt::format(
            "codec '{}' is wanted for CUDA memory, but this Kokkos has no "
            "CUDA; build with a Kokkos that has, or compress on the host",
            to_text(choice)));
    }
    if (shape.size() == 0) {
        return make_quantised_codec(resolve(choice, shape), shape, space);
    }
    std::unique_ptr<Codec> codec = make_plain(choice, shape, space);
    if (!choice.has_feedback) {
        return codec;
    }
    // The gradient of a mask can be decoded only as long as it is not encoded.
    std::unique_ptr<Codec> listener = choice.id == CodecId::top_k
                                          ? make_plain(choice, shape, space)
                                          : nullptr;
    return make_error_feedback(
        std::move(codec), std::move(listener), shape, space);
}

}  // namespace fusionllm
