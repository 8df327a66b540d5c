#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fusionllm::detail {

struct ScriptExpression;
using ScriptPart = std::shared_ptr<const ScriptExpression>;

/*!
 * An expression of the Python-like text in which TorchScript is stored: a
 * constant, or something made of parts.
 */
struct ScriptExpression {
    enum class Kind {
        constant,   //!< `value`
        name,       //!< `text`; also inf, None, True
        attribute,  //!< `text` of parts[0]
        call,       //!< parts[0] of the others and `keywords`
        subscript,  //!< parts[0] at parts[1]
        list,
        tuple,
    };
    Kind kind = Kind::constant;
    std::variant<std::int64_t, double, std::string> value{};
    std::string text{};
    std::vector<ScriptPart> parts{};
    std::vector<std::pair<std::string, ScriptPart>> keywords{};
};

struct ScriptStatement {
    enum class Kind { assign, give_back, other };
    Kind kind = Kind::other;  //!< other: control flow, which is refused
    std::vector<std::string> targets{};
    bool is_taken_apart = false;  //!< "a, b, = value"
    ScriptPart value{};
    std::string where{};  //!< "code/a.py, line 3: h = torch.relu(x)"
};

struct ScriptFunction {
    std::vector<std::string> parameters{};
    std::vector<ScriptStatement> body{};
};

struct ScriptClass {
    std::set<std::string> parameters{};  //!< names of attributes
    std::set<std::string> buffers{};
    std::map<std::string, ScriptFunction> methods{};
};

struct ScriptFile {
    std::map<std::string, ScriptClass> classes{};
    std::map<std::string, ScriptFunction> functions{};
};

/*!
 * Parse one file of an archive's code; `name` is for messages. Nothing is
 * evaluated. Throws `InputError` with the line for what is no such text.
 */
ScriptFile parse_script(std::string_view text, const std::string& name);

}  // namespace fusionllm::detail
