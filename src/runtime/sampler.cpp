#include "fusionllm/runtime/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include <ATen/ATen.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/runtime/fenced_stage.hpp"
#include "fusionllm/runtime/trainer.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm {
namespace {

//! A uniform number in [0, 1) for the draw.
double uniform(const SampleOptions& options) {
    const PhiloxBlock counter{{static_cast<std::uint32_t>(options.number),
                               static_cast<std::uint32_t>(options.number >> 32),
                               0,
                               0}};
    const auto key = derive_key(options.seed, std::string_view("sampler"));
    return philox(counter, make_philox_key(key)).words[0] * 0x1p-32;
}

std::int64_t draw(const at::Tensor& logits, const SampleOptions& options) {
    if (options.temperature == 0) {
        return logits.argmax().item<std::int64_t>();
    }
    const at::Tensor probabilities =
        at::softmax(logits.to(at::kDouble) / options.temperature, 0);
    const double* begin = probabilities.data_ptr<double>();
    double rest = uniform(options);
    const std::int64_t last = probabilities.numel() - 1;
    for (std::int64_t token = 0; token < last; ++token) {
        rest -= begin[token];
        if (rest < 0) {
            return token;
        }
    }
    return last;
}

//! A number for each token that may follow, behind each token.
void check_is_language_model(const OpGraph& graph) {
    const GraphSignature& signature = graph.signature();
    const auto is_of_tokens = [&](ValueId input) {
        const TensorType& type = graph.value(input).type;
        return type.dtype == DType::i64 && type.sizes.size() == 2;
    };
    const bool takes_tokens =
        !signature.inputs.empty() &&
        std::ranges::all_of(signature.inputs, is_of_tokens);
    std::vector<std::int64_t> sizes;
    if (signature.output) {
        sizes = graph.value(*signature.output).type.sizes;
    }
    const bool gives_tokens =
        takes_tokens && sizes.size() == 3 &&
        std::ranges::equal(graph.value(signature.inputs.front()).type.sizes,
                           std::span(sizes).first(2));
    FUSIONLLM_VALIDATE(
        gives_tokens,
        "model '{}' is no language model, so it cannot continue a text: that "
        "takes inputs i64[samples,tokens] and an output f32[samples,tokens,"
        "vocabulary], but this one {}; give a checkpoint of such a model",
        graph.name(),
        !takes_tokens ? "takes other inputs"
        : signature.output
            ? "gives " + to_text(graph.value(*signature.output).type)
            : "has no output beside its loss");
}

//! All of them must be there.
InitialTensor stored_values(
    const LoadTensor& load,
    const std::function<std::string(const std::string&)>& tensor_name) {
    return [&load, tensor_name](const std::string& name) {
        auto stored = load(tensor_name(name));
        FUSIONLLM_VALIDATE(stored.has_value(),
                           "the checkpoint has no tensor '{}', which its own "
                           "model has; it is damaged",
                           tensor_name(name));
        return stored;
    };
}

}  // namespace

struct Sampler::State {
    // Fences count the ops and values of the training form.
    State(const OpGraph& training, const std::vector<Fence>& fences)
        : graph(fences.empty() ? evaluation_form(training) : training) {}

    OpGraph graph;
    std::unique_ptr<ParameterStore> parameters;
    std::unique_ptr<BufferStore> buffers;
    std::unique_ptr<FencedStage> stage;
    std::int64_t context = 0;
};

Sampler::Sampler(const OpGraph& graph,
                 const std::vector<Fence>& fences,
                 const LoadTensor& load,
                 int num_threads)
    : state_(std::make_unique<State>(graph, fences)) {
    set_num_threads(num_threads);
    const OpGraph& evaluated = state_->graph;
    const GraphSignature& signature = evaluated.signature();
    check_is_language_model(evaluated);
    state_->context = evaluated.value(signature.inputs.at(0)).type.sizes.at(1);
    const StageSlice slice = make_slice(evaluated, {0, evaluated.ops().size()});
    state_->parameters = std::make_unique<ParameterStore>(
        evaluated,
        slice.parameter_uses,
        FirstValues{0, stored_values(load, parameter_tensor_name)},
        at::Device(at::kCPU));
    state_->buffers = std::make_unique<BufferStore>(
        evaluated,
        slice.buffers,
        FirstValues{0, stored_values(load, buffer_tensor_name)},
        at::Device(at::kCPU));
    state_->stage = std::make_unique<FencedStage>(evaluated,
                                                  slice.ops,
                                                  *state_->parameters,
                                                  *state_->buffers,
                                                  StageOptions(),
                                                  fences,
                                                  FenceOptions());
    state_->stage->fences().load_state(load, fences);
}

Sampler::~Sampler() = default;

std::int64_t Sampler::vocabulary() const {
    const OpGraph& graph = state_->graph;
    return graph.value(*graph.signature().output).type.sizes.at(2);
}

std::int64_t Sampler::next(const std::vector<std::int64_t>& tokens,
                           const SampleOptions& options) {
    FUSIONLLM_EXPECTS(!tokens.empty());
    const auto length = std::min<std::int64_t>(
        static_cast<std::int64_t>(tokens.size()), state_->context);
    std::vector<at::Tensor> inputs;
    for (const ValueId input : state_->stage->slice().user_inputs) {
        inputs.push_back(
            at::zeros(state_->graph.value(input).type.sizes, at::kLong));
    }
    // All samples are the same one: a codec may look at all of them.
    inputs.at(0)
        .slice(1, 0, length)
        .copy_(at::tensor(at::ArrayRef<std::int64_t>(tokens).slice(
            tokens.size() - static_cast<std::size_t>(length))));
    state_->stage->evaluate({}, CodecUse::on, {}, inputs);
    return draw(state_->stage->output()[0][length - 1].contiguous(), options);
}

}  // namespace fusionllm
