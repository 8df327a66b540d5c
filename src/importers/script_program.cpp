#include "script_program.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "fusionllm/util/error.hpp"

#include "in_place.hpp"
#include "script_arithmetic.hpp"
#include "script_operators.hpp"

namespace fusionllm::detail {
namespace {

//! Whether it gives a list, even of one tensor.
bool makes_list(std::string_view name) {
    return name.ends_with("chunk") || name.ends_with("split") ||
           name.ends_with("split_with_sizes") || name == "unbind" ||
           name == "meshgrid" || name == "broadcast_tensors";
}

//! Whether the sizes of what it makes follow from its data.
bool depends_on_data(std::string_view name,
                     const ScriptOperator& operation,
                     const TypeOf& type_of) {
    constexpr std::array<std::string_view, 9> such{"nonzero",
                                                   "nonzero_numpy",
                                                   "argwhere",
                                                   "masked_select",
                                                   "_unique",
                                                   "_unique2",
                                                   "unique_dim",
                                                   "unique_consecutive",
                                                   "bincount"};
    if (std::ranges::find(such, name) != such.end() ||
        (name == "repeat_interleave" && operation.overload != "self_int")) {
        return true;
    }
    // A mask as an index picks as many as it has.
    using Names = std::vector<std::optional<std::string>>;
    const auto is_mask = [&](const std::optional<std::string>& tensor) {
        return tensor && (type_of(*tensor).dtype == DType::boolean ||
                          type_of(*tensor).dtype == DType::u8);
    };
    return name == "index" &&
           std::ranges::any_of(
               operation.arguments, [&](const NamedArgument& argument) {
                   const auto* names = std::get_if<Names>(&argument.value);
                   return names != nullptr &&
                          std::ranges::any_of(*names, is_mask);
               });
}

//! What a tensor of one number, or a number, becomes as a number.
std::optional<ScriptValue> convert_number(const std::string& name,
                                          const ScriptArguments& arguments,
                                          const std::string& where) {
    const auto& given = arguments.positional;
    if (given.size() != 1) {
        return std::nullopt;
    }
    if (name == "NumToTensor" || name == "ScalarImplicit" || name == "item") {
        to_number("float", given[0], where);  // it is one
        return given[0];
    }
    if (name == "Int" || name == "IntImplicit") {
        return to_number("int", given[0], where);
    }
    if (name == "Float" || name == "FloatImplicit") {
        return to_number("float", given[0], where);
    }
    return name == "Bool" ? std::optional(to_number("bool", given[0], where))
                          : std::nullopt;
}

//! PyTorch's number of the type that a tensor of the number has.
std::optional<std::int64_t> number_type(const ScriptValue& value) {
    constexpr std::int64_t i64 = 4;
    constexpr std::int64_t f32 = 6;
    constexpr std::int64_t boolean = 11;
    return std::holds_alternative<std::int64_t>(value) ? std::optional(i64)
           : std::holds_alternative<double>(value)     ? std::optional(f32)
           : std::holds_alternative<bool>(value)       ? std::optional(boolean)
                                                       : std::nullopt;
}

template <class Number>
Number read(const HostTensor& tensor) {
    Number number;
    std::memcpy(&number, tensor.bytes.data(), sizeof number);
    return number;
}

}  // namespace

void refuse(const std::string& where, std::string_view why) {
    throw InputError(
        fmt::format("the model cannot be imported: {} ({}); write this part "
                    "with PyTorch's tensor functions and fixed sizes, and "
                    "trace the model",
                    why,
                    where));
}

ScriptValue to_number(std::string_view name,
                      const ScriptValue& value,
                      const std::string& where) {
    double number = 0;
    if (const auto* truth = std::get_if<bool>(&value)) {
        number = *truth ? 1 : 0;
    } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
        if (name == "int") {
            return *whole;
        }
        number = static_cast<double>(*whole);
    } else if (const auto* real = std::get_if<double>(&value)) {
        number = *real;
    } else {
        refuse(where, "a number depends on data");
    }
    if (name == "bool") {
        return number != 0;
    }
    constexpr double most = 0x1p62;
    if (name == "int" && !(std::abs(number) < most)) {
        refuse(where, "a number is too large");
    }
    return name == "int" ? ScriptValue(static_cast<std::int64_t>(number))
                         : ScriptValue(number);
}

ScriptValue item_of(const ScriptValue& list,
                    const ScriptValue& index,
                    const std::string& where) {
    const auto* items = std::get_if<ScriptList>(&list);
    const auto* number = std::get_if<std::int64_t>(&index);
    if (items == nullptr || number == nullptr) {
        refuse(where, "an item is taken of no list");
    }
    const auto size = static_cast<std::int64_t>(items->items.size());
    const std::int64_t at = *number < 0 ? *number + size : *number;
    if (at < 0 || at >= size) {
        refuse(where, "an item is taken that the list has not");
    }
    return items->items[static_cast<std::size_t>(at)];
}

