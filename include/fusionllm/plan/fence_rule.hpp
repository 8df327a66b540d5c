#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/plan/compression.hpp"
#include "fusionllm/plan/cost_model.hpp"
#include "fusionllm/plan/step_time.hpp"

namespace fusionllm {

//! What of a transfer may not be longer than the slowest stage.
enum class LinkTime {
    busy,  //!< bytes / bandwidth: others are on their way meanwhile (GPipe, or
           //!< 1F1B with depths for its links)
    whole  //!< latency too: each is waited for (1F1B of the classic depth)
};

//! What a rule has to know of a schedule.
struct FenceTask {
    Objective objective = Objective::interleaved;
    LinkTime link_time = LinkTime::busy;
    int micro_batches = 1;

    friend bool operator==(const FenceTask&, const FenceTask&) = default;
};

/*!
 * What a run has measured of a step, in place of the model's figures. Either
 * part may be empty.
 */
struct MeasuredStep {
    //! By stage, of a micro-batch, without any encoding and decoding.
    std::vector<StageSeconds> stages;
    //! By stage but the last: to the next one, and back.
    std::vector<Link> forward;
    std::vector<Link> backward;
};

//! What more than dense copies one side of a cut has to do, both ways.
struct SideWork {
    CodecWork forward;
    CodecWork backward;
};

//! One codec for the values of a cut, and what that comes to.
struct CutOption {
    CodecChoice codec;
    CutCost saved;      //!< fewer bytes than dense, of a micro-batch
    double error = 0;   //!< squares of `ErrorTable::both_errors`, of all values
    SideWork sender;    //!< of the activations
    SideWork receiver;  //!< of the activations
};

/*!
 * Rules: which codec every value at a cut between two devices gets. One codec
 * a cut, for all of its compressible values that it makes smaller; those that
 * it does not are dense (but for `uniform`, which asks nothing).
 *
 * `bottleneck` and `adaptive` look for the mildest codec with
 *
 *     bytes / bandwidth [+ latency] <= target      (see `LinkTime`)
 *
 * in each direction, where the target is the time of the slowest stage,
 * encoding and decoding included, or of a link that nothing makes faster.
 * Codecs make stages slower, so that is done until nothing changes; the target
 * only grows. Links that share a line each have the share of it that their
 * dense bytes are of all. With `sweeps` the directions have targets of their
 * own. If the dense step is not slower (`analytic_step_s`), it is taken.
 *
 * `adaptive` then goes further, under the same target, wherever a codec's
 * transfer and work of one micro-batch and its price (`error_price` times its
 * squared errors times the step) come to less: every link is also passed while
 * the pipeline fills and empties. Not with a codec that the user has named.
 *
 * Candidates of `bottleneck`: a ratio every 1%. Of `adaptive`, by error: all
 * pairs of fp32, bf16, int8 and int4 forward and fp32, bf16, int8s, int4s and
 * int3s backward, and every 19% of the ratio a top-k of every row with int4 and
 * a subspace with graded values, and gradients of as many bytes together, or
 * graded6 and int4s.
 *
 * Ours, but for `paper`: r_link = max(1, 3 r R_link / max R) with R the dense
 * transfer of both directions, latency included.
 */
class FenceRule {
public:
    //! Keeps a reference to the model. Throws `InputError` for a codec that is
    //! none.
    FenceRule(const CostModel& model,
              const CompressionOptions& options,
              const ErrorTable& errors);

    //! Whether it can give any fences at all.
    bool has_codecs() const { return !candidates_.empty(); }
    //! Ascending; see the class.
    std::vector<Fence> choose(const Placement& placement,
                              const FenceTask& task) const;
    /*!
     * The same for a run that goes on, from what it has measured. A codec of
     * `now` stays where it still takes at most 1.1 times the target and has at
     * most twice the error of what would be chosen, so that choices do not
     * change with every measurement; empty: nothing stays. Does not look
     * whether the dense step would be as fast.
     */
    std::vector<Fence> choose_again(const Placement& placement,
                                    const FenceTask& task,
                                    const MeasuredStep& measured,
                                    const std::vector<Fence>& now) const;

    /*!
     * 1 or more: what planners multiply a step with these fences by, since a
     * model that learns through errors takes more steps. Every value costs
     * `error_price` times the square of its error: the share of it that is
     * noise.
     */
    double price(std::span<const Fence> fences) const;
    //! The option's where the rule is free to choose. Next to nothing where the
    //! user has named the codec, so that it is taken wherever it helps; 0 for
    //! rules without a target.
    double error_price() const;
    //! Whether it goes further than links need where that is worth its errors:
    //! `adaptive` that is free to choose.
    bool weighs_errors() const {
        return options_.rule == "adaptive" && options_.codec.empty();
    }

    //! What the rule may choose at a cut, the mildest first; the least that
    //! can be sent is that of its last one.
    std::span<const CutOption> options_at(std::size_t cut) const {
        return profiles_[profile_of_cut_[cut]];
    }
    //! `uniform`: the same codec whatever the links.
    bool is_fixed() const { return options_.rule == "uniform"; }
    //! `bottleneck` and `adaptive`: as much as the links need.
    bool has_target() const {
        return options_.rule == "bottleneck" || options_.rule == "adaptive";
    }

private:
    void add_profiles();
    std::vector<Fence> choose_paper(const Placement& placement,
                                    const MeasuredStep& measured) const;
    std::vector<Fence> choose_under_target(const Placement& placement,
                                           const FenceTask& task,
                                           const MeasuredStep& measured,
                                           const std::vector<Fence>& now) const;
    void add_fences(std::size_t cut,
                    const CodecChoice& codec,
                    std::vector<Fence>& fences) const;

    const CostModel& model_;
    CompressionOptions options_;
    ErrorTable errors_;
    std::vector<CodecChoice> candidates_;
    std::vector<std::vector<CutOption>> profiles_;
    std::vector<std::uint32_t> profile_of_cut_;
};

//! `FenceRule::choose` for once.
std::vector<Fence> choose_fences(const CostModel& model,
                                 const Placement& placement,
                                 const FenceTask& task,
                                 const CompressionOptions& options,
                                 const ErrorTable& errors);

}  // namespace fusionllm
