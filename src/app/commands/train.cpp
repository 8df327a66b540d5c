#include <cstdio>
#include <memory>

#include <unistd.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/comm/mpi_transport.hpp"
#include "fusionllm/comm/rank_table.hpp"
#include "fusionllm/comm/shaped_transport.hpp"
#include "fusionllm/exec/memory.hpp"
#include "fusionllm/exec/threads.hpp"
#include "fusionllm/plan/traffic.hpp"
#include "fusionllm/runtime/checkpointer.hpp"
#include "fusionllm/runtime/rank_role.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/memory_use.hpp"
#include "fusionllm/util/units.hpp"

#include "app/adaptation.hpp"
#include "app/commands/commands.hpp"
#include "app/commands/disks.hpp"
#include "app/commands/fail_together.hpp"
#include "app/commands/memory_report.hpp"
#include "app/commands/resumed_checkpoint.hpp"
#include "app/commands/train_briefing.hpp"
#include "app/commands/train_checkpoints.hpp"
#include "app/commands/train_report.hpp"
#include "app/fence_table.hpp"
#include "app/first_values.hpp"
#include "app/job.hpp"
#include "app/json_text.hpp"
#include "app/screen.hpp"
#include "app/trace_files.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t sections_slot = 16;

GroupLayout make_layout(const Job& job, const std::vector<DeviceId>& devices) {
    GroupLayout layout;
    for (const DeviceId device : devices) {
        layout.group_of_rank.push_back(find_group(job.plan, device));
    }
    layout.group_pairs = communicating_groups(
        job.plan, job.graph, layout.group_of_rank.at(root));
    return layout;
}

//! Kokkos, memory and the number of threads, for the compute thread.
std::shared_ptr<void> make_compute_scope(int num_threads) {
    keep_freed_memory();
    set_num_threads(num_threads);
    return std::make_shared<KokkosScope>(num_threads);
}

/*!
 * What ranks of a host see of each other, from before rank 0 reads the input.
 * Collective.
 */
struct HostWatch {
    // A host's first rank names the file that they share.
    explicit HostWatch(const mpi::Communicator& world)
        : table(world, fmt::format("{}-{}", mpi::host_name(), getpid())),
          watchman(table, parse_seconds(RunInput().run.long_wait)) {}

    RankTable table;
    Watchman watchman;
};

/*!
 * One rank of a run, from the briefing to the last table.
 */
class TrainRun {
public:
    TrainRun(const mpi::Communicator& world,
             const Briefing& briefing,
             Existing existing,
             const std::vector<std::string>& hosts,
             HostWatch& watch)
        : world_(world),
          briefing_(briefing),
          watch_(watch),
          existing_(existing),
          input_(parse_run_input(briefing.input, "the resolved input", {})),
          model_(parse_model_source(briefing.model)),
          job_(make_briefed_job()),
          devices_(match_devices(input_, job_.topology, hosts)),
          layout_(make_layout(job_, devices_)),
          role_(make_rank_role(job_.plan, devices_, world.rank())),
          transport_(world, layout_) {
        watch_.watchman.set_long_wait(parse_seconds(input_.run.long_wait));
        if (input_.network.mode == "shaped") {
            shaped_ = std::make_unique<ShapedTransport>(
                transport_,
                share_links(world,
                            briefing.job_id,
                            make_shaped_links(input_, job_, devices_)));
        }
        watch_.table.set_stage(role_.stage ? static_cast<int>(*role_.stage)
                                           : -1);
        if (!briefing.checkpoint.empty()) {
            resumed_ = std::make_unique<ResumedCheckpoint>(
                world,
                layout_.group_of_rank,
                briefing.checkpoint,
                tensors_to_load(job_, input_, role_));
            micro_batches_ = resumed_->manifest().micro_batches;
        }
    }

