#include "fusionllm/codec/codec.hpp"

namespace fusionllm {

const std::vector<std::string>& codec_state_names() {
    static const std::vector<std::string> names = {
        "basis", "forward_residual", "backward_residual"};
    return names;
}

}  // namespace fusionllm
