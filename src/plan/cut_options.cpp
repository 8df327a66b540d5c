#include "cut_options.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fusionllm/wire/message_header.hpp"

namespace fusionllm::detail {
namespace {

// A basis of more vectors takes longer than it gains. What the user names is
// taken all the same.
constexpr std::uint64_t most_vectors = 800;

bool is_too_long(const CompressionOptions& options,
                 const CodecChoice& codec,
                 const MatrixShape& shape) {
    return options.codec.empty() && codec.id == CodecId::subspace &&
           resolve(codec, shape).forward.kept > most_vectors;
}

double dense_bytes(const MatrixShape& shape) {
    return 4 * static_cast<double>(shape.size());
}

CodecWork more_than_copy(CodecWork work, const MatrixShape& shape) {
    // As the model counts the copy of a dense message.
    work.copied_bytes -= dense_bytes(shape) + header_bytes;
    return work;
}

void add(const CodecWork& work, CodecWork& sum) {
    sum.copied_bytes += work.copied_bytes;
    sum.flops += work.flops;
}

double total(const CodecWork& work) {
    return work.copied_bytes + work.flops;
}

double total(const CutOption& option) {
    return total(option.sender.forward) + total(option.sender.backward) +
           total(option.receiver.forward) + total(option.receiver.backward);
}

bool is_dense(const CutOption& option) {
    return option.codec == CodecChoice{};
}

//! Nothing speaks for `other` where there is `option`, which has less error.
bool is_as_good(const CutOption& option, const CutOption& other) {
    return option.saved.forward_bytes >= other.saved.forward_bytes &&
           option.saved.backward_bytes >= other.saved.backward_bytes &&
           total(option) <= total(other);
}

double saved_bytes(const CutOption& option) {
    return option.saved.forward_bytes + option.saved.backward_bytes;
}

//! Add one value with the codec to the option.
void add_value(const CodecChoice& codec,
               const MatrixShape& shape,
               CutOption& option) {
    const CodecPair pair = resolve(codec, shape);
    option.saved.forward_bytes +=
        dense_bytes(shape) -
        static_cast<double>(payload_bytes(pair.forward, shape));
    option.saved.backward_bytes +=
        dense_bytes(shape) -
        static_cast<double>(payload_bytes(pair.backward, shape));
    const auto there = Direction::forward;
    const auto back = Direction::backward;
    add(more_than_copy(encode_work(codec, shape, there), shape),
        option.sender.forward);
    add(more_than_copy(decode_work(codec, shape, back), shape),
        option.sender.backward);
    add(more_than_copy(decode_work(codec, shape, there), shape),
        option.receiver.forward);
    add(more_than_copy(encode_work(codec, shape, back), shape),
        option.receiver.backward);
}

//! Without those that are nowhere better than one of less error.
std::vector<CutOption> sort_out(std::vector<CutOption> options) {
    std::ranges::stable_sort(options, [](const auto& a, const auto& b) {
        return std::pair(a.error, -saved_bytes(a)) <
               std::pair(b.error, -saved_bytes(b));
    });
    std::vector<CutOption> useful;
    for (const CutOption& option : options) {
        if (std::ranges::none_of(useful, [&](const CutOption& other) {
                return is_as_good(other, option);
            })) {
            useful.push_back(option);
        }
    }
    return useful;
}

}  // namespace

bool applies(const CompressionOptions& options,
             const CodecChoice& codec,
             const MatrixShape& shape) {
    return options.rule == "uniform" ||
           (byte_ratio(codec, shape) > 1 && !(codec == CodecChoice{}));
}

std::vector<CutOption> make_cut_options(
    const CostModel& model,
    std::size_t cut,
    const std::vector<CodecChoice>& candidates,
    const CompressionOptions& options,
    const ErrorTable& errors) {
    std::vector<CutOption> list;
    for (const CodecChoice& codec : candidates) {
        CutOption option;
        option.codec = codec;
        bool is_allowed = true;
        for (const CutValue& value : model.values_at(cut)) {
            const MatrixShape& shape = model.shapes()[value.shape];
            if (!applies(options, codec, shape)) {
                continue;
            }
            add_value(codec, shape, option);
            const double forward =
                errors.error(cut, value.value, Direction::forward, codec);
            const double backward =
                errors.error(cut, value.value, Direction::backward, codec);
            const double both = errors.both_errors(cut, value.value, codec);
            option.error += both * both;
            is_allowed &= byte_ratio(codec, shape) <= options.max_byte_ratio &&
                          !is_too_long(options, codec, shape) &&
                          (options.max_error <= 0 ||
                           std::max(forward, backward) <= options.max_error);
        }
        if (options.rule == "uniform" ||
            (is_allowed && (saved_bytes(option) > 0 || is_dense(option)))) {
            list.push_back(option);
        }
    }
    return sort_out(std::move(list));
}

}  // namespace fusionllm::detail