    int run();

private:
    Job make_briefed_job() const;
    void print_start(const std::vector<std::string>& hosts) const;
    void print_end(const Trainer& trainer, StopRequest stop);
    TrainerHooks make_hooks();
    TrainerSetup make_setup() const;
    std::optional<Emulation> make_emulation() const;
    void add_fence_hooks(TrainerHooks& hooks);
    void go_on_with_log();
    void make_checkpointer();
    bool is_root() const { return world_.rank() == root; }
    bool is_waiting() const { return input_.network.compute == "waits"; }
    std::int64_t start_step() const {
        return resumed_ ? static_cast<std::int64_t>(resumed_->manifest().step)
                        : 0;
    }

    const mpi::Communicator& world_;
    const Briefing& briefing_;
    HostWatch& watch_;
    Existing existing_;
    RunInput input_;
    ModelSource model_;
    Job job_;
    std::vector<DeviceId> devices_;
    GroupLayout layout_;
    RankRole role_;
    MpiTransport transport_;
    std::unique_ptr<ShapedTransport> shaped_;  // over `transport_`, if wanted
    std::unique_ptr<ResumedCheckpoint> resumed_;
    std::unique_ptr<OutputFolder> output_;
    std::unique_ptr<ProgressPrinter> progress_;
    std::unique_ptr<Checkpointer> checkpointer_;
    std::uint64_t data_hash_ = 0;
    std::uint64_t micro_batches_ = 0;  // root only: of all updates made
    std::uint64_t loaded_bytes_ = 0;   // most in use until all was loaded
    std::vector<FenceLine> fences_;    // as last measured
    std::int64_t version_ = 0;         // of the fences, in this run
};

//! The job with rank 0's plan, so that all ranks have the same one.
Job TrainRun::make_briefed_job() const {
    Job job = make_job(input_, model_, world_.size());
    job.plan = parse_plan(briefing_.plan, "rank 0's plan");
    validate(job.plan, job.graph, job.topology.devices.size());
    job.model = job.model.with(job.plan.recompute);
    return job;
}

TrainerHooks TrainRun::make_hooks() {
    TrainerHooks hooks;
    hooks.on_step = [this](const StepMetrics& metrics) {
        micro_batches_ += metrics.skipped.empty() ? job_.plan.micro_batches : 0;
        if (!metrics.fences.empty()) {
            fences_ = make_fence_lines(
                metrics.fences, job_.plan, job_.graph, job_.model.network());
        }
        output_->write_metrics(to_json(
            metrics,
            metrics.fences.empty() ? std::vector<FenceLine>() : fences_,
            shaped_ ? std::optional(metrics.step_s / input_.network.time_scale)
                    : std::nullopt));
        progress_->print(metrics);
    };
    hooks.stop_requested = [this] { return watch_.watchman.stop_request(); };
    hooks.on_activity = [this](const Activity& activity) {
        watch_.table.set_activity(activity);
    };
    if (!is_waiting()) {
        hooks.save = [this](std::int64_t step,
                            const std::vector<NamedTensor>& mine) {
            auto manifest = make_manifest(job_, input_, briefing_.input, step);
            manifest.data_hash = data_hash_;
            manifest.micro_batches = micro_batches_;
            checkpointer_->save(manifest, job_.plan.fences, mine);
        };
    }
    hooks.on_long_wait = [this](const LongWait& wait) {
        std::fprintf(stderr,
                     "fusionllm: %s\n",
                     describe_wait(wait, job_, devices_).c_str());
    };
    add_fence_hooks(hooks);
    if (resumed_) {
        hooks.load = [this](const std::string& name) {
            return resumed_->load(name);
        };
        hooks.stored_fences =
            parse_plan(resumed_->manifest().plan, briefing_.checkpoint).fences;
    }
    return hooks;
}

