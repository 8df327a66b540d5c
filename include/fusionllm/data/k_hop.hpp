#pragma once

#include <cstddef>
#include <cstdint>

#include "fusionllm/data/text.hpp"

namespace fusionllm {

//! Sizes of the k_hop task.
struct KHopOptions {
    std::int64_t symbols = 8;  //!< S
    std::int64_t hops = 4;     //!< K, the most of a question
    double label_noise = 0.0;  //!< share of answers that are any symbol

    friend bool operator==(const KHopOptions&, const KHopOptions&) = default;
};

/*!
 * Different tokens of the task, S (1 + S + K): the answers 0 to S - 1, which
 * are labels only; the pair (a, b) as S + a S + b; the question of h hops from
 * a as S + S S + a K + h - 1.
 */
std::int64_t k_hop_vocabulary(const KHopOptions& options);

/*!
 * Pointer chasing: a task that needs depth, about one layer a hop.
 *
 * A sample draws a function f, one cycle through all S symbols in random
 * order. Its first S tokens are the pairs (a, f(a)) in random order; the
 * context - S others are questions, each a random symbol a with a random
 * number h of hops, 1 to K. The label of a question is f(f(...f(a))), h times;
 * pairs have the label -100, which the loss leaves out. One attention layer
 * looks up one pair; a question may also read earlier ones, so that a little
 * less than a layer a hop can do. Many hops in a short sample are seen along
 * with few, which are learned first: that avoids a long plateau.
 *
 * As f is one cycle, no question of K < S hops answers itself: who knows
 * nothing of f has a loss of ln(S - 1), who knows only one hop, ln(S - 2) for
 * all others.
 *
 * With label noise p, an answer is, with that probability, replaced by any of
 * the S symbols, in training and in validation: who knows all about f has the
 * entropy of (1 - p + p / S, p / S, ..., p / S) left, as a model of text has
 * that of the text.
 *
 * "tokens" and "labels" are i64 (T). Unlimited in practice (2^20 samples), no
 * file; a sample is a function of (seed, number). The last
 * `validation_fraction` of the samples is validation. Throws `InputError` for
 * sizes that do not fit together.
 */
DatasetSplit make_k_hop_dataset(std::uint64_t seed,
                                std::size_t context,
                                const KHopOptions& options,
                                double validation_fraction);

}  // namespace fusionllm
