#include "fusionllm/wire/message_header.hpp"

#include <algorithm>
#include <bit>
#include <optional>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"

namespace fusionllm {
namespace {

using HeaderBytes = std::array<std::byte, header_bytes>;

constexpr std::array<char, 4> magic{'F', 'L', 'L', 'M'};
constexpr std::uint16_t no_tensor_flag = 1;
constexpr std::uint16_t basis_flag = 2;
constexpr std::uint16_t rows_differ_flag = 4;

//! The number of an enumerator as it is written.
template <class E>
constexpr std::uint8_t code(E enumerator) {
    return static_cast<std::uint8_t>(enumerator);
}

//! Offsets of the fields in the encoded header.
enum Offset : std::size_t {
    at_magic = 0,
    at_version = 4,
    at_kind = 6,
    at_codec = 7,
    at_dtype = 8,
    at_num_dims = 9,
    at_flags = 10,
    at_micro_batch = 12,
    at_step = 16,
    at_value = 24,
    at_values = 28,
    at_rounding = 29,
    at_selection = 30,
    at_zero = 31,
    at_sizes = 32,
    at_stride_order = 96,
    at_payload_bytes = 104,
    at_kept = 112,
    at_zeros = 120,
    at_crc = 124,
};

template <class T>
void put(HeaderBytes& bytes, std::size_t offset, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
    }
}

template <class T>
T get(std::span<const std::byte> bytes, std::size_t offset) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value |= std::to_integer<std::uint64_t>(bytes[offset + i]) << (8 * i);
    }
    return static_cast<T>(value);
}

//! Bytes of the dense tensor; none if a size is negative or they overflow.
std::optional<std::uint64_t> count_bytes(const TensorType& type) {
    std::uint64_t product = size_bytes(type.dtype);
    bool is_empty = false;
    for (const std::int64_t size : type.sizes) {
        is_empty = is_empty || size == 0;
        const auto factor =
            static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1));
        if (size < 0 || __builtin_mul_overflow(product, factor, &product)) {
            return std::nullopt;
        }
    }
    return is_empty ? 0 : product;
}

bool is_permutation_of_dims(const std::vector<std::uint8_t>& order) {
    std::uint32_t seen = 0;
    for (const std::uint8_t dim : order) {
        seen |= dim < order.size() ? 1u << dim : 0u;
    }
    return std::popcount(seen) == static_cast<int>(order.size());
}

[[noreturn]] void refuse(const std::string& reason) {
    throw Error(fmt::format(
        "a message cannot be used: {}; check that all ranks run the same "
        "version of fusionllm",
        reason));
}

void check_envelope(std::span<const std::byte> message) {
    if (message.size() < header_bytes) {
        refuse(fmt::format("it has {} bytes, less than the {} of a header",
                           message.size(),
                           header_bytes));
    }
    const auto is_same = [](std::byte byte, char letter) {
        return std::to_integer<char>(byte) == letter;
    };
    if (!std::ranges::equal(message.first(magic.size()), magic, is_same)) {
        refuse("it does not start with FLLM");
    }
    const auto found_version = get<std::uint16_t>(message, at_version);
    if (found_version != wire_version) {
        refuse(
            fmt::format("its header has version {} and this program reads "
                        "version {}",
                        found_version,
                        wire_version));
    }
    const auto stored = get<std::uint32_t>(message, at_crc);
    const auto computed = crc32c(message.first(at_crc));
    if (stored != computed) {
        refuse(fmt::format("its header is damaged (CRC-32C {:08x}, not {:08x})",
                           computed,
                           stored));
    }
}

