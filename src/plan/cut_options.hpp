#pragma once

#include <vector>

#include "fusionllm/plan/fence_rule.hpp"

namespace fusionllm::detail {

//! Whether a value of the shape gets the codec; others stay dense.
bool applies(const CompressionOptions& options,
             const CodecChoice& codec,
             const MatrixShape& shape);

/*!
 * What each of the candidates comes to at a cut: those that the options allow,
 * by error. One that is nowhere better than one of less error is left out.
 */
std::vector<CutOption> make_cut_options(
    const CostModel& model,
    std::size_t cut,
    const std::vector<CodecChoice>& candidates,
    const CompressionOptions& options,
    const ErrorTable& errors);

}  // namespace fusionllm::detail
