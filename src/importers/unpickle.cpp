#include "unpickle.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

constexpr const char* what = "the pickled tensors of the archive";
constexpr const char* advice = "save the model again";

[[noreturn]] void fail(std::string_view why) {
    throw InputError(
        fmt::format("{} cannot be read: {}; {}", what, why, advice));
}

template <class T>
const T& as(PickleRef value) {
    const T* data = value->get<T>();
    if (data == nullptr) {
        fail("a value is not of the kind that is expected there");
    }
    return *data;
}

const std::vector<PickleRef>& items_of(PickleRef list) {
    return as<PickleList>(list).items;
}

bool is_tensor_maker(std::string_view name) {
    return name == "torch._utils._rebuild_tensor_v2";
}
//! Gives back the tensor that is its first argument.
bool is_parameter_maker(std::string_view name) {
    return name == "torch._utils._rebuild_parameter" ||
           name == "torch._utils._rebuild_parameter_with_state";
}

bool is_known(std::string_view name) {
    // Types of storages and elements are names only.
    const auto is_type = [&] {
        return name.starts_with("torch.") &&
               (name.ends_with("Storage") ||
                std::ranges::count(name, '.') == 1);
    };
    return is_tensor_maker(name) || is_parameter_maker(name) ||
           name == "collections.OrderedDict" || is_type();
}

std::vector<std::int64_t> integers(PickleRef list) {
    constexpr std::size_t max_dimensions = 64;
    const std::vector<PickleRef>& items = items_of(list);
    if (items.size() > max_dimensions) {
        fail("a tensor has more than 64 dimensions");
    }
    std::vector<std::int64_t> numbers;
    for (const PickleRef item : items) {
        numbers.push_back(as<std::int64_t>(item));
    }
    return numbers;
}

//! Sizes may be a tuple, or a torch.Size of one.
PickleRef without_size(PickleRef value) {
    const auto* object = value->get<PickleObject>();
    const bool is_size = object != nullptr && object->callable == "torch.Size";
    return is_size && items_of(object->arguments).size() == 1
               ? items_of(object->arguments).front()
               : value;
}

//! The storage is ("storage", type, key, device, number of elements).
StoredTensor make_tensor(const std::vector<PickleRef>& arguments) {
    if (arguments.size() < 4) {
        fail("a tensor is not written as PyTorch does");
    }
    const auto& id = items_of(as<PickleOutside>(arguments[0]).id);
    if (id.size() != 5 || as<std::string_view>(id[0]) != "storage") {
        fail("a storage is not written as PyTorch does");
    }
    return {"data/" + std::string(as<std::string_view>(id[2])),
            {parse_torch_dtype(as<PickleGlobal>(id[1]).name),
             integers(without_size(arguments[2]))},
            integers(without_size(arguments[3])),
            as<std::int64_t>(arguments[1]),
            as<std::int64_t>(id[4])};
}

}  // namespace

PickleRules tensor_pickle_rules() {
    return {what, advice, is_known};
}

std::optional<PickledTensor> find_tensor(PickleRef value) {
    const auto* object = value->get<PickleObject>();
    if (object != nullptr && is_parameter_maker(object->callable)) {
        const auto& arguments = items_of(object->arguments);
        if (arguments.empty()) {
            fail("a parameter is not written as PyTorch does");
        }
        object = arguments.front()->get<PickleObject>();
    }
    if (object == nullptr || !is_tensor_maker(object->callable)) {
        return std::nullopt;
    }
    const auto& arguments = items_of(object->arguments);
    const bool* is_trained =
        arguments.size() > 4 ? arguments[4]->get<bool>() : nullptr;
    return PickledTensor{make_tensor(arguments),
                         is_trained != nullptr && *is_trained};
}

StoredTensors unpickle_tensors(std::string_view bytes) {
    const Pickle pickle(bytes, tensor_pickle_rules());
    const auto* object = pickle.root()->get<PickleObject>();
    const auto* dict =
        object != nullptr ? &object->items : pickle.root()->get<PickleDict>();
    if (dict == nullptr) {
        fail("they are no dict");
    }
    StoredTensors tensors;
    for (const auto& [key, value] : dict->items) {
        if (auto tensor = find_tensor(value)) {
            tensors.emplace_back(as<std::string_view>(key),
                                 std::move(tensor->tensor));
            check_stored(tensors.back().first, tensors.back().second);
        }
    }
    return tensors;
}

}  // namespace fusionllm::detail
