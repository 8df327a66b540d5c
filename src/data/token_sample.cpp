#include "token_sample.hpp"

#include "fusionllm/util/error.hpp"

namespace fusionllm {

void detail::check_fraction(double validation_fraction) {
    FUSIONLLM_VALIDATE(
        validation_fraction >= 0.0 && validation_fraction < 1.0,
        "the validation fraction is {}; give at least 0 (no validation) and "
        "less than 1, e.g. 0.1",
        validation_fraction);
}

void detail::check_split(std::size_t context, double validation_fraction) {
    FUSIONLLM_VALIDATE(context > 0,
                       "the context is 0 tokens, so there is nothing to learn "
                       "from; give at least 1");
    check_fraction(validation_fraction);
}

}  // namespace fusionllm
