#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "fusionllm/graph/decompose.hpp"
#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/io/safetensors.hpp"
#include "fusionllm/plan/plan.hpp"
#include "fusionllm/runtime/trainer.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/output_file.hpp"

#include "app/commands/commands.hpp"
#include "app/model.hpp"
#include "app/model_file.hpp"
#include "app/run_input.hpp"
#include "app/stored_run.hpp"

namespace fusionllm {
namespace {

//! The model of a checkpoint as a file; those that are built in become one.
class TrainedModel {
public:
    TrainedModel(const std::filesystem::path& folder,
                 const std::filesystem::path& model)
        : reader_(folder),
          input_(find_input(folder, model)),
          file_(is_model_file(input_.model_kind) ? read_model_file()
                                                 : make_built_in_file()) {
        check_graph();
    }

    const CheckpointManifest& manifest() const { return reader_.manifest(); }
    const std::filesystem::path& path() const { return input_.model_file.path; }
    const ModelFileGraph& file() const { return file_; }
    ModelFileWeights weights() const {
        return {[this](const std::string& name) { return type(name); },
                [this](const std::string& name) { return load(name); }};
    }

private:
    RunInput find_input(const std::filesystem::path& folder,
                        const std::filesystem::path& model) const {
        RunInput input =
            parse_run_input(manifest().input, folder / "manifest.json", {});
        input.model_file.weights.clear();
        if (!model.empty()) {
            input.model_kind = model_kind_of(model);
            input.model_file.path = std::filesystem::absolute(model);
        }
        return input;
    }

    ModelFileGraph read_model_file() {
        const auto& path = input_.model_file.path;
        FUSIONLLM_VALIDATE(
            std::filesystem::exists(path),
            "the model file '{}' of the run is no longer there, and it has "
            "what the checkpoint has not; give it with --model FILE",
            path.string());
        weights_ = read_model_weights(input_.model_kind, path);
        return read_model_graph(input_.model_kind, path);
    }

    //! With the counters that a ResNet's batch norms have in PyTorch.
    ModelFileGraph make_built_in_file() {
        ModelFileGraph file{make_model(input_, {}), {}, {}, {}, {}};
        const auto add = [&](const std::string& name, const TensorType& type) {
            file.state_dict_names.push_back(name);
            types_[name] = type;
        };
        for (const Parameter& parameter : file.graph.signature().parameters) {
            add(parameter.name, file.graph.value(parameter.value).type);
        }
        for (const ModelBuffer& buffer : file.graph.signature().buffers) {
            add(buffer.name, file.graph.value(buffer.value).type);
            const std::string statistic = "running_mean";
            if (buffer.name.ends_with(statistic)) {
                const std::string counter =
                    buffer.name.substr(0,
                                       buffer.name.size() - statistic.size()) +
                    "num_batches_tracked";
                add(counter, {DType::i64, {}});
                file.counters[counter] = 1;
            }
        }
        return file;
    }

    void check_graph() const {
        const OpGraph graph = make_model(input_, load_model(input_));
        FUSIONLLM_VALIDATE(is_portable_hash(manifest().graph_hash, graph),
                           "the checkpoint is of graph {:016x}, but its model "
                           "now is graph {:016x}; give the file that it was "
                           "trained from with --model FILE",
                           manifest().graph_hash,
                           portable_hash(graph));
    }

    //! The name that the graph has for a name of the state dict.
    std::string own_name(const std::string& name) const {
        const auto shared = file_.shared_names.find(name);
        return shared == file_.shared_names.end() ? name : shared->second;
    }

    TensorType type(const std::string& name) const {
        return weights_ ? weights_->type(own_name(name)) : types_.at(name);
    }

    HostTensor load(const std::string& name) const {
        const std::string own = own_name(name);
        for (const std::string& stored :
             {parameter_tensor_name(own), buffer_tensor_name(own)}) {
            if (reader_.has(stored) && !file_.counters.contains(own)) {
                HostTensor tensor = reader_.read(stored);
                // Complex parameters are trained as real ones.
                if (as_real(type(name)) == tensor.type) {
                    tensor.type = type(name);
                }
                return tensor;
            }
        }
        const auto counter = file_.counters.find(own);
        if (counter != file_.counters.end()) {
            return count(own, counter->second);
        }
        return weights_.value().load(own);
    }

    //! What the run began with, and the micro-batches that were learned from.
    HostTensor count(const std::string& name, std::int64_t increment) const {
        HostTensor tensor{type(name), {}};
        FUSIONLLM_VALIDATE(
            tensor.type.dtype == DType::i64 && tensor.type.sizes.empty(),
            "the counter '{}' is {}, but only one i64 number can be counted "
            "on; export the model again",
            name,
            to_text(tensor.type));
        std::int64_t number =
            increment * static_cast<std::int64_t>(manifest().micro_batches);
        if (weights_) {
            tensor = weights_->load(name);
            std::int64_t first = 0;
            std::memcpy(&first, tensor.bytes.data(), sizeof first);
            number += first;
        }
        const auto bytes = std::as_bytes(std::span(&number, 1));
        tensor.bytes.assign(bytes.begin(), bytes.end());
        return tensor;
    }

    CheckpointReader reader_;
    RunInput input_;
    std::map<std::string, TensorType> types_;  // of models that are built in
    std::optional<ModelFileWeights> weights_;  // of the others
    ModelFileGraph file_;
};

std::vector<TensorEntry> list_state_dict(const TrainedModel& model) {
    std::vector<TensorEntry> entries;
    for (const std::string& name : model.file().state_dict_names) {
        entries.push_back({name, model.weights().type(name)});
    }
    return entries;
}

//! What a model loses or gains when its fences go.
void print_losses(const TrainedModel& model,
                  const std::filesystem::path& folder) {
    const auto& manifest = model.manifest();
    if (parse_plan(manifest.plan, folder / "manifest.json").fences.empty()) {
        return;
    }
    const auto losses =
        find_losses(folder, static_cast<std::int64_t>(manifest.step));
    const auto show = [](const std::optional<double>& loss) {
        return loss ? fmt::format("{:.6g}", *loss) : "not measured";
    };
    fmt::print(
        "The run was compressed; elsewhere the model runs without its codecs. "
        "Validation loss");
    if (!losses) {
        fmt::print(
            ": not measured; train with evaluate_every in [train] and evaluate "
            "= \"both\" in [compression]\n");
        return;
    }
    fmt::print(
        " after step {}: {} with codecs, {} without{}\n",
        losses->step,
        show(losses->with_codecs),
        show(losses->without_codecs),
        losses->with_codecs && losses->without_codecs
            ? ""
            : "; set evaluate = \"both\" in [compression] to measure both");
}

}  // namespace

int run_export(const ExportArguments& arguments) {
    const auto folder = find_checkpoint(arguments.checkpoint);
    const TrainedModel model(folder, arguments.model);
    check_output_file(arguments.output, {model.path()});
    for (const auto& file : std::filesystem::directory_iterator(folder)) {
        check_output_file(arguments.output, {file.path()});
    }
    if (arguments.format == "safetensors") {
        write_safetensors(arguments.output,
                          list_state_dict(model),
                          {{"format", "pt"}},
                          model.weights().load);
    } else {
        write_as_model_file(arguments.output, model.file(), model.weights());
    }
    fmt::print("{} tensors after step {} written to {}\n",
               model.file().state_dict_names.size(),
               model.manifest().step,
               arguments.output.string());
    print_losses(model, folder);
    return 0;
}

}  // namespace fusionllm
