#include "app/commands/train_briefing.hpp"

#include <unistd.h>

#include "fusionllm/graph/decompose.hpp"
#include "fusionllm/graph/graph_hash.hpp"
#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/runtime/rank_role.hpp"
#include "fusionllm/runtime/shaping.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/units.hpp"

#include "app/adaptation.hpp"
#include "app/commands/probe.hpp"
#include "app/json_text.hpp"
#include "app/model.hpp"
#include "app/trace_files.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;

RunInput load_input(const TrainArguments& arguments) {
    RunInput input =
        load_run_input(arguments.input.file, arguments.input.overrides);
    if (!arguments.plan.empty()) {
        input.plan.file = std::filesystem::absolute(arguments.plan);
    }
    if (!arguments.output.empty()) {
        input.run.output = std::filesystem::absolute(arguments.output);
        input.train.output = input.run.output;
    }
    return input;
}

//! What was measured; with it nothing has to be measured again.
void take_topology(RunInput& input, const TopologySpec& measured) {
    if (input.topology.spec.sites.empty()) {
        input.topology.match = "host";  // each host is a site
    }
    input.topology.spec = measured;
    input.topology.probe = false;
}

//! Sizes of the model; dropout is not among them, a run may change it.
std::vector<std::pair<std::string, std::int64_t>> sizes_of(
    const Gpt2Options& model) {
    return {{"layers", model.layers},
            {"width", model.width},
            {"heads", model.heads},
            {"context", model.context},
            {"vocabulary", model.vocabulary},
            {"tie_embeddings", model.tie_embeddings ? 1 : 0}};
}

std::vector<std::pair<std::string, std::int64_t>> sizes_of(
    const ResnetOptions& model) {
    return {{"depth", model.depth},
            {"classes", model.classes},
            {"image", model.image},
            {"channels", model.channels},
            {"stem", static_cast<std::int64_t>(model.stem)}};
}

std::vector<std::pair<std::string, std::int64_t>> sizes_of(
    const RunInput& input) {
    return input.model_kind == "resnet" ? sizes_of(input.resnet)
                                        : sizes_of(input.model);
}

// Fewer layers, or other heads, would fit the stored tensors and be wrong.
void check_model(const std::string& folder,
                 const RunInput& stored,
                 const RunInput& wanted) {
    FUSIONLLM_VALIDATE(
        stored.model_kind == wanted.model_kind,
        "the checkpoint '{}' is of a model of kind = \"{}\", but [model] kind "
        "is \"{}\"; resume with the same model, or start anew with "
        "--overwrite",
        folder,
        stored.model_kind,
        wanted.model_kind);
    const auto stored_sizes = sizes_of(stored);
    const auto wanted_sizes = sizes_of(wanted);
    for (std::size_t i = 0; i < stored_sizes.size(); ++i) {
        FUSIONLLM_VALIDATE(
            stored_sizes[i] == wanted_sizes[i],
            "the checkpoint '{}' is of a model with {} = {}, but [model] {} is "
            "{}; resume with the same model, or start anew with --overwrite",
            folder,
            stored_sizes[i].first,
            stored_sizes[i].second,
            wanted_sizes[i].first,
            wanted_sizes[i].second);
    }
}

//! Refuse to go on with what would be another run.
void check_checkpoint(const std::string& folder,
                      const CheckpointManifest& manifest,
                      const RunInput& input) {
    check_model(folder, parse_run_input(manifest.input, folder, {}), input);
    FUSIONLLM_VALIDATE(
        manifest.seed == static_cast<std::uint64_t>(input.run.seed),
        "the checkpoint '{}' was made with seed {}, but [run] seed is {}; "
        "resume with the same seed, or start anew with --overwrite",
        folder,
        manifest.seed,
        input.run.seed);
    FUSIONLLM_VALIDATE(
        manifest.optimizer == input.train.optimizer.kind,
        "the checkpoint '{}' was made by {}, but [train] optimizer is {}; "
        "resume with the same one, or start anew with --overwrite",
        folder,
        manifest.optimizer,
        input.train.optimizer.kind);
    FUSIONLLM_VALIDATE(
        manifest.samples ==
            manifest.step * static_cast<std::uint64_t>(input.train.batch),
        "the checkpoint '{}' has seen {} samples in {} steps, so its [train] "
        "batch was not {}; resume with the same batch, or start anew with "
        "--overwrite",
        folder,
        manifest.samples,
        manifest.step,
        input.train.batch);
}

