#include "script_archive.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

constexpr int most_depth = 100;            // of modules in modules
constexpr std::size_t most_tensors = 1e6;  // names; a module may be in many

//! Modules are objects of classes whose code is in the archive.
PickleRules script_pickle_rules() {
    PickleRules rules = tensor_pickle_rules();
    rules.what = "the modules of the archive";
    rules.is_known = [known = rules.is_known](std::string_view name) {
        return name.starts_with("__torch__.") || known(name);
    };
    return rules;
}

std::string read_checked(const ZipArchive& zip, const std::string& name) {
    FUSIONLLM_VALIDATE(
        zip.has(name),
        "'{}' is no archive of torch.jit.save: it has no '{}'. Make one with "
        "torch.jit.save(torch.jit.trace(model, inputs), path)",
        zip.file().string(),
        name);
    return zip.read(name);
}

//! "__torch__.a.b.Net" is class "Net" of file "__torch__.a.b".
std::pair<std::string, std::string> split_name(const std::string& name) {
    const std::size_t dot = name.rfind('.');
    return dot == name.npos
               ? std::pair(std::string(), name)
               : std::pair(name.substr(0, dot), name.substr(dot + 1));
}

}  // namespace

const PickleDict* find_attributes(PickleRef value) {
    const auto* object = value->get<PickleObject>();
    return object == nullptr || object->state == nullptr ||
                   !object->callable.starts_with("__torch__.")
               ? nullptr
               : object->state->get<PickleDict>();
}

ScriptArchive::ScriptArchive(const std::filesystem::path& file)
    : zip_(file),
      data_(read_checked(zip_, "data.pkl")),
      pickle_(data_, script_pickle_rules()) {
    FUSIONLLM_VALIDATE(
        !zip_.has("byteorder") || zip_.read("byteorder") == "little",
        "'{}' was saved on a machine with another order of bytes; save it on "
        "one like this",
        file.string());
    read_code();
    read_constants();
    FUSIONLLM_VALIDATE(find_attributes(root()) != nullptr,
                       "'{}' holds no TorchScript module; save what "
                       "torch.jit.trace gave",
                       file.string());
    add_module(root(), "", 0);
}

void ScriptArchive::read_code() {
    const std::string folder = "code/";
    for (const auto& [name, entry] : zip_.entries()) {
        if (!name.starts_with(folder) || !name.ends_with(".py")) {
            continue;
        }
        std::string key =
            name.substr(folder.size(), name.size() - folder.size() - 3);
        std::ranges::replace(key, '/', '.');
        files_.emplace(key, parse_script(zip_.read(name), name));
    }
}

//! A tuple of tensors, c0 and so on; other constants are refused when used.
void ScriptArchive::read_constants() {
    if (!zip_.has("constants.pkl")) {
        return;
    }
    const std::string bytes = zip_.read("constants.pkl");
    const Pickle pickle(bytes, script_pickle_rules());
    const auto* list = pickle.root()->get<PickleList>();
    for (std::size_t i = 0; list != nullptr && i < list->items.size(); ++i) {
        if (const auto tensor = find_tensor(list->items[i])) {
            const std::string name = "CONSTANTS.c" + std::to_string(i);
            locations_.emplace(name,
                               locate(name, "constants/", tensor->tensor));
        }
    }
}

WeightLocation ScriptArchive::locate(const std::string& name,
                                     const std::string& folder,
                                     const StoredTensor& tensor) const {
    // The pickle says "data/3" wherever it is.
    const std::string key = tensor.storage.substr(tensor.storage.find('/') + 1);
    return locate_stored(name, tensor, folder + key, zip_);
}

void ScriptArchive::add_module(PickleRef object,
                               const std::string& path,
                               int depth) {
    FUSIONLLM_VALIDATE(depth < most_depth && tensors_.size() < most_tensors,
                       "the modules of '{}' lie in one another without end; "
                       "save the model again",
                       zip_.file().string());
    const ScriptClass* type = find_class(object->get<PickleObject>()->callable);
    for (const auto& [key, value] : find_attributes(object)->items) {
        const auto* name = key->get<std::string_view>();
        if (name == nullptr) {
            continue;
        }
        const std::string own(*name);
        const std::string full = path.empty() ? own : path + "." + own;
        if (find_attributes(value) != nullptr) {
            add_module(value, full, depth + 1);
        } else if (const auto tensor = find_tensor(value)) {
            const bool is_named_parameter =
                type != nullptr && type->parameters.contains(own);
            const bool is_buffer =
                type != nullptr && type->buffers.contains(own);
            locations_.emplace(full, locate(full, "data/", tensor->tensor));
            tensors_.push_back({full,
                                {*tensor,
                                 is_named_parameter && tensor->requires_grad,
                                 is_named_parameter || is_buffer}});
        }
    }
}

const ScriptClass* ScriptArchive::find_class(const std::string& name) const {
    const auto [file, own] = split_name(name);
    const auto found = files_.find(file);
    if (found == files_.end()) {
        return nullptr;
    }
    const auto type = found->second.classes.find(own);
    return type == found->second.classes.end() ? nullptr : &type->second;
}

const ScriptFunction* ScriptArchive::find_function(
    const std::string& name) const {
    const auto [file, own] = split_name(name);
    const auto found = files_.find(file);
    if (found == files_.end()) {
        return nullptr;
    }
    const auto function = found->second.functions.find(own);
    return function == found->second.functions.end() ? nullptr
                                                     : &function->second;
}

std::optional<std::string> ScriptArchive::find_extra(
    const std::string& name) const {
    return zip_.has("extra/" + name) ? std::optional(zip_.read("extra/" + name))
                                     : std::nullopt;
}

}  // namespace fusionllm::detail
