#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fusionllm/graph/op.hpp"

#include "stored_tensor.hpp"

namespace fusionllm::detail {

//! A tensor of the exported graph by name.
struct TensorName {
    std::string name;
};
//! What an exported graph may say and an `OpGraph` may not, by its JSON key.
struct Unsupported {
    std::string what;
};

using ExportedArgument =
    std::variant<NoArgument,
                 TensorName,
                 std::vector<std::optional<std::string>>,  // tensors or holes
                 bool,
                 std::int64_t,
                 double,
                 std::string,
                 DType,
                 std::vector<std::int64_t>,
                 std::vector<double>,
                 std::vector<bool>,
                 Unsupported>;

struct NamedArgument {
    std::string name;
    ExportedArgument value;
    bool is_keyword = false;
};

//! One call, as torch.export wrote it down.
struct ExportedNode {
    std::string target;  //!< "torch.ops.aten.linear.default"
    std::vector<NamedArgument> inputs;
    std::vector<std::string> outputs;  //!< empty name: not kept
    std::optional<std::string> unsupported_output;
    std::string source;  //!< "model.py:12: y = f(x)", or empty
    std::string module;  //!< path of the module, e.g. "h.0.attn", or empty
};

struct ExportedTensor {
    TensorType type;
    bool requires_grad = false;
};

struct ExportedInput {
    enum class Kind { parameter, buffer, constant, user };
    Kind kind;
    std::string value;
    std::string name;  //!< the model's own; empty for what the user gives
};

struct ExportedOutput {
    enum class Kind { user, loss, mutation };
    Kind kind;
    std::string value;
    std::string target;  //!< of a mutation: the model's name of the buffer
};

//! The graph of a `.pt2` archive, in our words but not yet checked.
struct ExportedProgram {
    std::vector<ExportedNode> nodes;
    std::map<std::string, ExportedTensor> tensors;
    //! Tensors that this program cannot hold, with the reason.
    std::map<std::string, std::string> refused_tensors;
    std::vector<ExportedInput> inputs;
    std::vector<ExportedOutput> outputs;
};

//! Throws `InputError` if the text is not what torch.export writes.
ExportedProgram parse_program(const std::string& text);

/*!
 * The list of raw weights of the newer layout; `folder` stands before the name
 * of each file. An entry that is pickled has the offset -1 and nothing else.
 */
StoredTensors parse_weight_list(const std::string& text,
                                const std::string& folder);

}  // namespace fusionllm::detail