//! A file may hold another model now, under the same name.
void check_graph(const std::string& folder,
                 const CheckpointManifest& manifest,
                 const ModelSource& source,
                 const OpGraph& graph) {
    FUSIONLLM_VALIDATE(
        !source.graph || is_portable_hash(manifest.graph_hash, graph),
        "the checkpoint '{}' is of another model than the file in [model] "
        "(graph {:016x}, but {:016x}); resume with the same file and loss, or "
        "start anew with --overwrite",
        folder,
        manifest.graph_hash,
        portable_hash(graph));
}

/*!
 * A number left open is that of the checkpoint, since losses depend on it in
 * their last digits, and with batch norms in more than that; another one is
 * worth a note.
 */
void go_on_with_micro_batches(RunInput& input,
                              ModelSource& source,
                              const CheckpointManifest& stored) {
    if (source.graph || !input.plan.file.empty()) {
        return;
    }
    const std::int64_t number =
        parse_plan(stored.plan, "the checkpoint's plan").micro_batches;
    if (input.micro_batches == 0) {
        input.micro_batches = number;
    } else if (input.micro_batches != number) {
        source.notes.push_back(fmt::format(
            "the checkpoint was made with {} micro-batches a step, this run "
            "makes {}: losses differ in their last digits, batch norms are "
            "over other samples, and what codecs with +feedback have kept is "
            "dropped",
            number,
            input.micro_batches));
    }
}

//! How fences are chosen, without whether they change while training.
CompressionSection choice_of_fences(const RunInput& input) {
    CompressionSection choice;
    choice.options = input.compression.options;
    choice.options.adapt.clear();
    choice.options.replay.clear();
    choice.fences = input.compression.fences;
    return choice;
}

//! A model goes on with the fences that it was trained with, wherever its
//! stages end now; that is worth a note if the input now wants others.
void take_fences(Job& job,
                 ModelSource& source,
                 const RunInput& input,
                 const CheckpointManifest& stored,
                 const std::string& name) {
    job.plan.fences = parse_plan(stored.plan, name).fences;
    validate(job.plan.fences, job.graph);
    if (choice_of_fences(parse_run_input(stored.input, name, {})) !=
        choice_of_fences(input)) {
        source.notes.push_back(
            "[compression] is not what the checkpoint was made with, but a "
            "run that is resumed keeps its fences: what now chooses others "
            "has no effect; name a plan that has them by --plan, or start "
            "anew with --overwrite");
    }
}

//! What adapting runs begin with: fences to measure at, or what another run had
//! at this step.
void adapt_fences(Job& job, const RunInput& input, std::int64_t start_step) {
    const CompressionOptions& options = input.compression.options;
    if (options.adapt == "on") {
        job.plan.fences =
            with_dense_fences(job.plan.fences, job.graph, job.plan.placement);
    } else if (options.adapt == "replay") {
        const auto change =
            find_change(load_fence_changes(options.replay), start_step);
        if (change) {
            job.plan.fences = change->fences;
            validate(job.plan.fences, job.graph);
        }
    }
}

//! The model as these ranks can run it, together.
ModelSource fit_model(const RunInput& input,
                      const std::vector<std::string>& hosts,
                      const RankTalk& talk) {
    ModelSource source = talk.load(input);
    if (input.network.compute == "waits") {
        return source;  // nothing will be run
    }
    RankSoftware ranks{
        {},
        match_devices(input,
                      make_job_topology(input, static_cast<int>(hosts.size())),
                      hosts)};
    for (const ProgramVersions& versions : talk.versions()) {
        ranks.libtorch.push_back(versions.libtorch);
    }
    fit_to_ranks(source, input, ranks, [&](const auto& calls) {
        return talk.ask(calls);
    });
    return source;
}

/*!
 * Everything that can be wrong with the input is found here, on rank 0, but
 * for the data, which other ranks may read; nothing is written. `measured`: the
 * topology, if that was probed.
 */
