#include "fusionllm/runtime/trainer.hpp"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "fusionllm/codec/dropout_mask.hpp"
#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/exec/optimizer.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/runtime/batches.hpp"
#include "fusionllm/runtime/gradient_exchange.hpp"
#include "fusionllm/runtime/link_survey.hpp"
#include "fusionllm/runtime/pipeline.hpp"
#include "fusionllm/runtime/wait_watch.hpp"
#include "fusionllm/util/error.hpp"

#include "data_agreement.hpp"
#include "validation.hpp"
#include "worker.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t report_slot = 1;
constexpr std::uint32_t decision_slot = 2;

// A large validation set is sampled evenly: this many batches tell enough.
constexpr std::int64_t max_validation_batches = 100;

}  // namespace

struct Trainer::State {
    State(Transport& transport_,
          TrainerSetup setup_,
          TrainOptions options_,
          TrainerHooks hooks_)
        : transport(transport_),
          setup(std::move(setup_)),
          options(std::move(options_)),
          hooks(std::move(hooks_)),
          role(make_rank_role(
              setup.plan, setup.device_of_rank, transport_.rank())),
          step(setup.start_step) {}

    void start();
    StepMetrics train_step();
    StepReport report(const PipelineResult& result);
    StepDecision decide_together(const StepReport& mine);
    void count(const std::vector<StepReport>& reports);
    void change_fences();
    ValidationResult evaluate(CodecUse codecs);
    void add_validation(StepMetrics& metrics);
    void save();
    void watch_waits(std::optional<WaitWatch>& watch);
    std::vector<HostTensor> training_inputs(std::uint32_t micro_batch) const;
    void say(Phase phase, std::uint32_t micro_batch = 0) const {
        if (hooks.on_activity) {
            hooks.on_activity(
                {static_cast<std::uint32_t>(step), phase, micro_batch});
        }
    }
    std::int64_t micro_batch_size() const {
        return options.batch / setup.plan.micro_batches;
    }
    bool is_root() const { return transport.rank() == root; }

    Transport& transport;
    TrainerSetup setup;
    TrainOptions options;
    TrainerHooks hooks;
    RankRole role;
    IdleWait wait;                                       // outside the pipeline
    std::function<void(std::int64_t step)> begin_watch;  // none: nobody watches
    std::int64_t step;                                   // updates tried
    double step_begin_s = 0;
    SectionTimer sections;
    DataFacts data_facts;
    std::int64_t tokens_per_step = 0;
    std::vector<std::string> parameter_names;
    std::unique_ptr<Worker> worker;  // none on a rank without a stage
    std::optional<LinkSurvey> survey;
    DatasetSplit data;
    std::optional<SampleOrder> order;
    std::int64_t saved_step = -1;
    StopRequest stop = StopRequest::none;    // the last decision's
    RankTraffic traffic;                     // root only
    std::vector<FenceReport> fence_reports;  // root only, of the last step
    std::optional<EmulatedClock> emulated;   // root of an emulation only
    std::optional<std::vector<Fence>> next_fences;
};

Trainer::Trainer(Transport& transport,
                 TrainerSetup setup,
                 TrainOptions options,
                 TrainerHooks hooks)
    : state_(std::make_unique<State>(
          transport, std::move(setup), std::move(options), std::move(hooks))) {
    state_->start();
}

Trainer::~Trainer() = default;

std::uint64_t Trainer::data_hash() const {
    return state_->data_facts.hash;
}

std::int64_t Trainer::step() const {
    return state_->step;
}

const RankTraffic& Trainer::traffic() const {
    return state_->traffic;
}

const SectionTimer& Trainer::sections() const {
    return state_->sections;
}