//! A number, text or list of them that a module has.
ScriptValue plain(PickleRef value, int depth) {
    if (const auto* truth = value->get<bool>()) {
        return *truth;
    }
    if (const auto* number = value->get<std::int64_t>()) {
        return *number;
    }
    if (const auto* number = value->get<double>()) {
        return *number;
    }
    if (const auto* text = value->get<std::string_view>()) {
        return std::string(*text);
    }
    const auto* list = value->get<PickleList>();
    if (list != nullptr && depth < 4) {
        ScriptList items;
        for (const PickleRef item : list->items) {
            items.items.push_back(plain(item, depth + 1));
        }
        return items;
    }
    return value->get<PickleNone>() != nullptr ? ScriptValue(NoArgument{})
                                               : ScriptValue(ScriptIgnored{});
}

ScriptValue number_of(const std::string& name, const HostTensor& tensor) {
    switch (tensor.type.dtype) {
        case DType::f32:
            return static_cast<double>(read<float>(tensor));
        case DType::f64:
            return read<double>(tensor);
        case DType::i64:
            return read<std::int64_t>(tensor);
        case DType::i32:
            return std::int64_t{read<std::int32_t>(tensor)};
        case DType::boolean:
            return read<std::uint8_t>(tensor) != 0;
        default:
            return TensorName{name};
    }
}

void ScriptProgram::add_weights(const ScriptArchive& archive) {
    using Kind = ExportedInput::Kind;
    for (const auto& [name, tensor] : archive.tensors()) {
        add_input(tensor.is_parameter ? Kind::parameter : Kind::buffer,
                  name,
                  tensor.tensor.tensor.type);
    }
    for (const auto& [name, location] : archive.locations()) {
        if (name.starts_with("CONSTANTS.")) {
            add_input(Kind::constant, name, location.type);
        }
    }
}

void ScriptProgram::add_input(ExportedInput::Kind kind,
                              const std::string& name,
                              const TensorType& type) {
    const ExportedTensor tensor{type, kind == ExportedInput::Kind::parameter};
    if (program_.tensors.emplace(name, tensor).second) {
        program_.inputs.push_back({kind, name, name});
    }
}

std::vector<ScriptValue> ScriptProgram::add_inputs(
    const std::vector<std::string>& parameters,
    const std::vector<TensorType>& types) {
    const std::size_t count = parameters.empty() ? 0 : parameters.size() - 1;
    FUSIONLLM_VALIDATE(
        types.size() == count,
        "{} input types are given, but the model has {} inputs; give one for "
        "each, such as \"f32[8,3,32,32]\"",
        types.size(),
        count);
    std::vector<ScriptValue> values;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string name = unique(parameters[i + 1]);
        program_.tensors[name] = {types[i], false};
        program_.inputs.push_back({ExportedInput::Kind::user, name, ""});
        values.emplace_back(TensorName{name});
    }
    return values;
}

void ScriptProgram::set_outputs(const ScriptValue& value) {
    if (const auto* tensor = std::get_if<TensorName>(&value)) {
        program_.outputs.push_back(
            {ExportedOutput::Kind::user, tensor->name, ""});
    } else if (const auto* list = std::get_if<ScriptList>(&value)) {
        for (const ScriptValue& item : list->items) {
            set_outputs(item);
        }
    }
}

std::string ScriptProgram::unique(const std::string& name) const {
    std::string candidate = name;
    for (int i = 2; program_.tensors.contains(candidate); ++i) {
        candidate = fmt::format("{}_{}", name, i);
    }
    return candidate;
}

ScriptValue ScriptProgram::call(Space space,
                                const std::string& name,
                                const ScriptArguments& arguments,
                                const Place& place) {
    if (auto value = ask_for_sizes(name, arguments, place.where)) {
        return *value;
    }
    if (name == "device") {
        return ScriptIgnored{};
    }
    if (auto value = convert_number(name, arguments, place.where)) {
        return *value;
    }
    if (auto value = compute_numbers(name, arguments)) {
        return *value;
    }
    if (space == Space::prim) {
        refuse(place.where,
               fmt::format("'prim::{}' is no ATen operator", name));
    }
    return add_node(name, arguments, place);
}

//! What is known of a tensor or list without its data.
std::optional<ScriptValue> ScriptProgram::ask_for_sizes(
    const std::string& name,
    const ScriptArguments& arguments,
    const std::string& where) const {
    const auto& given = arguments.positional;
    if (given.empty()) {
        return std::nullopt;
    }
    const auto* list = std::get_if<ScriptList>(&given[0]);
    if (list != nullptr && name == "len") {
        return static_cast<std::int64_t>(list->items.size());
    }
    if (list != nullptr && name == "__getitem__" && given.size() == 2) {
        return item_of(given[0], given[1], where);
    }
    const auto* tensor = std::get_if<TensorName>(&given[0]);
    if (tensor == nullptr) {
        return std::nullopt;
    }
    const TensorType& type = program_.tensors.at(tensor->name).type;
    if (name == "size") {
        ScriptList sizes;
        for (const std::int64_t size : type.sizes) {
            sizes.items.emplace_back(size);
        }
        return given.size() == 1 ? ScriptValue(sizes)
                                 : item_of(sizes, given[1], where);
    }
    if (name == "dim") {
        return static_cast<std::int64_t>(type.sizes.size());
    }
    if (name == "numel") {
        return num_elements(type);
    }
    return name == "len" && !type.sizes.empty()
               ? std::optional(ScriptValue(type.sizes.front()))
               : std::nullopt;
}