Briefing make_briefing(const TrainArguments& arguments,
                       const std::vector<std::string>& hosts,
                       const std::optional<TopologySpec>& measured,
                       const RankTalk& talk) {
    Briefing briefing;
    briefing.job_id = fmt::format("{}-{}", mpi::host_name(), getpid());
    try {
        const auto num_ranks = static_cast<int>(hosts.size());
        RunInput input = load_input(arguments);
        if (measured) {
            take_topology(input, *measured);
        }
        const OutputFolder output(input.run.output, arguments.existing);
        std::optional<CheckpointManifest> stored;
        if (const auto checkpoint = output.checkpoint_to_resume()) {
            briefing.checkpoint = checkpoint->string();
            stored = load_manifest(briefing.checkpoint);
        }
        ModelSource source = fit_model(input, hosts, talk);
        if (stored) {
            go_on_with_micro_batches(input, source, *stored);
        }
        input = choose_micro_batches(std::move(input), source, num_ranks);
        Job job = make_job(input, source, num_ranks);
        job.plan = plan_job(input, job).plan;
        const auto devices = match_devices(input, job.topology, hosts);
        make_rank_role(job.plan, devices, root);
        if (input.network.mode == "shaped") {
            make_shaped_links(input, job, devices);
        }
        FUSIONLLM_VALIDATE(
            arguments.existing != Existing::resume ||
                input.network.compute != "waits",
            "nothing can be resumed with compute = \"waits\" in [network]: "
            "such a run has no numbers to go on from; start it anew with "
            "--overwrite");
        std::int64_t start_step = 0;
        if (stored) {
            start_step = static_cast<std::int64_t>(stored->step);
            check_checkpoint(briefing.checkpoint, *stored, input);
            check_graph(briefing.checkpoint, *stored, source, job.graph);
            if (input.plan.file.empty()) {
                take_fences(job, source, input, *stored, briefing.checkpoint);
            }
        }
        adapt_fences(job, input, start_step);
        check_trace(input, job);
        briefing.model = to_text(source);
        briefing.input = to_toml(input);
        briefing.plan = to_text(job.plan, job.graph);
    } catch (const InputError& error) {
        briefing.problem = error.what();
        briefing.status = 2;
    } catch (const std::exception& error) {
        briefing.problem = error.what();
        briefing.status = 1;
    }
    return briefing;
}

std::string to_text(const Briefing& briefing) {
    return pack_texts({briefing.problem,
                       std::to_string(briefing.status),
                       briefing.input,
                       briefing.plan,
                       briefing.checkpoint,
                       briefing.job_id,
                       briefing.model});
}

Briefing parse_briefing(const std::string& text) {
    const auto texts = unpack_texts(text);
    return {texts.at(0),
            std::stoi(texts.at(1)),
            texts.at(2),
            texts.at(3),
            texts.at(4),
            texts.at(5),
            texts.at(6)};
}

}  // namespace

std::vector<ProgramVersions> gather_versions(const mpi::Communicator& world) {
    std::vector<ProgramVersions> versions;
    for (const std::string& text :
         mpi::all_gather_strings(world, to_text(own_versions()))) {
        versions.push_back(parse_program_versions(text));
    }
    return versions;
}

std::string find_version_problem(const std::vector<ProgramVersions>& versions) {
    try {
        check_versions(versions);
        return "";
    } catch (const InputError& error) {
        return error.what();
    }
}

std::vector<DeviceId> match_devices(const RunInput& input,
                                    const Topology& topology,
                                    const std::vector<std::string>& hosts) {
    return match_ranks(
        topology,
        input.topology.match == "host" ? Match::host : Match::order,
        hosts);
}

ShapeOptions shape_options_of(const RunInput& input) {
    return {input.network.time_scale,
            parse_seconds(input.network.jitter),
            input.network.changes,
            static_cast<std::uint64_t>(input.run.seed)};
}

ShapedLinks make_shaped_links(const RunInput& input,
                              const Job& job,
                              const std::vector<DeviceId>& device_of_rank) {
    return make_shaped_links(
        job.model.network(), device_of_rank, shape_options_of(input));
}

std::optional<StageWaits> make_stage_waits(const RunInput& input,
                                           const Job& job) {
    if (input.network.compute == "real") {
        return std::nullopt;
    }
    return StageWaits{
        input.network.compute == "waits"
            ? StageWaits::Kind::in_place_of_computing
            : StageWaits::Kind::after_computing,
        [&job,
         scale = input.network.time_scale](const std::vector<Fence>& fences) {
            auto stages =
                job.model.step_costs(job.plan.placement, fences).stages;
            for (StageSeconds& stage : stages) {
                stage.forward_s *= scale;
                stage.backward_s *= scale;
                stage.update_s *= scale;
            }
            return stages;
        }};
}

Briefing exchange_briefing(const mpi::Communicator& world,
                           const TrainArguments& arguments,
                           const std::vector<std::string>& hosts,
                           const std::vector<ProgramVersions>& versions,
                           RankTable& table) {
    const ProbedTopology probed = probe_topology(
        world,
        hosts,
        [&] { return load_input(arguments); },
        [&](const Activity& activity) { table.set_activity(activity); });
    if (!probed.problem.empty()) {
        Briefing briefing;
        briefing.problem = probed.problem;
        briefing.status = probed.status;
        return briefing;
    }
    const RankTalk talk(world, versions);
    std::string own;
    if (world.rank() == root) {
        own = to_text(make_briefing(arguments, hosts, probed.spec, talk));
        talk.end();
    } else {
        talk.answer();
    }
    return parse_briefing(mpi::all_gather_strings(world, own).at(root));
}

}  // namespace fusionllm
