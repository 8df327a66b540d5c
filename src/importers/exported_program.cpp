#include "exported_program.hpp"

#include <algorithm>
#include <limits>
#include <string_view>

#include <nlohmann/json.hpp>

#include "fusionllm/util/error.hpp"

#include "export_codes.hpp"

namespace fusionllm::detail {
namespace {

using nlohmann::json;

[[noreturn]] void fail(std::string_view why) {
    throw InputError(
        fmt::format("the JSON in the archive is not what torch.export writes: "
                    "{}; export the model again",
                    why));
}

const json& member(const json& object, const char* key) {
    if (!object.is_object() || !object.contains(key)) {
        fail(fmt::format("'{}' is missing", key));
    }
    return object.at(key);
}

const json& array(const json& object, const char* key) {
    const json& found = member(object, key);
    if (!found.is_array()) {
        fail(fmt::format("'{}' is no list", key));
    }
    return found;
}

std::string text(const json& value) {
    if (!value.is_string()) {
        fail("a text is expected where there is none");
    }
    return value.get<std::string>();
}

std::int64_t integer(const json& value) {
    const bool is_whole =
        value.is_number_integer() &&
        (!value.is_number_unsigned() ||
         value.get<std::uint64_t>() <=
             std::uint64_t{std::numeric_limits<std::int64_t>::max()});
    if (!is_whole) {
        fail("a whole number is expected where there is none");
    }
    return value.get<std::int64_t>();
}

bool boolean(const json& value) {
    if (!value.is_boolean()) {
        fail("true or false is expected where there is neither");
    }
    return value.get<bool>();
}

double number(const json& value) {
    if (value.is_string()) {
        const auto name = value.get<std::string>();
        constexpr double infinity = std::numeric_limits<double>::infinity();
        if (name == "Infinity" || name == "-Infinity") {
            return name == "Infinity" ? infinity : -infinity;
        }
        if (name == "NaN") {
            return std::numeric_limits<double>::quiet_NaN();
        }
    }
    if (!value.is_number()) {
        fail("a number is expected where there is none");
    }
    return value.get<double>();
}

//! The only key of {"as_int": 3} and its value.
std::pair<std::string, const json*> tagged(const json& value) {
    if (!value.is_object() || value.size() != 1) {
        fail("a value has no single kind");
    }
    return {value.begin().key(), &value.begin().value()};
}

json parse_json(const std::string& source) {
    try {
        return json::parse(quote_special_numbers(source));
    } catch (const json::exception& error) {
        fail(error.what());
    }
}

//! Fixed sizes; none if one of them is an expression.
std::optional<std::vector<std::int64_t>> fixed_sizes(const json& list) {
    std::vector<std::int64_t> sizes;
    for (const json& size : list) {
        const auto [kind, value] = tagged(size);
        if (kind != "as_int") {
            return std::nullopt;
        }
        sizes.push_back(integer(*value));
    }
    return sizes;
}

void add_tensor(ExportedProgram& program,
                const std::string& name,
                const json& meta) {
    const std::int64_t code = integer(member(meta, "dtype"));
    const auto dtype = dtype_of(code);
    const auto sizes = fixed_sizes(array(meta, "sizes"));
    if (!sizes) {
        program.refused_tensors[name] =
            "its sizes are not fixed; export without dynamic_shapes";
        return;
    }
    if (!dtype) {
        program.refused_tensors[name] = fmt::format(
            "its element type (number {} of torch.export) is not known here",
            code);
        return;
    }
    check_sizes(name, *sizes);
    program.tensors[name] = {{*dtype, *sizes},
                             boolean(member(meta, "requires_grad"))};
}

template <class T, class Convert>
std::vector<T> list_of(const json& value, Convert convert) {
    if (!value.is_array()) {
        fail("a list is expected where there is none");
    }
    std::vector<T> list;
    for (const json& item : value) {
        list.push_back(convert(item));
    }
    return list;
}

std::string tensor_name(const json& value) {
    return text(member(value, "name"));
}

std::optional<std::string> tensor_or_hole(const json& value) {
    const auto [kind, item] = tagged(value);
    return kind == "as_tensor" ? std::optional(tensor_name(*item))
                               : std::nullopt;
}

//! Numbers of PyTorch's own enumerations, from those of the export schema.
ExportedArgument enumerated(const std::string& kind, const json& value) {
    const std::int64_t code = integer(value);
    if (kind == "as_scalar_type") {
        const auto dtype = dtype_of(code);
        return dtype ? ExportedArgument(*dtype)
                     : ExportedArgument(Unsupported{"this element type"});
    }
    if (kind == "as_layout") {
        constexpr std::int64_t strided = 7;
        return code == strided
                   ? ExportedArgument(std::int64_t{0})
                   : ExportedArgument(Unsupported{"a sparse layout"});
    }
    // Contiguous, channels last (2 and 3 dimensions), preserve.
    constexpr std::pair<std::int64_t, std::int64_t> formats[] = {
        {1, 0}, {2, 2}, {3, 3}, {4, 1}};
    for (const auto& [exported, own] : formats) {
        if (code == exported) {
            return own;
        }
    }
    return Unsupported{"this memory format"};
}

//! Sizes that were computed may be plain numbers all the same.
ExportedArgument symbolic(const std::string& kind, const json& value) {
    if (kind == "as_sym_int" || kind == "as_sym_bool") {
        const auto [inner, item] = tagged(value);
        if (inner == "as_int") {
            return integer(*item);
        }
        if (inner == "as_bool") {
            return boolean(*item);
        }
    }
    if (kind == "as_sym_ints" && value.is_array()) {
        if (const auto sizes = fixed_sizes(value)) {
            return *sizes;
        }
    }
    return Unsupported{"a size that is not fixed (" + kind + ")"};
}

ExportedArgument parse_argument(const json& argument) {
    const auto [kind, item] = tagged(argument);
    const json& value = *item;
    if (kind == "as_none" || kind == "as_device") {
        return NoArgument{};
    }
    if (kind == "as_tensor") {
        return TensorName{tensor_name(value)};
    }
    if (kind == "as_tensors") {
        return list_of<std::optional<std::string>>(value, tensor_name);
    }
    if (kind == "as_optional_tensors") {
        return list_of<std::optional<std::string>>(value, tensor_or_hole);
    }
    if (kind == "as_int") {
        return integer(value);
    }
    if (kind == "as_float") {
        return number(value);
    }
    if (kind == "as_bool") {
        return boolean(value);
    }
    if (kind == "as_string") {
        return text(value);
    }
    if (kind == "as_ints") {
        return list_of<std::int64_t>(value, integer);
    }
    if (kind == "as_floats") {
        return list_of<double>(value, number);
    }
    if (kind == "as_bools") {
        return list_of<bool>(value, boolean);
    }
    if (kind == "as_scalar_type" || kind == "as_layout" ||
        kind == "as_memory_format") {
        return enumerated(kind, value);
    }
    if (kind.starts_with("as_sym_")) {
        return symbolic(kind, value);
    }
    return Unsupported{"an argument of the kind " + kind};
}

std::string optional_text(const json& object, const char* key) {
    return object.is_object() && object.contains(key) &&
                   object.at(key).is_string()
               ? object.at(key).get<std::string>()
               : "";
}

ExportedNode parse_node(const json& source) {
    ExportedNode node;
    node.target = text(member(source, "target"));
    for (const json& input : array(source, "inputs")) {
        constexpr int keyword = 2;
        node.inputs.push_back(
            {text(member(input, "name")),
             parse_argument(member(input, "arg")),
             input.contains("kind") && input.at("kind") == keyword});
    }
    for (const json& output : array(source, "outputs")) {
        const auto [kind, value] = tagged(output);
        if (kind == "as_tensor") {
            node.outputs.push_back(tensor_name(*value));
        } else if (kind == "as_tensors") {
            std::ranges::copy(list_of<std::string>(*value, tensor_name),
                              std::back_inserter(node.outputs));
        } else if (kind == "as_none") {
            node.outputs.emplace_back();
        } else {
            node.unsupported_output = kind;
        }
    }
    const json& metadata = member(source, "metadata");
    node.source = source_line(optional_text(metadata, "stack_trace"));
    node.module = module_path(optional_text(metadata, "nn_module_stack"));
    return node;
}

std::optional<ExportedInput> parse_input(const json& spec) {
    using Kind = ExportedInput::Kind;
    const auto [kind, value] = tagged(spec);
    if (kind == "user_input") {
        const auto [inner, item] = tagged(member(*value, "arg"));
        // A number that was given is part of the graph.
        return inner == "as_tensor" ? std::optional(ExportedInput{
                                          Kind::user, tensor_name(*item), ""})
                                    : std::nullopt;
    }
    const auto named = [&](Kind what, const char* key) {
        return ExportedInput{what,
                             tensor_name(member(*value, "arg")),
                             text(member(*value, key))};
    };
    if (kind == "parameter") {
        return named(Kind::parameter, "parameter_name");
    }
    if (kind == "buffer") {
        return named(Kind::buffer, "buffer_name");
    }
    if (kind == "tensor_constant") {
        return named(Kind::constant, "tensor_constant_name");
    }
    throw InputError(
        fmt::format("the exported model takes an input of the kind '{}', which "
                    "is no tensor; write the model without it",
                    kind));
}

std::optional<ExportedOutput> parse_output(const json& spec) {
    using Kind = ExportedOutput::Kind;
    const auto [kind, value] = tagged(spec);
    if (kind == "user_output") {
        const auto [inner, item] = tagged(member(*value, "arg"));
        return inner == "as_tensor" ? std::optional(ExportedOutput{
                                          Kind::user, tensor_name(*item), ""})
                                    : std::nullopt;
    }
    if (kind == "loss_output") {
        return ExportedOutput{
            Kind::loss, tensor_name(member(*value, "arg")), ""};
    }
    if (kind == "buffer_mutation") {
        return ExportedOutput{Kind::mutation,
                              tensor_name(member(*value, "arg")),
                              text(member(*value, "buffer_name"))};
    }
    throw InputError(
        fmt::format("the exported model has an output of the kind '{}'; export "
                    "the model for training, so that it changes buffers only",
                    kind));
}

ExportedProgram read_program(const json& root) {
    const json& module = member(root, "graph_module");
    const json& graph = member(module, "graph");
    const json& signature = member(module, "signature");
    ExportedProgram program;
    const json& tensors = member(graph, "tensor_values");
    if (!tensors.is_object()) {
        fail("'tensor_values' is no table");
    }
    for (const auto& [name, meta] : tensors.items()) {
        add_tensor(program, name, meta);
    }
    for (const json& node : array(graph, "nodes")) {
        program.nodes.push_back(parse_node(node));
    }
    for (const json& spec : array(signature, "input_specs")) {
        if (const auto input = parse_input(spec)) {
            program.inputs.push_back(*input);
        }
    }
    for (const json& spec : array(signature, "output_specs")) {
        if (const auto output = parse_output(spec)) {
            program.outputs.push_back(*output);
        }
    }
    return program;
}

std::pair<std::string, StoredTensor> read_weight(const std::string& name,
                                                 const json& entry,
                                                 const std::string& folder) {
    StoredTensor tensor;
    tensor.storage = folder + text(member(entry, "path_name"));
    if (boolean(member(entry, "use_pickle"))) {
        tensor.offset = -1;
        return {name, tensor};
    }
    const json& meta = member(entry, "tensor_meta");
    const auto dtype = dtype_of(integer(member(meta, "dtype")));
    const auto sizes = fixed_sizes(array(meta, "sizes"));
    const auto strides = fixed_sizes(array(meta, "strides"));
    const auto [kind, offset] = tagged(member(meta, "storage_offset"));
    FUSIONLLM_VALIDATE(dtype && sizes && strides && kind == "as_int",
                       "the archive's tensor '{}' has an element type or sizes "
                       "that this program does not know",
                       name);
    tensor.type = {*dtype, *sizes};
    tensor.strides = *strides;
    tensor.offset = integer(*offset);
    return {name, tensor};
}

}  // namespace

ExportedProgram parse_program(const std::string& source) {
    return read_program(parse_json(source));
}

StoredTensors parse_weight_list(const std::string& source,
                                const std::string& folder) {
    const json root = parse_json(source);
    const json& config = member(root, "config");
    if (!config.is_object()) {
        fail("'config' is no table");
    }
    StoredTensors tensors;
    for (const auto& [name, entry] : config.items()) {
        tensors.push_back(read_weight(name, entry, folder));
    }
    return tensors;
}

}  // namespace fusionllm::detail
