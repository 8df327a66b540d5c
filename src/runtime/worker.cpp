#include "worker.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "fusionllm/codec/dropout_mask.hpp"
#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/util/error.hpp"

#include "tensor_work.hpp"

namespace fusionllm {
namespace {

//! The Kokkos kernel, where it can reach the mask; else by way of the host.
void fill_mask(const at::Tensor& mask, std::uint64_t key, double p) {
    const auto fill = [&](const at::Tensor& tensor, MemorySpace space) {
        fill_dropout_mask({tensor.data_ptr<float>(),
                           static_cast<std::size_t>(tensor.numel())},
                          key,
                          p,
                          space);
    };
    if (mask.device().is_cpu()) {
        fill(mask, MemorySpace::host);
    } else if (kokkos_has_cuda()) {
        fill(mask, MemorySpace::cuda);
    } else {
        const at::Tensor host =
            at::empty(mask.sizes(), at::TensorOptions().dtype(at::kFloat));
        fill(host, MemorySpace::host);
        mask.copy_(host);
    }
}

}  // namespace

Worker::Worker(Transport& transport, WorkerSetup setup)
    : transport_(transport),
      setup_(std::move(setup)),
      compute_(wait_,
               [scope = setup_.scope] {
                   return scope ? scope() : std::shared_ptr<void>();
               }),
      schedule_(make_schedule(setup_.plan)),
      optimizer_(make_optimizer(setup_.optimizer)) {
    const StageSlice slice = make_slice(
        setup_.graph, setup_.plan.placement.stages[*setup_.role.stage].ops);
    if (setup_.waits && !setup_.waits->has_numbers()) {
        wait_instead(slice);
    } else {
        // Files are read on this thread, one tensor after another.
        parameters_ = std::make_unique<ParameterStore>(
            setup_.graph, slice.parameter_uses, first_values(), setup_.device);
        buffers_ = std::make_unique<BufferStore>(
            setup_.graph, slice.buffers, first_values(), setup_.device);
        make_optimizer_state();
        const auto fence_state = load_fence_state(slice);
        run([&] { make_stage(slice, fence_state); });
        work_ = std::make_unique<TensorWork>(
            setup_.graph, *stage_, compute_.timer());
        if (setup_.waits) {
            auto paced =
                std::make_unique<PacedWork>(std::move(work_), compute_.timer());
            paced_ = paced.get();
            work_ = std::move(paced);
            set_waits(setup_.plan.fences);
        }
        exchange_ = std::make_unique<GradientExchange>(
            setup_.graph, setup_.plan, setup_.role, *parameters_);
    }
    pipeline_ = std::make_unique<Pipeline>(transport_,
                                           wait_,
                                           compute_,
                                           setup_.graph,
                                           *work_,
                                           setup_.role.neighbours);
}

Worker::~Worker() = default;

void Worker::run(std::function<void()> task) {
    compute_.run(std::move(task), [this] {
        if (pipeline_) {
            pipeline_->progress_sends();
        }
    });
}

FirstValues Worker::first_values() const {
    if (!setup_.load) {
        return {setup_.seed, setup_.initial};
    }
    const auto load = [this](const std::string& name) {
        const GraphSignature& signature = setup_.graph.signature();
        const auto parameter =
            std::ranges::find(signature.parameters, name, &Parameter::name);
        if (parameter != signature.parameters.end()) {
            return std::optional(
                load_tensor(parameter_tensor_name(name),
                            setup_.graph.value(parameter->value).type));
        }
        const auto buffer =
            std::ranges::find(signature.buffers, name, &ModelBuffer::name);
        FUSIONLLM_EXPECTS(buffer != signature.buffers.end());
        return std::optional(load_tensor(
            buffer_tensor_name(name), setup_.graph.value(buffer->value).type));
    };
    return {setup_.seed, load};
}

void Worker::make_optimizer_state() {
    const auto& all = setup_.graph.signature().parameters;
    for (const std::size_t index : parameters_->indices()) {
        HeldParameter& held = parameters_->get(index);
        run([&] { optimizer_->make_state(held); });
        if (!setup_.load) {
            continue;
        }
        for (auto& [state, tensor] : held.state) {
            const HostTensor stored = load_tensor(
                state_tensor_name(all[index].name, state), type_of(tensor));
            run([&] { tensor.copy_(from_host(stored, tensor.device())); });
        }
    }
}

std::map<std::string, HostTensor> Worker::load_fence_state(
    const StageSlice& slice) const {
    std::map<std::string, HostTensor> stored;
    if (!setup_.load) {
        return stored;
    }
    for (const Fence& fence : setup_.plan.fences) {
        if (fence.cut < slice.ops.begin || fence.cut > slice.ops.end) {
            continue;
        }
        for (const FenceTensor& entry : fence_tensors(setup_.graph, fence)) {
            if (auto tensor = setup_.load(entry.name)) {
                stored[entry.name] = std::move(*tensor);
            }
        }
    }
    return stored;
}

HostTensor Worker::load_tensor(const std::string& name,
                               const TensorType& type) const {
    auto tensor = setup_.load(name);
    FUSIONLLM_VALIDATE(tensor.has_value(),
                       "the checkpoint has no tensor '{}'; resume with the "
                       "[model] section that it was made with",
                       name);
    FUSIONLLM_VALIDATE(
        tensor->type == type,
        "tensor '{}' is {} in the checkpoint, but {} in this model; resume "
        "with the [model] section that the checkpoint was made with",
        name,
        to_text(tensor->type),
        to_text(type));
    return std::move(*tensor);
}

void Worker::wait_instead(const StageSlice& slice) {
    auto waiting = std::make_unique<WaitingWork>(
        setup_.graph, slice.ops, setup_.bases, compute_.timer());
    waiting_ = waiting.get();
    work_ = std::move(waiting);
    set_waits(setup_.plan.fences);
    waiting_exchange_.emplace(setup_.graph, setup_.plan, setup_.role, slice);
}

void Worker::set_waits(const std::vector<Fence>& fences) {
    const StageSeconds seconds =
        setup_.waits->estimate(fences).at(*setup_.role.stage);
    if (waiting_ != nullptr) {
        waiting_->set(fences, seconds);
    } else {
        paced_->set(seconds);
    }
}

std::string Worker::take_bad_op() {
    if (!stage_ || !stage_->first_bad_op()) {
        return "";
    }
    const std::string op = *stage_->first_bad_op();
    stage_->clear_bad_op();
    return op;
}

void Worker::add_fence_reports(StepReport& report) {
    if (!stage_) {
        return;
    }
    run([&] {
        report.fences = stage_->fences().take_reports();
        report.errors = stage_->fences().take_errors();
    });
}

void Worker::set_fences(const std::vector<Fence>& fences) {
    if (setup_.waits) {
        set_waits(fences);
    }
    if (stage_) {
        run([&] { stage_->set_fences(fences); });
    }
}

void Worker::make_stage(const StageSlice& slice,
                        const std::map<std::string, HostTensor>& fence_state) {
    StageOptions options;
    options.device = setup_.device;
    options.seed = setup_.seed;
    options.micro_batches = setup_.plan.micro_batches;
    options.fill_mask = fill_mask;
    options.check_ops = setup_.check_ops;
    options.recompute = setup_.plan.recompute;
    FenceOptions fence_options;
    fence_options.seed = setup_.seed;
    fence_options.device = setup_.device;
    fence_options.bases = setup_.bases;
    fence_options.measure_every = setup_.measure_every;
    fence_options.candidates = setup_.candidates;
    stage_ = std::make_unique<FencedStage>(setup_.graph,
                                           slice.ops,
                                           *parameters_,
                                           *buffers_,
                                           options,
                                           setup_.plan.fences,
                                           fence_options);
    stage_->fences().load_state(
        [&](const std::string& name) -> std::optional<HostTensor> {
            const auto found = fence_state.find(name);
            return found == fence_state.end() ? std::nullopt
                                              : std::optional(found->second);
        },
        setup_.stored_fences);
}

PipelineResult Worker::train(std::int64_t step,
                             const Pipeline::MakeInputs& make_inputs) {
    return pipeline_->train(schedule_.actions[*setup_.role.stage],
                            static_cast<std::uint64_t>(step),
                            make_inputs);
}

PipelineResult Worker::evaluate(std::int64_t micro_batches,
                                std::int64_t step,
                                CodecUse codecs,
                                const Pipeline::MakeInputs& make_inputs) {
    const auto result = pipeline_->evaluate(static_cast<int>(micro_batches),
                                            static_cast<std::uint64_t>(step),
                                            codecs,
                                            make_inputs);
    compute_.timer() = SectionTimer();
    return result;
}

std::vector<std::pair<std::uint32_t, double>> Worker::sum_gradients(
    std::int64_t step, std::map<int, std::uint64_t>& sent) {
    if (waiting_exchange_) {
        waiting_exchange_->run(transport_, wait_, *pipeline_, sent);
        return {};
    }
    gradients_ = exchange_->sum(transport_,
                                wait_,
                                compute_,
                                *pipeline_,
                                static_cast<std::uint64_t>(step),
                                sent);
    std::vector<std::pair<std::uint32_t, double>> squares;
    run([&] {
        for (std::size_t i = 0; i < gradients_.size(); ++i) {
            const std::size_t parameter = parameters_->indices()[i];
            if (!gradients_[i].defined() || !exchange_->is_owner(parameter)) {
                continue;
            }
            const double norm =
                at::linalg_vector_norm(
                    gradients_[i], 2, c10::nullopt, false, at::kDouble)
                    .item<double>();
            squares.emplace_back(static_cast<std::uint32_t>(parameter),
                                 norm * norm);
        }
    });
    return squares;
}

void Worker::update(const StepDecision& decision, double learning_rate) {
    if (waiting_ != nullptr) {
        run([this] { waiting_->update(); });
        return;
    }
    run([&] {
        const double begin_s = monotonic_s();
        const at::NoGradGuard no_grad;
        const auto& all = setup_.graph.signature().parameters;
        for (std::size_t i = 0; i < gradients_.size(); ++i) {
            if (decision.is_skipped != 0 || !gradients_[i].defined()) {
                continue;
            }
            const std::size_t index = parameters_->indices()[i];
            UpdateInput input;
            input.gradient = decision.scale == 1
                                 ? gradients_[i]
                                 : gradients_[i].mul(decision.scale);
            input.learning_rate = learning_rate;
            input.has_weight_decay = all[index].has_weight_decay;
            optimizer_->update(parameters_->get(index), input);
        }
        if (decision.is_skipped != 0) {
            buffers_->drop();
        } else {
            buffers_->commit();
        }
        gradients_.clear();
        parameters_->clear_gradients();
        if (paced_ != nullptr) {
            paced_->finish_update(begin_s);
        }
    });
}

std::vector<NamedTensor> Worker::owned_tensors() {
    std::vector<NamedTensor> tensors;
    if (!stage_) {
        return tensors;
    }
    run([&] {
        const auto& all = setup_.graph.signature().parameters;
        for (const std::size_t index : parameters_->indices()) {
            if (!exchange_->is_owner(index)) {
                continue;
            }
            const HeldParameter& held = parameters_->get(index);
            const std::string& name = all[index].name;
            tensors.push_back(
                {parameter_tensor_name(name), to_host(held.value)});
            for (const auto& [state, tensor] : held.state) {
                tensors.push_back(
                    {state_tensor_name(name, state), to_host(tensor)});
            }
        }
        add_owned_buffers(tensors);
        for (NamedTensor& tensor : stage_->fences().state()) {
            tensors.push_back(std::move(tensor));
        }
    });
    return tensors;
}

void Worker::add_owned_buffers(std::vector<NamedTensor>& tensors) const {
    const auto& all = setup_.graph.signature().buffers;
    for (const std::size_t index : buffers_->indices()) {
        const OpId first = setup_.graph.users(all[index].value).front();
        if (first.get() >= stage_->slice().ops.begin) {
            tensors.push_back({buffer_tensor_name(all[index].name),
                               to_host(buffers_->value(index))});
        }
    }
}

double Worker::take_busy_s(SectionTimer& sections) {
    double busy = 0;
    for (const Section& section : compute_.timer().sections()) {
        busy += section.seconds;
    }
    sections.merge(compute_.timer());
    compute_.timer() = SectionTimer();
    return busy;
}

}  // namespace fusionllm
