#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "fusionllm/util/pickle.hpp"

#include "exported_program.hpp"

namespace fusionllm::detail {

//! A module of the model and where it is, such as "h.0.attn".
struct ScriptModule {
    PickleRef object;
    std::string path;
};
//! A device or something else that has no say here.
struct ScriptIgnored {};
struct ScriptList;

//! What an expression of TorchScript stands for when a model is traced again.
//! A tensor of one number that is known is that number.
using ScriptValue = std::variant<NoArgument,
                                 bool,
                                 std::int64_t,
                                 double,
                                 std::string,
                                 TensorName,
                                 ScriptModule,
                                 ScriptIgnored,
                                 ScriptList>;

//! A list or tuple.
struct ScriptList {
    std::vector<ScriptValue> items;
};

//! The arguments of a call as they are written.
struct ScriptArguments {
    std::vector<ScriptValue> positional;
    std::vector<std::pair<std::string, ScriptValue>> keywords;
};

}  // namespace fusionllm::detail
