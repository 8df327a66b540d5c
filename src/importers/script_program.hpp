#pragma once

#include <optional>
#include <string>
#include <vector>

#include "script_archive.hpp"
#include "script_value.hpp"

namespace fusionllm::detail {

//! Throws `InputError`: the model cannot be imported, why, and the line.
[[noreturn]] void refuse(const std::string& where, std::string_view why);

//! What int(), float() or bool() make of a number that is known; refuses.
ScriptValue to_number(std::string_view name,
                      const ScriptValue& value,
                      const std::string& where);
//! Of a list; refuses what it has not.
ScriptValue item_of(const ScriptValue& list,
                    const ScriptValue& index,
                    const std::string& where);
//! A number, text or list of them that a module has.
ScriptValue plain(PickleRef value, int depth);
//! The number of a tensor without sizes; the tensor's name for types that
//! Python's numbers are not.
ScriptValue number_of(const std::string& name, const HostTensor& tensor);

/*!
 * The program that a trace makes, call by call. Arithmetic with numbers is done
 * at once, and questions for sizes are answered; other calls become nodes.
 */
class ScriptProgram {
public:
    enum class Space { aten, prim };
    struct Place {
        std::string name;  //!< of what the call makes
        const std::string& where;
    };

    //! All tensors and constants of the archive.
    void add_weights(const ScriptArchive& archive);
    //! Inputs of these types, named by the parameters behind "self".
    std::vector<ScriptValue> add_inputs(
        const std::vector<std::string>& parameters,
        const std::vector<TensorType>& types);
    ScriptValue call(Space space,
                     const std::string& name,
                     const ScriptArguments& arguments,
                     const Place& place);
    //! All tensors of the value, in their order.
    void set_outputs(const ScriptValue& value);
    ExportedProgram take() { return std::move(program_); }

private:
    void add_input(ExportedInput::Kind kind,
                   const std::string& name,
                   const TensorType& type);
    std::string unique(const std::string& name) const;
    std::optional<ScriptValue> ask_for_sizes(const std::string& name,
                                             const ScriptArguments& arguments,
                                             const std::string& where) const;
    ScriptValue add_node(const std::string& name,
                         const ScriptArguments& arguments,
                         const Place& place);
    ScriptArguments with_tensors(const ScriptArguments& arguments,
                                 const Place& place);
    ScriptValue add_with_out(const std::string& name,
                             const ScriptArguments& arguments,
                             const std::vector<std::string>& outs,
                             const Place& place);
    std::vector<std::int64_t> sizes_of(const ScriptValue& value) const;

    ExportedProgram program_;
};

}  // namespace fusionllm::detail
