#include "cifar10_pickle.hpp"

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/pickle.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::int64_t image_bytes = 3 * 32 * 32;

bool is_known(std::string_view name) {
    return name == "numpy.core.multiarray._reconstruct" ||
           name == "numpy._core.multiarray._reconstruct" ||
           name == "numpy.ndarray" || name == "numpy.dtype";
}

PickleRef find(const PickleDict& dict, std::string_view wanted) {
    for (const auto& [key, value] : dict.items) {
        const auto* name = key->get<std::string_view>();
        if (name != nullptr && *name == wanted) {
            return value;
        }
    }
    return nullptr;
}

//! The list that a value is or holds; empty if it is none.
std::span<const PickleRef> items_of(PickleRef value) {
    const auto* list = value == nullptr ? nullptr : value->get<PickleList>();
    return list == nullptr ? std::span<const PickleRef>() : list->items;
}

bool is_u8(PickleRef type) {
    const auto* object = type->get<PickleObject>();
    const auto arguments = object == nullptr ? std::span<const PickleRef>()
                                             : items_of(object->arguments);
    const auto* name = arguments.empty()
                           ? nullptr
                           : arguments.front()->get<std::string_view>();
    return name != nullptr && (*name == "u1" || *name == "|u1");
}

//! The state of an array is (version, sizes, type, in columns?, bytes).
std::string_view array_bytes(PickleRef array, std::size_t num_images) {
    const auto* object =
        array == nullptr ? nullptr : array->get<PickleObject>();
    const auto state = object == nullptr ? std::span<const PickleRef>()
                                         : items_of(object->state);
    if (state.size() != 5 || !is_u8(state[2])) {
        return {};
    }
    const auto sizes = items_of(state[1]);
    const auto is_size = [&](std::size_t axis, std::int64_t wanted) {
        const auto* size = sizes[axis]->get<std::int64_t>();
        return size != nullptr && *size == wanted;
    };
    const auto* is_in_columns = state[3]->get<bool>();
    const auto* bytes = state[4]->get<std::string_view>();
    const bool is_good = sizes.size() == 2 &&
                         is_size(0, static_cast<std::int64_t>(num_images)) &&
                         is_size(1, image_bytes) && is_in_columns != nullptr &&
                         !*is_in_columns && bytes != nullptr &&
                         bytes->size() == num_images * image_bytes;
    return is_good ? *bytes : std::string_view();
}

}  // namespace

bool is_pickle(std::span<const std::byte> file) {
    return file.size() > 1 && file[0] == std::byte{0x80};
}

Cifar10Batch read_cifar10_pickle(std::span<const std::byte> file,
                                 const std::string& name) {
    const std::string_view text(reinterpret_cast<const char*>(file.data()),
                                file.size());
    const Pickle pickle(text,
                        {fmt::format("'{}'", name),
                         "name files of CIFAR-10's Python version",
                         is_known});
    Cifar10Batch batch;
    const auto* dict = pickle.root()->get<PickleDict>();
    const auto labels = dict == nullptr ? std::span<const PickleRef>()
                                        : items_of(find(*dict, "labels"));
    for (const PickleRef item : labels) {
        const auto* label = item->get<std::int64_t>();
        batch.labels.push_back(label == nullptr ? -1 : *label);
    }
    const std::string_view pixels =
        labels.empty() ? std::string_view()
                       : array_bytes(find(*dict, "data"), labels.size());
    FUSIONLLM_VALIDATE(
        !pixels.empty(),
        "'{}' is a pickle of something else than \"labels\" and as many rows "
        "of 3072 bytes of \"data\"; name files of CIFAR-10's Python version",
        name);
    batch.pixels = std::as_bytes(std::span(pixels));
    return batch;
}

}  // namespace fusionllm::detail
