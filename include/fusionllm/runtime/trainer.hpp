#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/data/text.hpp"
#include "fusionllm/exec/first_values.hpp"
#include "fusionllm/io/trace.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/basis_schedule.hpp"
#include "fusionllm/runtime/emulation.hpp"
#include "fusionllm/runtime/fence_report.hpp"
#include "fusionllm/runtime/long_wait.hpp"
#include "fusionllm/runtime/named_tensor.hpp"
#include "fusionllm/runtime/stage_waits.hpp"
#include "fusionllm/runtime/step_measurements.hpp"
#include "fusionllm/runtime/step_report.hpp"
#include "fusionllm/runtime/traced_value.hpp"
#include "fusionllm/runtime/train_options.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm {

//! One line of metrics.jsonl.
struct StepMetrics {
    std::int64_t step = 0;    //!< updates tried so far, this one included
    bool has_numbers = true;  //!< false: nobody computed (`StageWaits`)
    double loss = 0;          //!< mean over the batch, nats
    double learning_rate = 0;
    double grad_norm = 0;  //!< before clipping
    double step_s = 0;
    double tokens_per_s = 0;  //!< samples, if they are not made of tokens
    std::optional<double> validation_loss;
    std::optional<double> validation_loss_without_codecs;
    //! Of a model that puts samples in classes: the share that it gets right.
    std::optional<double> validation_accuracy;
    std::optional<double> validation_accuracy_without_codecs;
    std::string skipped;  //!< why the update was left out; "" if it was not
    //! What the step would have taken on the emulated devices and links, and
    //! all steps so far, this one included.
    std::optional<double> emulated_step_s;
    std::optional<double> emulated_s;
    //! Of steps in which errors were measured, by (cut, value, direction).
    std::vector<FenceReport> fences;
};

/*!
 * What the trainer tells and asks the program around it. Empty functions are
 * not called.
 */
struct TrainerHooks {
    //! Root only, after each step.
    std::function<void(const StepMetrics&)> on_step;
    //! Every rank: has a signal asked to stop?
    std::function<StopRequest()> stop_requested;
    //! Every rank: what it does now; called from two threads.
    std::function<void(const Activity&)> on_activity;
    /*!
     * Every rank, collective: write a checkpoint after `step` updates from the
     * tensors that this rank owns.
     */
    std::function<void(std::int64_t step, const std::vector<NamedTensor>&)>
        save;
    //! Root only, after each step: the fences from the next step on, if they
    //! change.
    std::function<std::optional<std::vector<Fence>>(const StepMeasurements&)>
        adapt;
    //! Every rank with a stage, main thread, after steps in which values of
    //! `TrainerSetup::trace` were sent; `step` counts from 1.
    std::function<void(std::int64_t step, const std::vector<TracedValue>&)>
        on_traced;
    //! Every rank: these are the fences from here on.
    std::function<void(std::int64_t step, const std::vector<Fence>&)> on_fences;
    //! Root only: for what the run waits long (`WaitWatch`).
    std::function<void(const LongWait&)> on_long_wait;
    //! Of the checkpoint to start from; empty to start anew.
    LoadTensor load;
    //! Those that the model of that checkpoint had.
    std::vector<Fence> stored_fences;
};

//! Whether evaluations go through the codecs: as training does, not at all, or
//! once each.
enum class EvaluationCodecs { on, off, both };

//! Where and on what a rank trains.
struct TrainerSetup {
    const OpGraph& graph;
    const Plan& plan;
    std::vector<DeviceId> device_of_rank;
    std::string device = "cpu";  //!< "cpu" or "cuda"
    int local_rank = 0;          //!< which device of its host
    std::int64_t start_step = 0;
    bool is_shuffled = true;
    /*!
     * Runs first on the compute thread; what it returns lives as long as that
     * does: Kokkos, the number of threads. May be empty.
     */
    std::function<std::shared_ptr<void>()> compute_scope;
    //! Called by the ranks that use inputs or labels, and only by them.
    std::function<DatasetSplit()> load_data;
    //! On the clock of `monotonic_s`; what is before counts as "launch".
    double begin_s = monotonic_s();
    EvaluationCodecs evaluation = EvaluationCodecs::on;
    BasisSchedule bases{};
    //! Steps from one measurement of what fences do to the next; 0 = never.
    std::int64_t measure_every = 0;
    //! Try out the links between stages before those steps (`LinkSurvey`).
    bool follow_links = false;
    //! Codecs whose errors are measured then, too, for `TrainerHooks::adapt`.
    std::vector<CodecChoice> candidates{};
    TraceOptions trace{};
    //! Time the steps for other devices and links; only the root's counts.
    std::optional<Emulation> emulation = std::nullopt;
    //! Take the time of other devices; equal on all ranks.
    std::optional<StageWaits> waits = std::nullopt;
    //! Seconds after which a rank's wait is long; 0 = never.
    double long_wait_s = 0;
    //! Asked, on the main thread, for the parameters and buffers that this rank
    //! holds, one after another, unless a checkpoint is loaded.
    InitialTensor initial{};
};

/*!
 * The step loop of one rank: pipeline, gradient sums, one decision for all,
 * update; evaluation and checkpoints at step boundaries.
 *
 * Collective over the transport's ranks, to construct and to run; rank 0 is
 * the root. An exception on one rank leaves the others waiting: the caller
 * ends the whole run.
 */
class Trainer {
public:
    Trainer(Transport& transport,
            TrainerSetup setup,
            TrainOptions options,
            TrainerHooks hooks);
    ~Trainer();

    //! Train to `options.steps`; why it ended before, if it did.
    StopRequest run();

    //! Of the training data, equal on all ranks that read it.
    std::uint64_t data_hash() const;
    //! Updates tried so far.
    std::int64_t step() const;
    //! Root only: bytes sent in the training steps of this run.
    const RankTraffic& traffic() const;
    //! Every second of this rank since `begin_s`, by section.
    const SectionTimer& sections() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace fusionllm
