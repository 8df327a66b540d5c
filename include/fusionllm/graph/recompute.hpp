#pragma once

namespace fusionllm {

/*!
 * What a stage keeps of a micro-batch between forward and backward: all that
 * differentiation needs (`off`), or only what came in, so that it computes
 * forward again before backward (`on`: less memory, more time, the same bits).
 */
enum class Recompute { off, on };

}  // namespace fusionllm