void Trainer::State::start() {
    sections.add("launch", monotonic_s() - setup.begin_s);
    const auto scope = sections.measure("start");
    say(Phase::start);
    const GraphSignature& signature = setup.graph.signature();
    for (const Parameter& parameter : signature.parameters) {
        parameter_names.push_back(parameter.name);
    }
    if (!signature.inputs.empty()) {
        const TensorType& type =
            setup.graph.value(signature.inputs.front()).type;
        tokens_per_step = is_differentiable(type.dtype)
                              ? options.batch
                              : num_elements(type) * setup.plan.micro_batches;
    }
    if (is_root() && setup.emulation) {
        emulated.emplace(*setup.emulation,
                         setup.plan,
                         role.rank_of_stage,
                         setup.device_of_rank);
    }
    if (role.stage) {
        worker = std::make_unique<Worker>(
            transport,
            WorkerSetup{setup.graph,
                        setup.plan,
                        role,
                        options.seed,
                        parse_device(setup.device, setup.local_rank),
                        options.check_ops,
                        setup.bases,
                        setup.measure_every,
                        setup.candidates,
                        options.optimizer,
                        setup.compute_scope,
                        hooks.load,
                        hooks.stored_fences,
                        setup.initial,
                        setup.waits});
        worker->pipeline().on_action([this](const Action& action) {
            say(action.kind == ActionKind::forward ? Phase::forward
                                                   : Phase::backward,
                action.microbatch.get());
        });
    }
    if (worker && setup.follow_links) {
        survey.emplace(transport, wait, role);
    }
    if (worker && hooks.on_traced) {
        worker->pipeline().trace([this](ValueId value,
                                        std::uint64_t index,
                                        std::uint32_t micro_batch) {
            return is_traced(setup.trace,
                             setup.graph.value(value).name,
                             static_cast<std::int64_t>(index) + 1,
                             micro_batch);
        });
    }
    DataFacts mine;
    if (worker && !worker->slice().user_inputs.empty()) {
        data = setup.load_data();
        mine = facts_of(data);
        order.emplace(options.seed,
                      data.train->size(),
                      setup.is_shuffled ? SampleOrder::Kind::shuffled
                                        : SampleOrder::Kind::sequential);
    }
    say(Phase::agreement);
    data_facts = agree_on_data(transport, mine);
    say(Phase::start);
}

std::vector<HostTensor> Trainer::State::training_inputs(
    std::uint32_t micro_batch) const {
    std::vector<SampleInEpoch> samples;
    const std::int64_t first =
        step * options.batch + micro_batch * micro_batch_size();
    for (std::int64_t i = 0; i < micro_batch_size(); ++i) {
        const auto position = static_cast<std::uint64_t>(first + i);
        samples.push_back({(*order)(position), position / data.train->size()});
    }
    return make_batch(
        setup.graph, *data.train, samples, worker->slice().user_inputs);
}

StepReport Trainer::State::report(const PipelineResult& result) {
    StepReport report;
    if (hooks.stop_requested) {
        report.stop = hooks.stop_requested();
    }
    if (!worker) {
        return report;
    }
    report.stage = static_cast<std::int32_t>(*role.stage);
    report.loss_sum = result.loss_sum;
    report.has_loss = worker->has_loss() ? 1 : 0;
    report.bad_activation = result.bad_activation;
    report.bad_gradient = result.bad_gradient;
    report.bad_op = worker->take_bad_op();
    report.sent = result.sent;
    report.links = result.links;
    worker->add_fence_reports(report);
    if (survey) {
        survey->add_to(report, worker->slice());
    }
    report.squares =
        worker->sum_gradients(step, report.sent.parameter_gradients);
    return report;
}

void Trainer::State::count(const std::vector<StepReport>& reports) {
    std::vector<SentBytes> sent;
    fence_reports.clear();
    for (const StepReport& report : reports) {
        sent.push_back(report.sent);
        fence_reports.insert(
            fence_reports.end(), report.fences.begin(), report.fences.end());
    }
    add_traffic(traffic, sent, role.rank_of_stage);
    if (emulated) {
        emulated->add_step(sent);
    }
}

StepDecision Trainer::State::decide_together(const StepReport& mine) {
    const auto packed = gather(transport, wait, root, report_slot, pack(mine));
    std::string answer;
    if (is_root()) {
        std::vector<StepReport> reports;
        for (const std::string& bytes : packed) {
            reports.push_back(unpack_report(bytes));
        }
        count(reports);
        StepDecision decision = decide(reports,
                                       parameter_names,
                                       setup.plan.micro_batches,
                                       options.clip_norm);
        if (hooks.adapt) {
            StepMeasurements measured = measurements_of(
                reports, role.rank_of_stage, monotonic_s() - step_begin_s);
            measured.step = step + 1;
            decision.fences = hooks.adapt(measured);
        }
        answer = pack(decision);
    }
    return unpack_decision(
        broadcast(transport, wait, root, decision_slot, std::move(answer)));
}

void Trainer::State::change_fences() {
    if (!next_fences) {
        return;
    }
    if (worker) {
        worker->set_fences(*next_fences);
    }
    if (emulated) {
        emulated->set_fences(*next_fences);
    }
    if (hooks.on_fences) {
        hooks.on_fences(step, *next_fences);
    }
    next_fences.reset();
}

