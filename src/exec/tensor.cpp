#include "fusionllm/exec/tensor.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm {

at::ScalarType to_scalar_type(DType dtype) {
    switch (dtype) {
        case DType::f32:
            return at::kFloat;
        case DType::f64:
            return at::kDouble;
        case DType::f16:
            return at::kHalf;
        case DType::bf16:
            return at::kBFloat16;
        case DType::i64:
            return at::kLong;
        case DType::i32:
            return at::kInt;
        case DType::i16:
            return at::kShort;
        case DType::i8:
            return at::kChar;
        case DType::u8:
            return at::kByte;
        case DType::boolean:
            return at::kBool;
        case DType::c64:
            return at::kComplexFloat;
        case DType::c128:
            return at::kComplexDouble;
    }
    throw Error(
        fmt::format("no dtype has the number {}", static_cast<int>(dtype)));
}

DType to_dtype(at::ScalarType type) {
    for (int number = 0; number < num_dtypes; ++number) {
        const auto dtype = static_cast<DType>(number);
        if (to_scalar_type(dtype) == type) {
            return dtype;
        }
    }
    throw Error(fmt::format(
        "tensors of {} cannot leave LibTorch; use a real or complex number, an "
        "integer or a bool",
        c10::toString(type)));
}

TensorType type_of(const at::Tensor& tensor) {
    return {to_dtype(tensor.scalar_type()), tensor.sizes().vec()};
}

at::Device parse_device(const std::string& text, int local_rank) {
    if (text == "cpu") {
        return at::Device(at::kCPU);
    }
    FUSIONLLM_VALIDATE(text == "cuda",
                       "unknown device '{}' in [run] device; use \"cpu\" or "
                       "\"cuda\"",
                       text);
    // Unlike at::hasCUDA(), which in LibTorch 2 asks for a device too.
    const bool has_cuda = c10::impl::hasDeviceGuardImpl(at::kCUDA);
    FUSIONLLM_VALIDATE(has_cuda,
                       "[run] device is \"cuda\" but LibTorch was built "
                       "without CUDA; use device = \"cpu\", or build with "
                       "-DFUSIONLLM_CUDA=ON against a LibTorch with CUDA");
    const int num_devices =
        c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
    FUSIONLLM_VALIDATE(num_devices > 0,
                       "[run] device is \"cuda\" but this host shows no CUDA "
                       "device; use device = \"cpu\", or a host where "
                       "nvidia-smi lists a device");
    return at::Device(at::kCUDA,
                      static_cast<c10::DeviceIndex>(local_rank % num_devices));
}

std::vector<std::uint8_t> stride_order(const at::Tensor& tensor) {
    std::vector<std::uint8_t> order(tensor.dim());
    std::iota(order.begin(), order.end(), std::uint8_t{0});
    // A dim of size 1, or expanded, has no place in memory: let it follow its
    // neighbour.
    std::vector<std::int64_t> strides = tensor.strides().vec();
    for (std::int64_t dim = tensor.dim() - 1; dim >= 0; --dim) {
        if (tensor.size(dim) == 1 || strides[dim] == 0) {
            strides[dim] = dim + 1 < tensor.dim() ? strides[dim + 1] : 1;
        }
    }
    std::ranges::stable_sort(order, [&](std::uint8_t a, std::uint8_t b) {
        return strides[a] > strides[b];
    });
    return order;
}

std::vector<std::int64_t> dense_strides(
    const std::vector<std::int64_t>& sizes,
    const std::vector<std::uint8_t>& order) {
    std::vector<std::int64_t> strides(sizes.size());
    std::int64_t stride = 1;
    for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
        strides[*dim] = stride;
        stride *= std::max<std::int64_t>(sizes[*dim], 1);
    }
    return strides;
}

namespace {

//! `conj`, and `imag` of that, leave marks in place of new elements.
at::Tensor without_marks(const at::Tensor& tensor) {
    return tensor.is_conj() || tensor.is_neg()
               ? tensor.resolve_conj().resolve_neg()
               : tensor;
}

}  // namespace

at::Tensor normalise(const at::Tensor& given) {
    const at::Tensor tensor = without_marks(given);
    if (tensor.is_contiguous()) {
        // Row-major but for dims of size 1: the usual case, checked first.
        const auto sizes = tensor.sizes();
        std::int64_t stride = 1;
        bool is_canonical = true;
        for (std::int64_t dim = tensor.dim() - 1; dim >= 0; --dim) {
            is_canonical &= tensor.stride(dim) == stride;
            stride *= std::max<std::int64_t>(sizes[dim], 1);
        }
        if (is_canonical) {
            return tensor;
        }
    }
    const auto strides =
        dense_strides(tensor.sizes().vec(), stride_order(tensor));
    if (tensor.strides() == at::IntArrayRef(strides)) {
        return tensor;
    }
    if (tensor.is_non_overlapping_and_dense()) {
        return at::as_strided(tensor, tensor.sizes(), strides);
    }
    // Autograd records the copy into a fresh tensor; its backward is identity.
    at::Tensor dense =
        at::empty_strided(tensor.sizes(), strides, tensor.options());
    dense.copy_(tensor);
    return dense;
}

HostTensor to_host(const at::Tensor& tensor) {
    const at::Tensor host =
        without_marks(tensor.detach().to(at::kCPU)).contiguous();
    HostTensor result{type_of(host), {}};
    result.bytes.resize(host.nbytes());
    if (!result.bytes.empty()) {
        std::memcpy(result.bytes.data(), host.data_ptr(), host.nbytes());
    }
    return result;
}

at::Tensor from_host(const HostTensor& tensor, at::Device device) {
    const at::Tensor host =
        at::empty(tensor.type.sizes,
                  at::TensorOptions().dtype(to_scalar_type(tensor.type.dtype)));
    FUSIONLLM_EXPECTS(tensor.bytes.size() == host.nbytes());
    if (!tensor.bytes.empty()) {
        std::memcpy(host.data_ptr(), tensor.bytes.data(), tensor.bytes.size());
    }
    return host.to(device);
}

void copy_to_bytes(const at::Tensor& normalised, std::byte* destination) {
    const at::Tensor source = normalised.detach();
    if (source.numel() == 0) {
        return;
    }
    if (source.device().is_cpu()) {
        std::memcpy(destination, source.data_ptr(), source.nbytes());
        return;
    }
    const auto options = at::TensorOptions().dtype(source.scalar_type());
    at::from_blob(destination, source.sizes(), source.strides(), options)
        .copy_(source);
}

at::Tensor view_of_buffer(Buffer buffer,
                          std::size_t offset,
                          const TensorType& type,
                          const std::vector<std::uint8_t>& order,
                          at::Device device) {
    FUSIONLLM_EXPECTS(offset + num_bytes(type) <= buffer.size());
    const auto owner = std::make_shared<Buffer>(std::move(buffer));
    const auto strides = dense_strides(type.sizes, order);
    const at::Tensor host = at::from_blob(
        owner->data() + offset,
        type.sizes,
        strides,
        [owner](void*) {},
        at::TensorOptions().dtype(to_scalar_type(type.dtype)));
    return device.is_cpu() ? host : host.to(device);
}

}  // namespace fusionllm
