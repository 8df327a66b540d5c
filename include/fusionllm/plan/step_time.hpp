#pragma once

#include "fusionllm/plan/step_costs.hpp"
#include "fusionllm/topology/network.hpp"

namespace fusionllm {

/*!
 * What a planner takes for the step time of a kind of schedule.
 *
 * - `sweeps`: all forwards, then all backwards (GPipe). Exact if links share no
 *   line: each sweep is a flow shop of equal jobs,
 *
 *       T = sum(Cf) + sum(Rf) + (M - 1) max(Cf, Wf)
 *         + sum(Cb) + sum(Rb) + (M - 1) max(Cb, Wb) + U
 *
 * - `interleaved`: forwards and backwards by turns, with as many micro-batches
 *   in flight as the links need (1F1B, deep enough). A lower bound, since every
 *   stage does both and links are full duplex:
 *
 *       T = sum(Cf + Cb) + sum(Rf + Rb) + (M - 1) max(Cf + Cb, Wf, Wb) + U
 *
 * C: seconds of a stage for a micro-batch; W = bytes / bandwidth, how long a
 * link is taken; R = latency + W; U: the slowest exchange of shared parameters'
 * gradients and update. Forward and backward apart as f and b. Links that share
 * a line count as one whose W is the sum over them.
 *
 * Ours, after the paper's abstract (arXiv 2410.12707).
 */
enum class Objective { sweeps, interleaved };

double analytic_step_s(const StepCosts& costs,
                       const Network& network,
                       int micro_batches,
                       Objective objective);

}  // namespace fusionllm
