#include "app/model.hpp"

#include "fusionllm/graph/restart.hpp"
#include "fusionllm/importers/loss.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "app/first_values.hpp"
#include "app/json_text.hpp"
#include "app/model_file.hpp"
#include "app/named_weights.hpp"

namespace fusionllm {
namespace {

OpGraph restart_after(const OpGraph& graph, const CompressionSection& section) {
    try {
        return restart_at(graph,
                          find_cut(graph, section.cut_after),
                          section.restart == "zeros" ? RestartKind::zeros
                                                     : RestartKind::embedding);
    } catch (const InputError& error) {
        throw InputError(fmt::format(
            "'cut_after' = \"{}\" in [compression], of rule = \"cut\": {}",
            section.cut_after,
            error.what()));
    }
}

OpGraph make_built_in(const RunInput& input, std::int64_t micro_batch) {
    return input.model_kind == "resnet" ? make_resnet(input.resnet, micro_batch)
                                        : make_gpt2(input.model, micro_batch);
}

//! The loss that [model] wants, which must be there.
OpGraph choose_loss(OpGraph graph, const ModelFileSection& section) {
    if (section.loss != "graph") {
        return with_loss(graph, parse_loss_kind(section.loss));
    }
    FUSIONLLM_VALIDATE(graph.signature().loss.has_value(),
                       "the model '{}' computes no loss: none of its outputs "
                       "is one f32 number; set loss = \"cross_entropy\" or "
                       "\"mse\" in [model], or export a model that returns its "
                       "loss",
                       section.path.string());
    return graph;
}

}  // namespace

ModelSource load_model(const RunInput& input) {
    ModelSource source;
    if (is_model_file(input.model_kind)) {
        ModelFileGraph file =
            read_model_graph(input.model_kind, input.model_file.path);
        source.graph = choose_loss(std::move(file.graph), input.model_file);
        source.notes = std::move(file.notes);
        micro_batch_of(*source.graph);
    }
    if (!input.model_file.weights.empty()) {
        NamedWeights(input.model_file.weights)
            .check(source.graph ? *source.graph : make_built_in(input, 1));
    }
    for (const auto& file : first_values_files(input)) {
        source.fingerprints.push_back(fingerprint_of(file));
    }
    return source;
}

void print_notes(const std::vector<std::string>& notes) {
    for (const std::string& note : notes) {
        fmt::print("note: {}\n", note);
    }
}

std::string to_text(const ModelSource& source) {
    std::vector<std::string> fingerprints;
    for (const std::uint64_t fingerprint : source.fingerprints) {
        fingerprints.push_back(std::to_string(fingerprint));
    }
    return pack_texts({source.graph ? to_text(*source.graph) : "",
                       pack_texts(fingerprints),
                       pack_texts(source.notes)});
}

ModelSource parse_model_source(const std::string& text) {
    const auto texts = unpack_texts(text);
    ModelSource source;
    if (!texts.at(0).empty()) {
        source.graph = parse_graph(texts.at(0));
    }
    for (const std::string& fingerprint : unpack_texts(texts.at(1))) {
        source.fingerprints.push_back(std::stoull(fingerprint));
    }
    source.notes = unpack_texts(texts.at(2));
    return source;
}

std::int64_t micro_batch_of(const OpGraph& graph) {
    std::optional<std::int64_t> micro_batch;
    for (const ValueId input : graph.signature().inputs) {
        const Value& value = graph.value(input);
        const auto& sizes = value.type.sizes;
        FUSIONLLM_VALIDATE(
            !sizes.empty() && sizes.front() > 0 &&
                sizes.front() == micro_batch.value_or(sizes.front()),
            "the input '{}' of model '{}' is {}; the first size of all inputs "
            "must be the samples of a micro-batch{}",
            value.name,
            graph.name(),
            to_text(value.type),
            micro_batch ? fmt::format(", {} by the inputs before", *micro_batch)
                        : "");
        micro_batch = sizes.front();
    }
    FUSIONLLM_VALIDATE(
        micro_batch, "the model '{}' has no input", graph.name());
    return *micro_batch;
}

OpGraph make_model(const RunInput& input, const ModelSource& source) {
    FUSIONLLM_EXPECTS(input.micro_batches > 0);
    OpGraph graph =
        source.graph
            ? *source.graph
            : make_built_in(input, input.train.batch / input.micro_batches);
    return input.compression.options.rule == "cut"
               ? restart_after(graph, input.compression)
               : graph;
}

void fit_to_ranks(ModelSource& source,
                  RunInput input,
                  const RankSoftware& ranks,
                  const AskRanks& ask) {
    if (source.graph) {
        FittedGraph fitted = fit_to_ranks(*source.graph, ranks, ask);
        source.graph = std::move(fitted.graph);
        source.software = std::move(fitted.software);
        source.notes.insert(
            source.notes.end(), fitted.notes.begin(), fitted.notes.end());
        return;
    }
    // What ops there are does not depend on the size of a micro-batch.
    input.micro_batches = input.train.batch;
    FittedGraph fitted = fit_to_ranks(make_model(input, source), ranks, ask);
    source.software = std::move(fitted.software);
    source.notes = std::move(fitted.notes);
}

}  // namespace fusionllm
