#pragma once

#include "app/run_input.hpp"
#include "app/run_input_rules.hpp"

namespace fusionllm::detail {

// The keys of [train], for run_input_keys.hpp.

template <class Input, class Visitor>
void visit_optimizer(Input& input, Visitor& visitor) {
    auto& optimizer = input.train.optimizer;
    visitor.key("optimizer",
                optimizer.kind,
                Choices{{"sgd", "adamw"}},
                "Update rule: \"sgd\" or \"adamw\".");
    visitor.key("momentum", optimizer.momentum, below_one, "Of sgd.");
    visitor.key("beta1",
                optimizer.beta1,
                below_one,
                "Of adamw: decay of the mean gradient.");
    visitor.key("beta2",
                optimizer.beta2,
                below_one,
                "Of adamw: decay of the mean squared gradient.");
    visitor.key("epsilon",
                optimizer.epsilon,
                above_zero,
                "Of adamw: added to the root of the mean square.");
    visitor.key("weight_decay",
                optimizer.weight_decay,
                at_least_zero,
                "Of both: times the learning rate, taken off a weight.");
    visitor.key("clip_norm",
                input.train.clip_norm,
                at_least_zero,
                "Largest norm of the whole gradient; 0 = no clipping.");
}

template <class Input, class Visitor>
void visit_learning_rate(Input& input, Visitor& visitor) {
    auto& rate = input.train.learning_rate;
    visitor.key("learning_rate",
                rate.peak,
                above_zero,
                "The largest one, after warm-up.");
    visitor.key("learning_rate_schedule",
                rate.schedule,
                Choices{{"constant", "cosine"}},
                "After warm-up: \"constant\" or \"cosine\".");
    visitor.key("warmup_steps",
                rate.warmup_steps,
                any_count,
                "Steps of linear growth from 0.");
    visitor.key("decay_steps",
                rate.decay_steps,
                any_count,
                "Of cosine: the step at its end; 0 = the last one.");
    visitor.key("final_fraction",
                rate.final_fraction,
                up_to_one,
                "Of cosine: share of learning_rate that is left.");
}

template <class Input, class Visitor>
void visit_train(Input& input, Visitor& visitor) {
    auto& train = input.train;
    visitor.section("train", "How it is trained.");
    visitor.key("steps", train.steps, some_count, "Updates in all.");
    visitor.key("batch", train.batch, some_size, "Samples a step.");
    visitor.key("micro_batches",
                input.micro_batches,
                any_count,
                "Parts of a batch; they divide it. 0: what is fastest.");
    visitor.key("schedule",
                input.schedule,
                Choices{{"1f1b", "1f1b_deep", "gpipe", "auto"}},
                "Order of forwards and backwards; \"auto\": the fastest.");
    visitor.key("recompute",
                input.recompute,
                Choices{{"off", "on", "auto"}},
                "Activations a second time, to save memory; same numbers.");
    visit_optimizer(input, visitor);
    visit_learning_rate(input, visitor);
    visitor.key("evaluate_every",
                train.evaluate_every,
                any_count,
                "Steps between evaluations; 0 = none.");
    visitor.key("check",
                train.check_ops,
                Choices{{"off", "ops"}},
                "\"ops\" names the op that makes a non-finite number.");
}

}  // namespace fusionllm::detail