TrainerSetup TrainRun::make_setup() const {
    return {job_.graph,
            job_.plan,
            devices_,
            input_.run.device,
            world_.split_by_host().rank(),
            start_step(),
            input_.data.shuffle,
            [threads = static_cast<int>(input_.run.threads)] {
                return make_compute_scope(threads);
            },
            [this] { return load_data(input_, job_.graph); },
            process_begin_s(),
            evaluation_codecs(job_, input_),
            {input_.compression.basis_every},
            job_.plan.fences.empty() ? 0 : input_.compression.measure_every,
            input_.compression.options.adapt == "on" &&
                input_.network.mode != "emulated",
            input_.compression.options.adapt == "on"
                ? probed_codecs(input_.compression.options)
                : std::vector<CodecChoice>(),
            input_.trace,
            make_emulation(),
            make_stage_waits(input_, job_),
            parse_seconds(input_.run.long_wait),
            make_first_values(input_, model_)};
}

//! Number the changes on; the one that a replay begins with is one of them.
void TrainRun::go_on_with_log() {
    version_ = last_version(output_->fences_file());
    if (const auto change =
            find_replayed_change(input_.compression.options, start_step())) {
        output_->write_fences(
            to_json(FenceChange{change->step, ++version_, change->fences}));
    }
}

void TrainRun::add_fence_hooks(TrainerHooks& hooks) {
    hooks.on_fences = [this](std::int64_t step,
                             const std::vector<Fence>& fences) {
        job_.plan.fences = fences;
        if (is_root()) {
            output_->write_fences(
                to_json(FenceChange{step, ++version_, fences}));
        }
    };
    if (is_root()) {
        hooks.adapt = make_adapt_hook(job_, input_);
    }
    if (role_.stage && !input_.trace.values.empty()) {
        hooks.on_traced =
            make_trace_hook(input_, job_, *role_.stage, start_step());
    }
}

//! The testbed is the topology of the input; rank 0 keeps the clock.
std::optional<Emulation> TrainRun::make_emulation() const {
    if (!is_root() || input_.network.mode != "emulated") {
        return std::nullopt;
    }
    const double begin_s =
        resumed_ ? OutputFolder(input_.run.output, Existing::resume)
                       .emulated_s_after(start_step())
                 : 0;
    return Emulation{[this](const std::vector<Fence>& fences) {
                         return job_.model.step_costs(job_.plan.placement,
                                                      fences);
                     },
                     job_.model.network(),
                     begin_s};
}

void TrainRun::print_start(const std::vector<std::string>& hosts) const {
    const auto pids = all_gather_strings(world_, fmt::format("{}", getpid()));
    const auto advice = all_gather_strings(world_, blas_advice());
    if (!is_root()) {
        return;
    }
    std::printf(
        "%s\n",
        describe_run(
            input_,
            job_,
            make_rank_lines(job_, devices_, layout_.group_of_rank, hosts, pids))
            .c_str());
    print_notes(model_.notes);
    print_notes(with_hosts(advice, hosts));
    if (is_waiting()) {
        std::printf(
            "Nothing is computed: each rank waits as long as its "
            "device would take, so there is no loss.\n");
    }
    if (resumed_) {
        std::printf("resuming after step %ld from %s\n",
                    static_cast<long>(start_step()),
                    briefing_.checkpoint.c_str());
    }
    std::fflush(stdout);
}

void TrainRun::print_end(const Trainer& trainer, StopRequest stop) {
    const auto packed = gather(
        transport_, root, sections_slot, pack_sections(trainer.sections()));
    const auto cpu_time = gather_cpu_time(transport_, job_.plan, devices_);
    const auto memory =
        gather_memory(transport_, weight_bytes(job_, role_), loaded_bytes_);
    if (!is_root()) {
        return;
    }
    std::vector<std::vector<Section>> sections;
    for (const std::string& bytes : packed) {
        sections.push_back(unpack_sections(bytes));
    }
    std::printf("\n%s", describe_sections(sections).c_str());
    if (const auto table = describe_fences(fences_, job_, input_.compression);
        !table.empty()) {
        std::printf("\nfences, as last measured\n\n%s", table.c_str());
    }
    const SentSteps sent{trainer.traffic(),
                         start_step(),
                         trainer.step(),
                         {input_.compression.basis_every}};
    if (const auto table =
            describe_sent(job_, devices_, layout_.group_of_rank, sent);
        !table.empty()) {
        std::printf("\n%s", table.c_str());
    }
    std::printf("\n%s%s\n%s after step %ld of %ld; %s\n",
                memory.c_str(),
                cpu_time.c_str(),
                stop == StopRequest::none ? "done" : "stopped on request",
                static_cast<long>(trainer.step()),
                static_cast<long>(input_.train.steps),
                is_waiting() ? "nothing was computed, so there is no checkpoint"
                             : ("the last checkpoint is in " +
                                output_->checkpoints().string())
                                   .c_str());
    std::fflush(stdout);
}

