#include "fusionllm/runtime/codec_probe.hpp"

#include <cmath>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

struct Products {
    double xx = 0;
    double yy = 0;
    double xy = 0;
    double dd = 0;  // of x - y with itself
};

Products multiply(std::span<const float> x, std::span<const float> y) {
    FUSIONLLM_EXPECTS(x.size() == y.size());
    Products sum;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double a = x[i];
        const double b = y[i];
        sum.xx += a * a;
        sum.yy += b * b;
        sum.xy += a * b;
        sum.dd += (a - b) * (a - b);
    }
    return sum;
}

CodecKey with_new_basis(CodecKey key) {
    key.wants_new_basis = true;
    return key;
}

}  // namespace

double relative_error(std::span<const float> x, std::span<const float> y) {
    const Products sum = multiply(x, y);
    return std::sqrt(sum.xx > 0 ? sum.dd / sum.xx : sum.dd);
}

double cosine(std::span<const float> x, std::span<const float> y) {
    const Products sum = multiply(x, y);
    if (sum.xx == 0 || sum.yy == 0) {
        return sum.xx == sum.yy ? 1 : 0;
    }
    return sum.xy / std::sqrt(sum.xx * sum.yy);
}

CodecProbe::CodecProbe(std::vector<CodecChoice> candidates)
    : candidates_(std::move(candidates)) {}

CodecProbe::Trial CodecProbe::make_trial(const CodecChoice& choice,
                                         const MatrixShape& shape) const {
    return {make_codec(choice, shape, MemorySpace::host),
            make_codec(choice, shape, MemorySpace::host)};
}

std::vector<float> CodecProbe::pass(Codec& encoder,
                                    Codec& decoder,
                                    Direction direction,
                                    const CodecKey& key,
                                    const MatrixShape& shape,
                                    std::span<const float> numbers) {
    const CodecSpec spec = encoder.spec(direction, key);
    std::vector<std::byte> payload(payload_bytes(spec, shape));
    encoder.encode(direction, key, numbers, payload);
    std::vector<float> decoded(numbers.size());
    decoder.decode(direction, key, spec, payload, decoded);
    return decoded;
}

void CodecProbe::try_forward(std::size_t cut,
                             ValueId value,
                             const MatrixShape& shape,
                             const CodecKey& key,
                             std::span<const float> numbers) {
    for (const CodecChoice& candidate : candidates_) {
        const Trial trial = make_trial(candidate, shape);
        const auto decoded = pass(*trial.before,
                                  *trial.after,
                                  Direction::forward,
                                  with_new_basis(key),
                                  shape,
                                  numbers);
        errors_.push_back({cut,
                           value,
                           Direction::forward,
                           candidate,
                           relative_error(numbers, decoded)});
    }
}

void CodecProbe::prepare_backward(std::size_t cut,
                                  ValueId value,
                                  const MatrixShape& shape,
                                  const CodecKey& key,
                                  std::span<const float> decoded) {
    Waiting& waiting = waiting_[{cut, value}];
    waiting.shape = shape;
    waiting.trials.clear();
    for (const CodecChoice& candidate : candidates_) {
        Trial trial = make_trial(candidate, shape);
        pass(*trial.before,
             *trial.after,
             Direction::forward,
             with_new_basis(key),
             shape,
             decoded);
        waiting.trials.push_back(std::move(trial));
    }
}

void CodecProbe::try_backward(std::size_t cut,
                              ValueId value,
                              const CodecKey& key,
                              std::span<const float> gradient) {
    const auto waiting = waiting_.extract({cut, value});
    FUSIONLLM_EXPECTS(!waiting.empty());
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        const Trial& trial = waiting.mapped().trials[i];
        const auto decoded = pass(*trial.after,
                                  *trial.before,
                                  Direction::backward,
                                  key,
                                  waiting.mapped().shape,
                                  gradient);
        errors_.push_back({cut,
                           value,
                           Direction::backward,
                           candidates_[i],
                           relative_error(gradient, decoded)});
    }
}

std::vector<MeasuredError> CodecProbe::take_errors() {
    std::vector<MeasuredError> errors;
    errors.swap(errors_);
    return errors;
}

}  // namespace fusionllm
