#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/plan/fence.hpp"
#include "fusionllm/wire/codec_choice.hpp"

namespace fusionllm {

//! What the rows of a value are, of which a subspace takes the components.
enum class RowsOf {
    features,  //!< a row for each token, of all its features
    maps,      //!< lines of feature maps: a row has one channel's places
};

/*!
 * The values that are feature maps, ascending: what convolutions make, and what
 * ops make of that with as many dimensions; until one moves dimensions, or
 * multiplies matrices.
 */
std::vector<ValueId> feature_maps(const OpGraph& graph);

/*!
 * Relative L2 error, ||x - decoded|| / ||x||, that a codec typically makes:
 * what is assumed until it was measured. The quantisers' figures are those of
 * normal numbers (tests/codec/value_block_test.cpp); those of top-k and
 * subspace are round ones of ours that order codecs as a study of a small GPT
 * did (which ranked them by the loss of the trained model, not by this error):
 * at equal bytes quantisers are best while they shrink enough, then top-k up to
 * a byte ratio of 16, a subspace from 32 on.
 *
 *     fp32 0   bf16 0.002   fp16 0.0002
 *     int8 0.0065   int6 0.027   int5 0.055   int4 0.118
 *     int3 0.214, int3s 0.275   int2 0.345, int2s 0.554
 *     top_k      keeps ratio^-0.3 of the squares (a row's own: ratio^-0.25)
 *     subspace   keeps 0.75 ratio^-0.12 of the squares
 *     subspace with graded values: 0.013 ratio^1.1 in all, as on activations of
 *     a small GPT, and 0.8 of that for each bit more
 *
 *     the same of feature maps: 0.11 ratio^1.1 are left out, of gradients 0.35
 *     ratio^0.7 instead of 0.1; as in a narrow ResNet-101
 *     (docs/decisions/maps-are-no-tokens.md)
 *
 * What is kept has the error of its numbers besides.
 */
double prior_error(const CodecChoice& choice,
                   Direction direction,
                   RowsOf rows = RowsOf::features);

//! The error of one codec at one fence and direction, as it was measured.
struct MeasuredError {
    std::size_t cut = 0;
    ValueId value{0};
    Direction direction = Direction::forward;
    CodecChoice codec;
    double error = 0;

    friend bool operator==(const MeasuredError&,
                           const MeasuredError&) = default;
};

/*!
 * Errors of codecs at fences: as measured where they were, else the prior times
 * what codecs of the same kind turned out to make there (the geometric mean of
 * measured over prior), else the prior. At most 1.
 */
class ErrorTable {
public:
    ErrorTable() = default;
    //! Before anything was measured; knows the graph's feature maps.
    explicit ErrorTable(const OpGraph& graph);
    //! Of equal entries the last one counts.
    //! \param maps values that are feature maps, ascending
    explicit ErrorTable(std::vector<MeasuredError> measured,
                        std::vector<ValueId> maps = {});

    //! Whether anything was measured of the value there.
    bool has_any(std::size_t cut, ValueId value) const;
    double error(std::size_t cut,
                 ValueId value,
                 Direction direction,
                 const CodecChoice& choice) const;
    /*!
     * What codecs are ranked by: the root of the squares of both directions'
     * errors, those of gradients times 0.15 unless few bits round them to the
     * nearest.
     *
     * An error that is zero on average adds to the noise of the samples, but
     * one that drops small gradients for good harms more: docs/evaluation.md,
     * "Convergence".
     */
    double both_errors(std::size_t cut,
                       ValueId value,
                       const CodecChoice& choice) const;
    //! The sum of the squares of `both_errors`: what a price of errors counts.
    double squared_errors(std::span<const Fence> fences) const;
    const std::vector<MeasuredError>& measured() const { return measured_; }
    const std::vector<ValueId>& maps() const { return maps_; }
    RowsOf rows_of(ValueId value) const;

    friend bool operator==(const ErrorTable&, const ErrorTable&) = default;

private:
    std::vector<MeasuredError> measured_;  // by (cut, value)
    std::vector<ValueId> maps_;            // ascending
};

}  // namespace fusionllm