//! Finds whose disks the checkpoints go to; collective.
void TrainRun::make_checkpointer() {
    const auto folder = input_.run.output / "checkpoints";
    const OnActivity on_activity = [this](const Activity& activity) {
        watch_.table.set_activity(activity);
    };
    const auto owners = find_disk_owners(world_, folder, on_activity);
    check_group_disks(owners, layout_.group_of_rank, folder);
    prepare_disks(world_, owners, folder, existing_, on_activity);
    checkpointer_ = std::make_unique<Checkpointer>(
        transport_,
        CheckpointerSetup{
            job_.graph,
            job_.plan,
            transport_.group(),
            layout_.group_of_rank[world_.rank()],
            folder,
            owners[world_.rank()] == world_.rank(),
            static_cast<std::size_t>(input_.train.checkpoint_keep),
            input_.train.optimizer,
            on_activity,
            [](const std::string& warning) {
                std::fprintf(stderr, "fusionllm: %s\n", warning.c_str());
            }});
}

int TrainRun::run() {
    const auto hosts = all_gather_strings(world_, mpi::host_name());
    print_start(hosts);
    Transport& links = shaped_ ? static_cast<Transport&>(*shaped_) : transport_;
    Trainer trainer(links, make_setup(), input_.train, make_hooks());
    if (resumed_) {
        resumed_->close();
        resumed_->check_data(trainer.data_hash());
    }
    loaded_bytes_ = peak_resident_bytes();
    data_hash_ = trainer.data_hash();
    if (!is_waiting()) {
        make_checkpointer();
    }
    if (is_root()) {
        output_ = std::make_unique<OutputFolder>(input_.run.output, existing_);
        output_->prepare(start_step(), briefing_.input, briefing_.plan);
        go_on_with_log();
        progress_ = std::make_unique<ProgressPrinter>(
            start_step(), input_.train.steps, unit_of_input(job_.graph));
    }
    const StopRequest stop = trainer.run();
    print_end(trainer, stop);
    return stop == StopRequest::requeue ? requeue_status : 0;
}

//! Of what all ranks know.
int refuse(const mpi::Communicator& world, const std::string& why, int status) {
    if (world.rank() == root) {
        std::fprintf(stderr, "fusionllm: %s\n", why.c_str());
    }
    return status;
}

}  // namespace

int run_train(int& argc, char**& argv, const TrainArguments& arguments) {
    const mpi::Environment environment(argc, argv);
    const auto world = mpi::Communicator::world();
    try {
        const auto hosts = all_gather_strings(world, mpi::host_name());
        const auto versions = gather_versions(world);
        if (const auto problem = find_version_problem(versions);
            !problem.empty()) {
            return refuse(world, problem, 2);
        }
        HostWatch watch(world);
        const Activity agreement{0, Phase::agreement, 0};
        if (world.rank() != root) {
            watch.table.set_activity(agreement);
        }
        const Briefing briefing =
            exchange_briefing(world, arguments, hosts, versions, watch.table);
        watch.table.set_activity(agreement);
        if (!briefing.problem.empty()) {
            return refuse(world, briefing.problem, briefing.status);
        }
        TrainRun run(world, briefing, arguments.existing, hosts, watch);
        return run.run();
    } catch (const InputError& error) {
        fail_together(world, error.what(), 2);
    } catch (const std::exception& error) {
        fail_together(world, error.what(), 1);
    }
}

}  // namespace fusionllm