StepMetrics Trainer::State::train_step() {
    step_begin_s = monotonic_s();
    if (begin_watch) {
        begin_watch(step);
    }
    change_fences();
    const bool is_measured =
        setup.measure_every > 0 && step % setup.measure_every == 0;
    if (survey && is_measured) {
        const auto scope = sections.measure("survey");
        survey->measure();
    }
    PipelineResult result;
    if (worker) {
        const double begin = monotonic_s();
        result = worker->train(step, [this](std::uint32_t micro_batch) {
            return training_inputs(micro_batch);
        });
        const double busy = worker->take_busy_s(sections);
        sections.add("bubble", monotonic_s() - begin - busy);
        if (hooks.on_traced && !result.traced.empty()) {
            const auto scope = sections.measure("trace");
            say(Phase::trace);
            hooks.on_traced(step + 1, result.traced);
        }
    }
    say(Phase::update);
    StepReport mine;
    {
        const auto scope = sections.measure("gradients");
        mine = report(result);
    }
    StepDecision decision;
    {
        const auto scope = sections.measure("synchronise");
        decision = decide_together(mine);
    }
    const double rate =
        learning_rate_at(options.learning_rate, step, options.steps);
    if (worker) {
        const auto scope = sections.measure("update");
        worker->update(decision, rate);
    }
    ++step;
    StepMetrics metrics;
    metrics.step = step;
    metrics.has_numbers = !setup.waits || setup.waits->has_numbers();
    metrics.loss = decision.loss;
    metrics.learning_rate = rate;
    metrics.grad_norm = decision.grad_norm;
    metrics.step_s = monotonic_s() - step_begin_s;
    metrics.tokens_per_s =
        static_cast<double>(tokens_per_step) / metrics.step_s;
    metrics.skipped = decision.is_skipped != 0 ? decision.reason : "";
    if (is_root() && is_measured) {
        metrics.fences = merge_reports(std::move(fence_reports));
    }
    if (emulated) {
        metrics.emulated_step_s = emulated->step_s();
        metrics.emulated_s = emulated->now_s();
    }
    stop = decision.stop;
    next_fences = std::move(decision.fences);
    return metrics;
}

ValidationResult Trainer::State::evaluate(CodecUse codecs) {
    const auto scope = sections.measure("evaluate");
    say(Phase::evaluation);
    const auto available = static_cast<std::int64_t>(
        data_facts.validation_size / micro_batch_size());
    return validate(
        transport,
        wait,
        worker.get(),
        {setup.graph,
         data.validation.get(),
         step,
         std::min(available, max_validation_batches * setup.plan.micro_batches),
         micro_batch_size(),
         available,
         codecs});
}

void Trainer::State::add_validation(StepMetrics& metrics) {
    if (setup.evaluation != EvaluationCodecs::off) {
        const ValidationResult result = evaluate(CodecUse::on);
        metrics.validation_loss = result.loss;
        metrics.validation_accuracy = result.accuracy;
    }
    if (setup.evaluation != EvaluationCodecs::on) {
        const ValidationResult result = evaluate(CodecUse::off);
        metrics.validation_loss_without_codecs = result.loss;
        metrics.validation_accuracy_without_codecs = result.accuracy;
    }
}

void Trainer::State::save() {
    if (!hooks.save || saved_step == step) {
        return;
    }
    const auto scope = sections.measure("checkpoint");
    say(Phase::checkpoint);
    hooks.save(step,
               worker ? worker->owned_tensors() : std::vector<NamedTensor>());
    saved_step = step;
    say(Phase::start);
}

void Trainer::State::watch_waits(std::optional<WaitWatch>& watch) {
    watch.emplace(transport,
                  WaitNotices{setup.long_wait_s, hooks.on_long_wait},
                  make_schedule(setup.plan),
                  role.rank_of_stage,
                  monotonic_s);
    begin_watch = [&watch](std::int64_t n) { watch->begin_step(n); };
    const auto see = [&watch](const Awaited& awaited) { watch->see(awaited); };
    wait.watch(see);
    if (worker) {
        worker->watch_waits(see);
    }
}

StopRequest Trainer::run() {
    State& s = *state_;
    std::optional<WaitWatch> watch;  // ends before `s`, also by an exception
    if (s.setup.long_wait_s > 0) {
        s.watch_waits(watch);
    }
    StopRequest stop = StopRequest::none;
    const auto is_due = [&](std::int64_t every) {
        return every > 0 && s.step % every == 0;
    };
    while (s.step < s.options.steps && stop == StopRequest::none) {
        StepMetrics metrics = s.train_step();
        stop = s.stop;
        const bool can_evaluate =
            s.data_facts.validation_size >=
            static_cast<std::uint64_t>(s.micro_batch_size());
        if (is_due(s.options.evaluate_every) && can_evaluate) {
            s.add_validation(metrics);
        }
        if (s.is_root() && s.hooks.on_step) {
            const auto scope = s.sections.measure("report");
            s.hooks.on_step(metrics);
        }
        if (is_due(s.options.checkpoint_every)) {
            s.save();
        }
    }
    s.save();
    s.say(Phase::end);
    if (watch) {
        watch->finish();
    }
    double accounted = 0;
    for (const Section& section : s.sections.sections()) {
        accounted += section.seconds;
    }
    s.sections.add("other", monotonic_s() - s.setup.begin_s - accounted);
    return s.step < s.options.steps ? stop : StopRequest::none;
}

}  // namespace fusionllm