void check_codes(std::span<const std::byte> message) {
    const auto check = [&](std::size_t offset, int last, const char* field) {
        const int found = get<std::uint8_t>(message, offset);
        if (found > last) {
            refuse(fmt::format("{} {} is unknown", field, found));
        }
    };
    check(at_kind, num_message_kinds - 1, "kind");
    check(at_codec, code(CodecId::paper_top_k), "codec");
    check(at_dtype, num_dtypes - 1, "dtype");
    check(at_values, code(ValueFormat::graded5), "value format");
    check(at_rounding, code(Rounding::stochastic), "rounding");
    check(at_selection, code(Selection::row), "selection");
    if (get<std::uint8_t>(message, at_num_dims) > max_message_dims) {
        refuse(fmt::format("its tensor has {} dimensions, more than {}",
                           get<std::uint8_t>(message, at_num_dims),
                           max_message_dims));
    }
    if ((get<std::uint16_t>(message, at_flags) &
         ~(no_tensor_flag | basis_flag | rows_differ_flag)) != 0) {
        refuse("it has unknown flags");
    }
    const auto num_dims = get<std::uint8_t>(message, at_num_dims);
    const auto check_zeros = [&](std::size_t begin, std::size_t end) {
        const auto unused = message.subspan(begin, end - begin);
        if (std::ranges::count(unused, std::byte{0}) !=
            static_cast<std::ptrdiff_t>(unused.size())) {
            refuse("fields that shall be zero are not");
        }
    };
    check_zeros(at_zero, at_sizes);
    check_zeros(at_sizes + 8 * num_dims, at_stride_order);
    check_zeros(at_stride_order + num_dims, at_payload_bytes);
    check_zeros(at_zeros, at_crc);
}

bool is_native(const CodecSpec& spec) {
    return spec == CodecSpec{};
}

std::uint64_t count_encoded_bytes(const MessageHeader& header) {
    if (header.type.dtype != DType::f32) {
        refuse(fmt::format("{} cannot be {}, which is for f32",
                           to_text(header.type),
                           to_text(header.codec)));
    }
    const MatrixShape shape = matrix_shape(header.type);
    const std::string problem = find_spec_problem(header.codec, shape);
    if (!problem.empty()) {
        refuse(problem);
    }
    return payload_bytes(header.codec, shape);
}

void check_contents(const MessageHeader& header, std::size_t message_bytes) {
    if (header.payload_bytes != message_bytes - header_bytes) {
        refuse(fmt::format("its header says that {} bytes follow, but {} do",
                           header.payload_bytes,
                           message_bytes - header_bytes));
    }
    if (!header.has_tensor) {
        if (!header.type.sizes.empty() || header.payload_bytes != 0 ||
            !(header.codec == CodecSpec{})) {
            refuse(
                "it says that it has no tensor, but it has sizes, bytes or a "
                "codec");
        }
        return;
    }
    const auto expected = count_bytes(header.type);
    if (!expected) {
        refuse(fmt::format("the sizes [{}] are not those of a tensor",
                           fmt::join(header.type.sizes, ",")));
    }
    if (!is_permutation_of_dims(header.stride_order)) {
        refuse(fmt::format("the stride order [{}] is not a permutation",
                           fmt::join(header.stride_order, ",")));
    }
    const std::uint64_t payload =
        is_native(header.codec) ? *expected : count_encoded_bytes(header);
    if (payload != header.payload_bytes) {
        refuse(fmt::format("{} takes {} bytes, but it carries {}",
                           to_text(header.type),
                           payload,
                           header.payload_bytes));
    }
}

}  // namespace

