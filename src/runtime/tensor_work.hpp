#pragma once

#include <vector>

#include "fusionllm/runtime/fenced_stage.hpp"
#include "fusionllm/runtime/stage_work.hpp"
#include "fusionllm/util/timing.hpp"

namespace fusionllm {

//! Real work: messages become tensors, a stage runs, tensors become messages.
class TensorWork final : public StageWork {
public:
    //! \param timer gets "forward", "backward", "evaluate", "encode", "decode"
    TensorWork(const OpGraph& graph, FencedStage& stage, SectionTimer& timer)
        : graph_(graph), stage_(stage), timer_(timer) {}

    const StageSlice& slice() const override { return stage_.slice(); }
    std::size_t max_message_bytes(MessageKind kind,
                                  ValueId value) const override;
    std::vector<MadeMessage> run(WorkItem item,
                                 PipelineResult& result) override;

private:
    std::vector<MadeMessage> forward(WorkItem& item, PipelineResult& result);
    std::vector<MadeMessage> backward(WorkItem& item, PipelineResult& result);
    bool has_fence(const WorkItem& item, const FenceKey& key) const;
    //! The cut that messages of a kind cross when this stage sends them, and
    //! when it receives them.
    std::size_t cut_to(MessageKind kind) const;
    std::size_t cut_from(MessageKind kind) const;
    std::vector<at::Tensor> decode(WorkItem& item,
                                   const std::vector<ValueId>& values);
    MadeMessage encode(const WorkItem& item,
                       ValueId value,
                       const at::Tensor& tensor,
                       PipelineResult& result);
    std::vector<MadeMessage> encode_all(const WorkItem& item,
                                        const std::vector<ValueId>& values,
                                        const std::vector<at::Tensor>& tensors,
                                        PipelineResult& result);

    const OpGraph& graph_;
    FencedStage& stage_;
    SectionTimer& timer_;
};

}  // namespace fusionllm
