#include "fusionllm/runtime/named_tensor.hpp"

namespace fusionllm {

std::string parameter_tensor_name(const std::string& parameter) {
    return "parameters/" + parameter;
}

std::string buffer_tensor_name(const std::string& buffer) {
    return "buffers/" + buffer;
}

std::string state_tensor_name(const std::string& parameter,
                              const std::string& state) {
    return "optimizer/" + parameter + "/" + state;
}

}  // namespace fusionllm
