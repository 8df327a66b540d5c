#include "fusionllm/exec/first_value.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

namespace fusionllm {
namespace {

constexpr std::size_t piece_bytes = std::size_t{4} << 20;

//! A number in (0, 1), never its ends: `log` of it is finite.
double to_open_unit(std::uint32_t word) {
    return (word + 0.5) * 0x1p-32;
}

//! Four numbers of the initializer's distribution, by Box and Muller if normal.
void draw(const Initializer& initializer,
          PhiloxBlock block,
          double (&numbers)[4]) {
    for (int i = 0; i < 4; ++i) {
        numbers[i] = to_open_unit(block.words[i]);
    }
    if (initializer.kind == Initializer::Kind::uniform) {
        for (double& number : numbers) {
            number = initializer.scale * (2 * number - 1);
        }
        return;
    }
    for (int i = 0; i < 4; i += 2) {
        const double radius =
            initializer.scale * std::sqrt(-2 * std::log(numbers[i]));
        const double angle = 2 * std::numbers::pi * numbers[i + 1];
        numbers[i] = radius * std::cos(angle);
        numbers[i + 1] = radius * std::sin(angle);
    }
}

bool is_constant(const Initializer& initializer) {
    return initializer.kind == Initializer::Kind::zeros ||
           initializer.kind == Initializer::Kind::ones;
}

void fill(std::span<float> elements,
          const std::string& name,
          const Initializer& initializer,
          std::uint64_t seed) {
    if (is_constant(initializer)) {
        std::ranges::fill(
            elements,
            initializer.kind == Initializer::Kind::ones ? 1.0f : 0.0f);
        return;
    }
    const PhiloxKey key =
        make_philox_key(derive_key(seed, std::string_view(name)));
    for (std::uint64_t i = 0; i < elements.size(); i += 4) {
        const PhiloxBlock counter{{static_cast<std::uint32_t>(i / 4),
                                   static_cast<std::uint32_t>(i >> 34),
                                   0,
                                   0}};
        double numbers[4];
        draw(initializer, philox(counter, key), numbers);
        for (std::uint64_t k = 0; k < 4 && i + k < elements.size(); ++k) {
            elements[i + k] = static_cast<float>(numbers[k]);
        }
    }
}

void check_type(const std::string& name, const TensorType& type) {
    FUSIONLLM_VALIDATE(type.dtype == DType::f32,
                       "parameter '{}' is {}; only f32 parameters are trained",
                       name,
                       to_text(type));
}

at::Tensor empty_of(const TensorType& type) {
    return at::empty(type.sizes,
                     at::TensorOptions().dtype(to_scalar_type(type.dtype)));
}

/*!
 * Copy the bytes piece by piece, giving the pages back that were copied: of the
 * whole tensor there are never two.
 */
at::Tensor take(HostTensor tensor, at::Device device) {
    const at::Tensor host = empty_of(tensor.type);
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    std::byte* const begin = tensor.bytes.data();
    const std::size_t size = tensor.bytes.size();
    const std::size_t lead =
        (page - reinterpret_cast<std::uintptr_t>(begin) % page) % page;
    std::size_t returned = lead;
    for (std::size_t at = 0; at < size; at += piece_bytes) {
        const std::size_t end = std::min(size, at + piece_bytes);
        std::memcpy(static_cast<std::byte*>(host.data_ptr()) + at,
                    begin + at,
                    end - at);
        const std::size_t whole =
            end < lead ? lead : lead + (end - lead) / page * page;
        if (whole > returned && size > piece_bytes) {
            // What is left in the pages is not read any more; a failure costs
            // memory only.
            madvise(begin + returned, whole - returned, MADV_DONTNEED);
            returned = whole;
        }
    }
    return host.to(device);
}

//! The given value, checked; undefined if there is none.
at::Tensor take_given(const std::string& what,
                      const std::string& name,
                      const TensorType& type,
                      const FirstValues& first,
                      at::Device device) {
    std::optional<HostTensor> given =
        first.given ? first.given(name) : std::nullopt;
    if (!given) {
        return {};
    }
    FUSIONLLM_VALIDATE(given->type == type || as_real(given->type) == type,
                       "the given weights have {} '{}' as {}, but in the model "
                       "it is {}; give the weights of this model",
                       what,
                       name,
                       to_text(given->type),
                       to_text(type));
    FUSIONLLM_VALIDATE(given->bytes.size() == num_bytes(type),
                       "the given {} '{}' is {}, but has {} bytes in place of "
                       "{}; its file is damaged",
                       what,
                       name,
                       to_text(type),
                       given->bytes.size(),
                       num_bytes(type));
    given->type = type;
    return take(std::move(*given), device);
}

at::Tensor draw_f32(const std::string& name,
                    const TensorType& type,
                    const Initializer& initializer,
                    std::uint64_t seed) {
    const at::Tensor host = empty_of({DType::f32, type.sizes});
    fill({host.data_ptr<float>(), static_cast<std::size_t>(host.numel())},
         name,
         initializer,
         seed);
    return host;
}

}  // namespace

HostTensor initial_value(const OpGraph& graph,
                         const Parameter& parameter,
                         std::uint64_t seed) {
    HostTensor result{graph.value(parameter.value).type, {}};
    check_type(parameter.name, result.type);
    result.bytes.resize(num_bytes(result.type));
    fill({reinterpret_cast<float*>(result.bytes.data()),
          result.bytes.size() / sizeof(float)},
         parameter.name,
         parameter.initializer,
         seed);
    return result;
}

at::Tensor make_first_value(const OpGraph& graph,
                            const Parameter& parameter,
                            const FirstValues& first,
                            at::Device device) {
    const TensorType& type = graph.value(parameter.value).type;
    check_type(parameter.name, type);
    const at::Tensor given =
        take_given("parameter", parameter.name, type, first, device);
    return given.defined()
               ? given
               : draw_f32(
                     parameter.name, type, parameter.initializer, first.seed)
                     .to(device);
}

at::Tensor make_first_value(const OpGraph& graph,
                            const ModelBuffer& buffer,
                            const FirstValues& first,
                            at::Device device) {
    const TensorType& type = graph.value(buffer.value).type;
    const at::Tensor given =
        take_given("buffer", buffer.name, type, first, device);
    if (given.defined()) {
        return given;
    }
    FUSIONLLM_VALIDATE(
        is_floating_point(type.dtype) || is_constant(buffer.initializer),
        "buffer '{}' is {}, so its first value cannot be drawn at random; let "
        "it start at zeros or ones, or give its value",
        buffer.name,
        to_text(type));
    return draw_f32(buffer.name, type, buffer.initializer, first.seed)
        .to(device, to_scalar_type(type.dtype));
}

}  // namespace fusionllm
