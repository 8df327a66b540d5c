#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fusionllm/codec/codec.hpp"
#include "fusionllm/plan/codec_error.hpp"

namespace fusionllm {

//! |x - y| / |x|; |x - y| where x is zero.
double relative_error(std::span<const float> x, std::span<const float> y);
//! x y / (|x| |y|); where one of them is zero: 1 if both are, else 0.
double cosine(std::span<const float> x, std::span<const float> y);

/*!
 * Tries codecs on the numbers that pass a fence, beside the one that it has,
 * so that a choice among them can go by their errors.
 *
 * Forward errors are those of the numbers before the fence. Gradients are tried
 * where they are encoded, behind it, where only the decoded numbers are known:
 * masks and bases are then those of the decoded numbers.
 */
class CodecProbe {
public:
    //! Numbers are in host memory.
    explicit CodecProbe(std::vector<CodecChoice> candidates);

    //! The end before the fence encodes these numbers.
    void try_forward(std::size_t cut,
                     ValueId value,
                     const MatrixShape& shape,
                     const CodecKey& key,
                     std::span<const float> numbers);
    //! The end behind the fence has decoded these; needed before
    //! `try_backward`.
    void prepare_backward(std::size_t cut,
                          ValueId value,
                          const MatrixShape& shape,
                          const CodecKey& key,
                          std::span<const float> decoded);
    //! The end behind the fence encodes this gradient.
    void try_backward(std::size_t cut,
                      ValueId value,
                      const CodecKey& key,
                      std::span<const float> gradient);

    //! Since the last call.
    std::vector<MeasuredError> take_errors();

private:
    struct Trial {
        std::unique_ptr<Codec> before;
        std::unique_ptr<Codec> after;
    };

    Trial make_trial(const CodecChoice& choice, const MatrixShape& shape) const;
    //! What the other end decodes.
    static std::vector<float> pass(Codec& encoder,
                                   Codec& decoder,
                                   Direction direction,
                                   const CodecKey& key,
                                   const MatrixShape& shape,
                                   std::span<const float> numbers);

    std::vector<CodecChoice> candidates_;
    struct Waiting {
        MatrixShape shape;
        std::vector<Trial> trials;  // by candidate
    };
    std::map<std::pair<std::size_t, ValueId>, Waiting> waiting_;
    std::vector<MeasuredError> errors_;
};

}  // namespace fusionllm
