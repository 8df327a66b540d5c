#include "validation.hpp"

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/runtime/batches.hpp"
#include "fusionllm/runtime/step_report.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t report_slot = 3;
constexpr std::uint32_t predictions_slot = 4;
constexpr std::uint32_t labels_slot = 5;

using Classes = std::vector<std::int64_t>;

std::string to_bytes(const Classes& classes) {
    return {reinterpret_cast<const char*>(classes.data()),
            classes.size() * sizeof(std::int64_t)};
}

//! Those of the first rank that has some.
Classes first_of(const std::vector<std::string>& packed) {
    const auto found = std::ranges::find_if(
        packed, [](const std::string& bytes) { return !bytes.empty(); });
    Classes classes;
    if (found != packed.end()) {
        classes.resize(found->size() / sizeof(std::int64_t));
        std::memcpy(classes.data(), found->data(), found->size());
    }
    return classes;
}

//! One micro-batch's labels, if they are among the inputs that are read here.
void add_labels(const OpGraph& graph,
                const std::vector<ValueId>& fields,
                const std::vector<HostTensor>& inputs,
                Classes& labels) {
    const auto found =
        std::ranges::find(fields, graph.signature().inputs.back());
    if (found == fields.end()) {
        return;
    }
    const auto& bytes = inputs.at(found - fields.begin()).bytes;
    const std::size_t before = labels.size();
    labels.resize(before + bytes.size() / sizeof(std::int64_t));
    std::memcpy(labels.data() + before, bytes.data(), bytes.size());
}

void add_predictions(const at::Tensor& logits, Classes& predictions) {
    const at::Tensor classes = logits.argmax(1).to(at::kCPU).contiguous();
    const auto* begin = classes.data_ptr<std::int64_t>();
    predictions.insert(predictions.end(), begin, begin + classes.numel());
}

double share_of_equal(const Classes& predictions, const Classes& labels) {
    if (predictions.size() != labels.size() || labels.empty()) {
        throw Error(
            fmt::format("the ranks sent {} predictions and {} labels to be "
                        "compared; this is a bug",
                        predictions.size(),
                        labels.size()));
    }
    std::size_t equal = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        equal += predictions[i] == labels[i] ? 1 : 0;
    }
    return static_cast<double>(equal) / static_cast<double>(labels.size());
}

//! Evenly spread over those there are; never augmented, so of no epoch.
std::vector<std::size_t> samples_of(const ValidationSetup& setup,
                                    std::uint32_t micro_batch) {
    const std::int64_t first = micro_batch * setup.available /
                               setup.micro_batches * setup.micro_batch_size;
    std::vector<std::size_t> samples;
    for (std::int64_t i = 0; i < setup.micro_batch_size; ++i) {
        samples.push_back(static_cast<std::size_t>(first + i));
    }
    return samples;
}

}  // namespace

bool is_classifier(const OpGraph& graph) {
    const GraphSignature& signature = graph.signature();
    if (!signature.output || signature.num_labels != 1) {
        return false;
    }
    const TensorType& output = graph.value(*signature.output).type;
    const TensorType& labels = graph.value(signature.inputs.back()).type;
    return output.dtype == DType::f32 && output.sizes.size() == 2 &&
           labels.dtype == DType::i64 && labels.sizes.size() == 1 &&
           labels.sizes[0] == output.sizes[0];
}

ValidationResult validate(Transport& transport,
                          IdleWait& wait,
                          Worker* worker,
                          const ValidationSetup& setup) {
    const bool has_classes = is_classifier(setup.graph);
    StepReport mine;
    Classes predictions;
    Classes labels;
    if (worker) {
        if (has_classes) {
            worker->on_output([&](const at::Tensor& output) {
                add_predictions(output, predictions);
            });
        }
        const auto& fields = worker->slice().user_inputs;
        const auto result = worker->evaluate(
            setup.micro_batches,
            setup.step,
            setup.codecs,
            [&](std::uint32_t micro_batch) {
                auto inputs = make_batch(setup.graph,
                                         *setup.dataset,
                                         samples_of(setup, micro_batch),
                                         fields);
                if (has_classes) {
                    add_labels(setup.graph, fields, inputs, labels);
                }
                return inputs;
            });
        worker->on_output({});
        mine.has_loss = worker->has_loss() ? 1 : 0;
        mine.loss_sum = result.loss_sum;
    }
    ValidationResult result;
    for (const std::string& bytes :
         gather(transport, wait, root, report_slot, pack(mine))) {
        const StepReport report = unpack_report(bytes);
        result.loss += report.has_loss != 0 ? report.loss_sum : 0;
    }
    result.loss /= static_cast<double>(setup.micro_batches);
    if (has_classes) {
        const auto all_predictions = gather(
            transport, wait, root, predictions_slot, to_bytes(predictions));
        const auto all_labels =
            gather(transport, wait, root, labels_slot, to_bytes(labels));
        const Classes found = first_of(all_predictions);
        // Ranks that wait in place of computing find none.
        if (!found.empty()) {
            result.accuracy = share_of_equal(found, first_of(all_labels));
        }
    }
    return result;
}

}  // namespace fusionllm