ScriptValue ScriptProgram::add_node(const std::string& name,
                                    const ScriptArguments& arguments,
                                    const Place& place) {
    auto operation = find_script_operator("aten::" + name, arguments);
    if (!operation) {
        operation = find_script_operator("aten::" + name,
                                         with_tensors(arguments, place));
    }
    if (!operation) {
        refuse(
            place.where,
            is_script_operator("aten::" + name)
                ? fmt::format("aten::{} of this LibTorch takes no such "
                              "arguments",
                              name)
                : fmt::format("this LibTorch has no operator aten::{}", name));
    }
    const auto type_of = [&](const std::string& tensor) -> const TensorType& {
        return program_.tensors.at(tensor).type;
    };
    if (depends_on_data(name, *operation, type_of)) {
        refuse(place.where,
               fmt::format("the sizes of what aten::{} makes depend on data",
                           name));
    }
    if (!operation->outs.empty()) {
        return add_with_out(name, arguments, operation->outs, place);
    }
    OperatorTypes types = infer_types("aten::" + name, *operation, type_of);
    const auto* self =
        operation->arguments.empty()
            ? nullptr
            : std::get_if<TensorName>(&operation->arguments.front().value);
    if (!types.problem.empty() && self != nullptr &&
        is_in_place("aten::" + name)) {
        types = {{type_of(self->name)}, ""};  // most keep it
    }
    if (!types.problem.empty()) {
        refuse(
            place.where,
            fmt::format("aten::{} cannot be called: {}", name, types.problem));
    }
    ExportedNode node;
    node.target = fmt::format(
        "torch.ops.aten.{}.{}",
        name,
        operation->overload.empty() ? "default" : operation->overload);
    node.inputs = operation->arguments;
    node.source = place.where;
    ScriptList outputs;
    for (const TensorType& type : types.outputs) {
        node.outputs.push_back(unique(place.name));
        program_.tensors[node.outputs.back()] = {type, false};
        outputs.items.emplace_back(TensorName{node.outputs.back()});
    }
    program_.nodes.push_back(std::move(node));
    return outputs.items.size() == 1 && !makes_list(name)
               ? outputs.items.front()
               : ScriptValue(outputs);
}

//! Numbers in lists may be tensors that are known; they become tensors again.
ScriptArguments ScriptProgram::with_tensors(const ScriptArguments& arguments,
                                            const Place& place) {
    ScriptArguments others = arguments;
    for (ScriptValue& value : others.positional) {
        auto* list = std::get_if<ScriptList>(&value);
        if (list == nullptr) {
            continue;
        }
        for (ScriptValue& item : list->items) {
            const auto dtype = number_type(item);
            if (dtype) {
                item = add_node(
                    "scalar_tensor", {{item}, {{"dtype", *dtype}}}, place);
            }
        }
    }
    return others;
}

//! A call with out= makes new tensors, which are copied to where it says.
ScriptValue ScriptProgram::add_with_out(const std::string& name,
                                        const ScriptArguments& arguments,
                                        const std::vector<std::string>& outs,
                                        const Place& place) {
    ScriptArguments others = arguments;
    std::erase_if(others.keywords, [&](const auto& keyword) {
        return std::ranges::find(outs, keyword.first) != outs.end();
    });
    const ScriptValue made = add_node(name, others, place);
    const auto* list = std::get_if<ScriptList>(&made);
    const auto results =
        list == nullptr ? std::vector<ScriptValue>{made} : list->items;
    ScriptList copies;
    for (const auto& [keyword, given] : arguments.keywords) {
        const auto out = std::ranges::find(outs, keyword);
        const auto i = static_cast<std::size_t>(out - outs.begin());
        if (out == outs.end() || i >= results.size()) {
            continue;
        }
        if (sizes_of(given) != sizes_of(results[i])) {
            refuse(place.where,
                   fmt::format("'{}' has other sizes than what aten::{} makes",
                               keyword,
                               name));
        }
        copies.items.push_back(
            add_node("copy_", {{given, results[i]}, {}}, place));
    }
    return copies.items.size() == 1 ? copies.items.front()
                                    : ScriptValue(copies);
}

std::vector<std::int64_t> ScriptProgram::sizes_of(
    const ScriptValue& value) const {
    const auto* tensor = std::get_if<TensorName>(&value);
    return tensor == nullptr ? std::vector<std::int64_t>{}
                             : program_.tensors.at(tensor->name).type.sizes;
}

}  // namespace fusionllm::detail
