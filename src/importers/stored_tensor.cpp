#include "stored_tensor.hpp"

#include <algorithm>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::int64_t max_elements = std::int64_t{1} << 40;

//! An expanded tensor is larger than its storage, but not without bound.
constexpr std::int64_t max_expanded_elements = std::int64_t{1} << 26;

}  // namespace

void check_stored(const std::string& name, const StoredTensor& tensor) {
    const auto check = [&](bool is_right) {
        FUSIONLLM_VALIDATE(
            is_right,
            "the archive's tensor '{}' has sizes, strides or an offset that "
            "do not fit its storage of {} elements; the archive is damaged",
            name,
            tensor.storage_elements);
    };
    const auto in_bounds = [](std::int64_t number) {
        return number >= 0 && number <= max_elements;
    };
    check(tensor.strides.size() == tensor.type.sizes.size() &&
          tensor.type.sizes.size() <= 64 && in_bounds(tensor.offset) &&
          in_bounds(tensor.storage_elements));
    std::int64_t last = tensor.offset;
    std::int64_t count = 1;
    bool is_empty = false;
    for (std::size_t i = 0; i < tensor.strides.size(); ++i) {
        const std::int64_t size = tensor.type.sizes[i];
        const std::int64_t stride = tensor.strides[i];
        check(in_bounds(size) && in_bounds(stride));
        if (size == 0) {
            is_empty = true;
            continue;
        }
        check(size == 1 || stride <= max_elements / size);
        last += size == 1 ? 0 : (size - 1) * stride;
        check(in_bounds(last) && count <= max_elements / size);
        count *= size;
    }
    check(is_empty || last < tensor.storage_elements);
    check(is_empty ||
          count <= std::max(tensor.storage_elements, max_expanded_elements));
}

WeightLocation locate_stored(const std::string& name,
                             const StoredTensor& tensor,
                             const std::string& entry,
                             const ZipArchive& archive) {
    const ZipEntry& found = archive.find(entry);
    const auto stored =
        static_cast<std::int64_t>(found.size / size_bytes(tensor.type.dtype));
    StoredTensor checked = tensor;
    if (checked.storage_elements == 0) {
        checked.storage_elements = stored;
    }
    FUSIONLLM_VALIDATE(checked.storage_elements <= stored,
                       "the tensor '{}' of '{}' is cut short; save the model "
                       "again",
                       name,
                       archive.file().string());
    check_stored(name, checked);
    return {tensor.type,
            tensor.strides,
            tensor.offset,
            found.offset,
            found.size,
            found.crc};
}

DType parse_torch_dtype(const std::string& name) {
    constexpr std::pair<const char*, DType> types[] = {
        {"torch.FloatStorage", DType::f32},
        {"torch.DoubleStorage", DType::f64},
        {"torch.HalfStorage", DType::f16},
        {"torch.BFloat16Storage", DType::bf16},
        {"torch.LongStorage", DType::i64},
        {"torch.IntStorage", DType::i32},
        {"torch.ShortStorage", DType::i16},
        {"torch.CharStorage", DType::i8},
        {"torch.ByteStorage", DType::u8},
        {"torch.BoolStorage", DType::boolean},
        {"torch.ComplexFloatStorage", DType::c64},
        {"torch.ComplexDoubleStorage", DType::c128}};
    const auto* found = std::ranges::find(
        types, name, [](const auto& pair) { return std::string(pair.first); });
    FUSIONLLM_VALIDATE(found != std::end(types),
                       "the archive holds tensors of '{}', which this program "
                       "does not know; convert them in PyTorch",
                       name);
    return found->second;
}

}  // namespace fusionllm::detail
