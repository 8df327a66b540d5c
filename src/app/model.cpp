#include "app/model.hpp"

#include "fusionllm/util/error.hpp"

namespace fusionllm {

OpGraph make_model(const RunInput& input) {
    FUSIONLLM_EXPECTS(input.micro_batches > 0);
    const std::int64_t micro_batch = input.train.batch / input.micro_batches;
    return input.model_kind == "resnet" ? make_resnet(input.resnet, micro_batch)
                                        : make_gpt2(input.model, micro_batch);
}

void check_trainable(const RunInput& input) {
    FUSIONLLM_VALIDATE(input.model_kind != "resnet",
                       "a model of kind = \"resnet\" cannot be trained yet: "
                       "there is no data set of images; plan and simulate it, "
                       "or set kind = \"gpt2\" in [model]");
}

}  // namespace fusionllm
