#include <algorithm>
#include <cmath>
#include <numbers>

#include "fusionllm/runtime/train_options.hpp"

namespace fusionllm {

double learning_rate_at(const LearningRate& rate,
                        std::int64_t step,
                        std::int64_t steps) {
    if (step < rate.warmup_steps) {
        return rate.peak * static_cast<double>(step + 1) /
               static_cast<double>(rate.warmup_steps);
    }
    if (rate.schedule != "cosine") {
        return rate.peak;
    }
    const std::int64_t decay = rate.decay_steps > 0 ? rate.decay_steps : steps;
    const auto length = static_cast<double>(
        std::max<std::int64_t>(decay - rate.warmup_steps, 1));
    const double progress = std::clamp(
        static_cast<double>(step - rate.warmup_steps) / length, 0.0, 1.0);
    const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
    return rate.peak *
           (rate.final_fraction + (1 - rate.final_fraction) * cosine);
}

}  // namespace fusionllm
