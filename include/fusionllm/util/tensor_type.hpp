#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusionllm {

//! Element type of a tensor; the numbers are those of messages and files.
enum class DType : std::uint8_t {
    f32 = 0,
    f64 = 1,
    f16 = 2,
    bf16 = 3,
    i64 = 4,
    i32 = 5,
    i16 = 6,
    i8 = 7,
    u8 = 8,
    boolean = 9,
    c64 = 10,  //!< complex: two f32, the real one first
    c128 = 11,
};

inline constexpr int num_dtypes = 12;

//! Bytes of one element.
std::size_t size_bytes(DType dtype);
bool is_floating_point(DType dtype);
bool is_complex(DType dtype);
//! Whether a gradient can be had: of floating-point and complex numbers.
bool is_differentiable(DType dtype);
//! "f32", "i64", "bool", ...
std::string_view to_text(DType dtype);
//! Throws `InputError` for a text that names no dtype.
DType parse_dtype(std::string_view text);

//! Element type and sizes: all that is known of a tensor before it exists.
struct TensorType {
    DType dtype = DType::f32;
    std::vector<std::int64_t> sizes;

    friend bool operator==(const TensorType&, const TensorType&) = default;
};

//! Number of elements; 1 for a scalar (no sizes).
std::int64_t num_elements(const TensorType& type);
std::size_t num_bytes(const TensorType& type);
//! "f32[8,128,64]"
std::string to_text(const TensorType& type);
TensorType parse_tensor_type(std::string_view text);
/*!
 * The type of the same bytes without complex numbers: c64[8,4] is f32[8,4,2],
 * as in PyTorch's `view_as_real`. Other types are as they are.
 */
TensorType as_real(const TensorType& type);

//! A dense, row-major tensor in host memory, without any framework.
struct HostTensor {
    TensorType type;
    std::vector<std::byte> bytes;

    friend bool operator==(const HostTensor&, const HostTensor&) = default;
};

}  // namespace fusionllm