HeaderBytes encode_header(const MessageHeader& header) {
    const std::size_t num_dims = header.type.sizes.size();
    if (num_dims > max_message_dims) {
        throw Error(fmt::format(
            "value {} has {} dimensions and cannot be sent: a message has "
            "room for {}; cut the model where its tensors have fewer",
            header.value,
            num_dims,
            max_message_dims));
    }
    FUSIONLLM_EXPECTS(header.stride_order.size() == num_dims);

    HeaderBytes bytes{};
    std::ranges::transform(magic, bytes.begin() + at_magic, [](char letter) {
        return static_cast<std::byte>(letter);
    });
    put(bytes, at_version, wire_version);
    put(bytes, at_kind, code(header.kind));
    put(bytes, at_codec, code(header.codec.id));
    put(bytes, at_values, code(header.codec.values));
    put(bytes, at_rounding, code(header.codec.rounding));
    put(bytes, at_selection, code(header.codec.selection));
    put(bytes, at_kept, header.codec.kept);
    put(bytes, at_dtype, code(header.type.dtype));
    put(bytes, at_num_dims, static_cast<std::uint8_t>(num_dims));
    put(bytes,
        at_flags,
        static_cast<std::uint16_t>(
            (header.has_tensor ? 0 : no_tensor_flag) |
            (header.codec.carries_basis ? basis_flag : 0) |
            (header.codec.rows_differ ? rows_differ_flag : 0)));
    put(bytes, at_micro_batch, header.micro_batch);
    put(bytes, at_step, header.step);
    put(bytes, at_value, header.value);
    for (std::size_t dim = 0; dim < num_dims; ++dim) {
        put(bytes,
            at_sizes + 8 * dim,
            static_cast<std::uint64_t>(header.type.sizes[dim]));
        put(bytes, at_stride_order + dim, header.stride_order[dim]);
    }
    put(bytes, at_payload_bytes, header.payload_bytes);
    put(bytes, at_crc, crc32c(std::span(bytes).first(at_crc)));
    return bytes;
}

MessageHeader decode_header(std::span<const std::byte> message) {
    check_envelope(message);
    check_codes(message);
    MessageHeader header;
    header.kind = MessageKind{get<std::uint8_t>(message, at_kind)};
    const auto flags = get<std::uint16_t>(message, at_flags);
    header.codec.id = CodecId{get<std::uint8_t>(message, at_codec)};
    header.codec.values = ValueFormat{get<std::uint8_t>(message, at_values)};
    header.codec.rounding = Rounding{get<std::uint8_t>(message, at_rounding)};
    header.codec.selection =
        Selection{get<std::uint8_t>(message, at_selection)};
    header.codec.kept = get<std::uint64_t>(message, at_kept);
    header.codec.carries_basis = (flags & basis_flag) != 0;
    header.codec.rows_differ = (flags & rows_differ_flag) != 0;
    header.has_tensor = (flags & no_tensor_flag) == 0;
    header.step = get<std::uint64_t>(message, at_step);
    header.micro_batch = get<std::uint32_t>(message, at_micro_batch);
    header.value = get<std::uint32_t>(message, at_value);
    header.type.dtype = DType{get<std::uint8_t>(message, at_dtype)};
    const auto num_dims = get<std::uint8_t>(message, at_num_dims);
    for (std::size_t dim = 0; dim < num_dims; ++dim) {
        header.type.sizes.push_back(
            get<std::int64_t>(message, at_sizes + 8 * dim));
        header.stride_order.push_back(
            get<std::uint8_t>(message, at_stride_order + dim));
    }
    header.payload_bytes = get<std::uint64_t>(message, at_payload_bytes);
    check_contents(header, message.size());
    return header;
}

std::size_t dense_message_bytes(const TensorType& type) {
    const auto payload = count_bytes(type);
    std::size_t total = 0;
    if (!payload || __builtin_add_overflow(*payload, header_bytes, &total)) {
        throw Error(fmt::format(
            "a tensor of sizes [{}] cannot be sent: its bytes cannot be "
            "counted; check the sizes of the model",
            fmt::join(type.sizes, ",")));
    }
    return total;
}

std::size_t encoded_message_bytes(const CodecSpec& spec,
                                  const MatrixShape& shape) {
    return header_bytes + payload_bytes(spec, shape);
}

std::string to_text(MessageKind kind) {
    switch (kind) {
        case MessageKind::activation:
            return "activation";
        case MessageKind::gradient:
            return "gradient";
        case MessageKind::parameter_gradient:
            return "parameter gradient";
        case MessageKind::control:
            return "control";
    }
    return fmt::format("kind {}", static_cast<int>(kind));
}

std::string to_text(const MessageHeader& header) {
    return fmt::format("{} of value {}, micro-batch {}, step {}: {}, {} bytes",
                       to_text(header.kind),
                       header.value,
                       header.micro_batch,
                       header.step,
                       header.has_tensor ? to_text(header.type) : "no tensor",
                       header.payload_bytes);
}

}  // namespace fusionllm
