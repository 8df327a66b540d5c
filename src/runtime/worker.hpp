#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/exec/optimizer.hpp"
#include "fusionllm/runtime/fenced_stage.hpp"
#include "fusionllm/runtime/gradient_exchange.hpp"
#include "fusionllm/runtime/pipeline.hpp"
#include "fusionllm/runtime/rank_role.hpp"
#include "fusionllm/runtime/stage_waits.hpp"
#include "fusionllm/runtime/step_report.hpp"
#include "fusionllm/runtime/trainer.hpp"

#include "waiting_work.hpp"

namespace fusionllm {

//! What a rank with a stage is made of.
struct WorkerSetup {
    const OpGraph& graph;
    const Plan& plan;
    RankRole role;
    std::uint64_t seed = 0;
    at::Device device{at::kCPU};
    bool check_ops = false;
    BasisSchedule bases{};
    std::int64_t measure_every = 0;
    std::vector<CodecChoice> candidates;
    OptimizerOptions optimizer;
    std::function<std::shared_ptr<void>()> scope;
    LoadTensor load;
    std::vector<Fence> stored_fences;  //!< of that checkpoint
    InitialTensor initial;
    std::optional<StageWaits> waits;  //!< take the time of another device
};

/*!
 * The part of a rank that computes: compute thread, stage, parameters and
 * their updates. Its functions are called by the main thread; everything on
 * tensors happens on the compute thread.
 */
class Worker {
public:
    Worker(Transport& transport, WorkerSetup setup);
    ~Worker();

    const StageSlice& slice() const { return work_->slice(); }
    //! Whether it makes the loss; nobody does that waits.
    bool has_loss() const { return stage_ && stage_->has_loss(); }
    //! The op that first made a non-finite number since the last call, or "".
    std::string take_bad_op();
    Pipeline& pipeline() { return *pipeline_; }

    PipelineResult train(std::int64_t step,
                         const Pipeline::MakeInputs& make_inputs);
    PipelineResult evaluate(std::int64_t micro_batches,
                            std::int64_t step,
                            CodecUse codecs,
                            const Pipeline::MakeInputs& make_inputs);
    //! What evaluations give the graph's output to, where that is made.
    void on_output(std::function<void(const at::Tensor&)> hook) {
        if (stage_) {
            stage_->on_output(std::move(hook));
        }
    }
    //! Who hears what its main thread waits for.
    void watch_waits(std::function<void(const Awaited&)> watcher) {
        wait_.watch(std::move(watcher));
    }
    //! Add up the uses; (parameter, sum of squares) of those it owns. Adds to
    //! `sent`, by destination rank, the bytes of the messages.
    std::vector<std::pair<std::uint32_t, double>> sum_gradients(
        std::int64_t step, std::map<int, std::uint64_t>& sent);
    //! Apply the decision, to the buffers too; forgets the gradients.
    void update(const StepDecision& decision, double learning_rate);
    //! What the fences did, and what others would have done, since the last
    //! call.
    void add_fence_reports(StepReport& report);
    //! From the next step on.
    void set_fences(const std::vector<Fence>& fences);
    //! Copies of parameters, buffers, optimizer state and codec state that this
    //! rank owns.
    std::vector<NamedTensor> owned_tensors();
    //! Move the compute thread's sections since the last call; their sum.
    double take_busy_s(SectionTimer& sections);

private:
    FirstValues first_values() const;
    void add_owned_buffers(std::vector<NamedTensor>& tensors) const;
    void make_optimizer_state();
    std::map<std::string, HostTensor> load_fence_state(
        const StageSlice& slice) const;
    void wait_instead(const StageSlice& slice);
    void set_waits(const std::vector<Fence>& fences);
    void make_stage(const StageSlice& slice,
                    const std::map<std::string, HostTensor>& fence_state);
    HostTensor load_tensor(const std::string& name,
                           const TensorType& type) const;
    void run(std::function<void()> task);

    Transport& transport_;
    WorkerSetup setup_;
    IdleWait wait_;
    ComputeThread compute_;
    Schedule schedule_;
    std::unique_ptr<Optimizer> optimizer_;
    std::unique_ptr<ParameterStore> parameters_;
    std::unique_ptr<BufferStore> buffers_;
    std::unique_ptr<FencedStage> stage_;  // none where it waits
    std::unique_ptr<StageWork> work_;
    WaitingWork* waiting_ = nullptr;  // `work_`, if that is one
    PacedWork* paced_ = nullptr;      // the same
    std::optional<WaitingExchange> waiting_exchange_;
    std::unique_ptr<Pipeline> pipeline_;
    std::unique_ptr<GradientExchange> exchange_;
    std::vector<at::Tensor> gradients_;  // by parameters_->indices()
};

}  // namespace fusionllm
