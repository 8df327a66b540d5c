#include "fusionllm/util/tensor_type.hpp"

#include <array>
#include <charconv>
#include <limits>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

namespace fusionllm {
namespace {

struct DTypeRow {
    std::string_view name;
    std::size_t size_bytes;
    bool is_floating_point;
};

//! Row i belongs to the enumerator of number i.
constexpr std::array<DTypeRow, num_dtypes> dtype_rows = {{
    {"f32", 4, true},
    {"f64", 8, true},
    {"f16", 2, true},
    {"bf16", 2, true},
    {"i64", 8, false},
    {"i32", 4, false},
    {"i16", 2, false},
    {"i8", 1, false},
    {"u8", 1, false},
    {"bool", 1, false},
    {"c64", 8, false},
    {"c128", 16, false},
}};

const DTypeRow& row_of(DType dtype) {
    const auto index = static_cast<std::size_t>(dtype);
    FUSIONLLM_EXPECTS(index < dtype_rows.size());
    return dtype_rows[index];
}

std::int64_t parse_size(std::string_view text, std::string_view whole) {
    const std::string_view digits = trim(text);
    std::int64_t size = 0;
    const char* end = digits.data() + digits.size();
    const auto result = std::from_chars(digits.data(), end, size);
    FUSIONLLM_VALIDATE(
        result.ec == std::errc{} && result.ptr == end && size >= 0,
        "'{}' in the tensor type '{}' is not a size; write whole numbers "
        "that are not negative, as in f32[8,128]",
        digits,
        whole);
    return size;
}

void check_representable(const TensorType& type, std::string_view text) {
    constexpr std::int64_t limit = std::numeric_limits<std::int64_t>::max();
    std::int64_t bytes = static_cast<std::int64_t>(size_bytes(type.dtype));
    for (const std::int64_t size : type.sizes) {
        FUSIONLLM_VALIDATE(size == 0 || bytes <= limit / size,
                           "the tensor type '{}' has more bytes than a "
                           "64-bit number can count; check its sizes",
                           text);
        bytes *= size == 0 ? 1 : size;
    }
}

}  // namespace

std::size_t size_bytes(DType dtype) {
    return row_of(dtype).size_bytes;
}

bool is_floating_point(DType dtype) {
    return row_of(dtype).is_floating_point;
}

bool is_complex(DType dtype) {
    return dtype == DType::c64 || dtype == DType::c128;
}

bool is_differentiable(DType dtype) {
    return is_floating_point(dtype) || is_complex(dtype);
}

std::string_view to_text(DType dtype) {
    return row_of(dtype).name;
}

DType parse_dtype(std::string_view text) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < dtype_rows.size(); ++i) {
        if (dtype_rows[i].name == text) {
            return static_cast<DType>(i);
        }
        names.emplace_back(dtype_rows[i].name);
    }
    throw InputError(fmt::format("'{}' is not an element type{}; there are {}",
                                 text,
                                 did_you_mean(text, names),
                                 fmt::join(names, ", ")));
}

std::int64_t num_elements(const TensorType& type) {
    std::int64_t count = 1;
    for (const std::int64_t size : type.sizes) {
        FUSIONLLM_EXPECTS(size >= 0);
        count *= size;
    }
    return count;
}

std::size_t num_bytes(const TensorType& type) {
    return static_cast<std::size_t>(num_elements(type)) *
           size_bytes(type.dtype);
}

std::string to_text(const TensorType& type) {
    return fmt::format(
        "{}[{}]", to_text(type.dtype), fmt::join(type.sizes, ","));
}

TensorType parse_tensor_type(std::string_view text) {
    const std::string_view trimmed = trim(text);
    const std::size_t open = trimmed.find('[');
    FUSIONLLM_VALIDATE(
        open != std::string_view::npos && trimmed.back() == ']',
        "'{}' is not a tensor type; write an element type and its sizes in "
        "brackets, as in f32[8,128], or f32[] for a scalar",
        text);
    TensorType type{parse_dtype(trim(trimmed.substr(0, open))), {}};
    const std::string_view sizes =
        trim(trimmed.substr(open + 1, trimmed.size() - open - 2));
    if (!sizes.empty()) {
        for (const std::string& size : split(sizes, ',')) {
            type.sizes.push_back(parse_size(size, text));
        }
    }
    check_representable(type, text);
    return type;
}

TensorType as_real(const TensorType& type) {
    if (!is_complex(type.dtype)) {
        return type;
    }
    TensorType real{type.dtype == DType::c64 ? DType::f32 : DType::f64,
                    type.sizes};
    real.sizes.push_back(2);
    return real;
}

}  // namespace fusionllm
