#include "fusionllm/exec/optimizer.hpp"

#include <cmath>

#include <ATen/ATen.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

/*!
 * Stochastic gradient descent with momentum mu and weight decay w:
 *
 *     g <- g + w p,  b <- mu b + g,  p <- p - lr b
 */
class Sgd final : public Optimizer {
public:
    explicit Sgd(const OptimizerOptions& options) : options_(options) {}

    void make_state(HeldParameter& parameter) const override {
        if (options_.momentum != 0) {
            parameter.state["momentum"] = at::zeros_like(parameter.value);
        }
    }

    void update(HeldParameter& parameter,
                const UpdateInput& input) const override {
        at::Tensor gradient = input.gradient;
        if (options_.weight_decay != 0 && input.has_weight_decay) {
            gradient = gradient.add(parameter.value, options_.weight_decay);
        }
        if (options_.momentum != 0) {
            at::Tensor& momentum = parameter.state.at("momentum");
            momentum.mul_(options_.momentum).add_(gradient);
            gradient = momentum;
        }
        parameter.value.add_(gradient, -input.learning_rate);
    }

private:
    OptimizerOptions options_;
};

/*!
 * AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101, algorithm 2), in
 * PyTorch's order of operations:
 *
 *     p <- (1 - lr w) p,  m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
 *     p <- p - lr/(1 - b1^t) m / (sqrt(v)/sqrt(1 - b2^t) + eps)
 */
class AdamW final : public Optimizer {
public:
    explicit AdamW(const OptimizerOptions& options) : options_(options) {}

    void make_state(HeldParameter& parameter) const override {
        parameter.state["exp_avg"] = at::zeros_like(parameter.value);
        parameter.state["exp_avg_sq"] = at::zeros_like(parameter.value);
        parameter.state["updates"] = at::zeros({}, at::kDouble);
    }

    void update(HeldParameter& parameter,
                const UpdateInput& input) const override {
        at::Tensor& mean = parameter.state.at("exp_avg");
        at::Tensor& square = parameter.state.at("exp_avg_sq");
        at::Tensor& updates = parameter.state.at("updates");
        updates.add_(1);
        const double t = updates.item<double>();
        const double lr = input.learning_rate;

        if (options_.weight_decay != 0 && input.has_weight_decay) {
            parameter.value.mul_(1 - lr * options_.weight_decay);
        }
        mean.mul_(options_.beta1).add_(input.gradient, 1 - options_.beta1);
        square.mul_(options_.beta2)
            .addcmul_(input.gradient, input.gradient, 1 - options_.beta2);
        const double mean_scale = 1 - std::pow(options_.beta1, t);
        const double square_scale = 1 - std::pow(options_.beta2, t);
        const at::Tensor denominator =
            square.sqrt().div_(std::sqrt(square_scale)).add_(options_.epsilon);
        parameter.value.addcdiv_(mean, denominator, -lr / mean_scale);
    }

private:
    OptimizerOptions options_;
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options) {
    if (options.kind == "sgd") {
        return std::make_unique<Sgd>(options);
    }
    FUSIONLLM_VALIDATE(options.kind == "adamw",
                       "unknown optimizer '{}'{}",
                       options.kind,
                       did_you_mean(options.kind, {"sgd", "adamw"}));
    return std::make_unique<AdamW>(options);
}

std::map<std::string, TensorType> state_types(const OptimizerOptions& options,
                                              const TensorType& parameter) {
    if (options.kind == "adamw") {
        return {{"exp_avg", parameter},
                {"exp_avg_sq", parameter},
                {"updates", {DType::f64, {}}}};
    }
    if (options.momentum != 0) {
        return {{"momentum", parameter}};
    }
    return {};
}

double state_bytes_per_element(const OptimizerOptions& options) {
    if (options.kind == "adamw") {
        return 8;
    }
    return options.momentum != 0 ? 4 : 0;
}

}  // namespace fusionllm
