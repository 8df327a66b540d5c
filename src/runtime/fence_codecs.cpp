#include "fusionllm/runtime/fence_codecs.hpp"

#include <algorithm>
#include <mutex>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "fusionllm/codec/kokkos_scope.hpp"
#include "fusionllm/exec/tensor.hpp"
#include "fusionllm/runtime/message.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"
#include "fusionllm/util/timing.hpp"

#include "fence_end.hpp"

namespace fusionllm {
namespace {

/*!
 * Kokkos Serial keeps the scratch of its scans and reductions once a process:
 * ranks that are threads of one (loopback) take turns. Others never wait.
 */
std::mutex& kernel_mutex() {
    static std::mutex mutex;
    return mutex;
}

//! Row-major, where the kernels can reach it.
at::Tensor make_reachable(const at::Tensor& tensor) {
    const at::Tensor plain = tensor.detach().contiguous();
    return plain.device().is_cpu() || kokkos_has_cuda() ? plain
                                                        : plain.to(at::kCPU);
}

MemorySpace space_of(at::Device device) {
    return device.is_cpu() || !kokkos_has_cuda() ? MemorySpace::host
                                                 : MemorySpace::cuda;
}

at::Tensor make_bytes(std::size_t count, const at::Tensor& like) {
    return at::empty({static_cast<std::int64_t>(count)},
                     like.options().dtype(at::kByte));
}

at::Tensor view_of_bytes(std::span<std::byte> bytes) {
    return at::from_blob(bytes.data(),
                         {static_cast<std::int64_t>(bytes.size())},
                         at::TensorOptions().dtype(at::kByte));
}

at::Tensor in_strides(const at::Tensor& numbers, at::IntArrayRef strides) {
    if (numbers.strides() == strides) {
        return numbers;
    }
    const at::Tensor result =
        at::empty_strided(numbers.sizes(), strides, numbers.options());
    result.copy_(numbers);
    return result;
}

std::span<float> numbers_of(const at::Tensor& tensor) {
    return {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
    return {static_cast<std::byte*>(tensor.data_ptr()),
            static_cast<std::size_t>(tensor.numel())};
}

}  // namespace

FenceCodecs::FenceCodecs(const OpGraph& graph,
                         const std::vector<Fence>& fences,
                         OpRange ops,
                         FenceOptions options)
    : graph_(graph),
      ops_(ops),
      options_(std::move(options)),
      probe_(options_.candidates) {
    for (const Fence& fence : fences) {
        const auto add = [&](Side side) {
            auto end = std::make_unique<End>();
            end->choice = fence.codec;
            end->shape = shape_of(graph, fence.value);
            const auto make = [&] {
                return make_codec(
                    fence.codec, end->shape, space_of(options_.device));
            };
            end->codec = make();
            // Inside the stage both ends are here.
            const bool is_border =
                fence.cut == ops.begin || fence.cut == ops.end;
            if (is_border && options_.measure_every > 0) {
                end->other = make();
            }
            ends_.emplace(EndKey(fence.cut, fence.value, side), std::move(end));
        };
        if (fence.cut > ops.begin && fence.cut <= ops.end) {
            add(Side::before);
        }
        if (fence.cut >= ops.begin && fence.cut < ops.end) {
            add(Side::after);
        }
    }
}

FenceCodecs::~FenceCodecs() = default;

bool FenceCodecs::has(std::size_t cut, ValueId value) const {
    return ends_.contains({cut, value, Side::before}) ||
           ends_.contains({cut, value, Side::after});
}

std::vector<std::size_t> FenceCodecs::inner_cuts() const {
    std::vector<std::size_t> cuts;
    for (const auto& [key, end] : ends_) {
        const std::size_t cut = std::get<0>(key);
        if (cut > ops_.begin && cut < ops_.end &&
            (cuts.empty() || cuts.back() != cut)) {
            cuts.push_back(cut);
        }
    }
    return cuts;
}

std::size_t FenceCodecs::max_message_bytes(std::size_t cut,
                                           ValueId value) const {
    const MatrixShape shape = shape_of(graph_, value);
    std::size_t most = dense_message_bytes(graph_.value(value).type);
    for (const Side side : {Side::before, Side::after}) {
        const auto found = ends_.find({cut, value, side});
        if (found == ends_.end()) {
            continue;
        }
        CodecKey key;
        key.wants_new_basis = true;
        for (const Direction direction :
             {Direction::forward, Direction::backward}) {
            const CodecSpec spec = found->second->codec->spec(direction, key);
            most = std::max(most, encoded_message_bytes(spec, shape));
        }
    }
    return most;
}

FenceCodecs::End& FenceCodecs::end(const FenceKey& key, Side side) {
    const auto found = ends_.find({key.cut, key.value, side});
    FUSIONLLM_EXPECTS(found != ends_.end());
    return *found->second;
}

CodecKey FenceCodecs::codec_key(const FenceKey& key) const {
    CodecKey result;
    result.use = key.use;
    result.micro_batch = key.micro_batch;
    std::uint64_t random = derive_key(options_.seed, std::string_view("fence"));
    for (const std::uint64_t number :
         {key.step,
          std::uint64_t{key.micro_batch},
          std::uint64_t{key.cut},
          std::uint64_t{key.value.get()},
          static_cast<std::uint64_t>(key.direction)}) {
        random = derive_key(random, number);
    }
    result.random = random;
    result.wants_new_basis = key.use == CodecKey::Use::training &&
                             key.direction == Direction::forward &&
                             key.micro_batch == 0 &&
                             options_.bases.is_due(key.step);
    return result;
}

bool FenceCodecs::is_measured(const FenceKey& key) const {
    return options_.measure_every > 0 && key.micro_batch == 0 &&
           key.use == CodecKey::Use::training &&
           key.step % static_cast<std::uint64_t>(options_.measure_every) == 0;
}

FenceReport& FenceCodecs::report(const FenceKey& key) {
    const auto found =
        std::ranges::find_if(reports_, [&](const FenceReport& report) {
            return report.cut == key.cut && report.value == key.value.get() &&
                   report.direction == key.direction;
        });
    if (found != reports_.end()) {
        return *found;
    }
    FenceReport report;
    report.cut = key.cut;
    report.value = key.value.get();
    report.direction = key.direction;
    reports_.push_back(report);
    return reports_.back();
}

void FenceCodecs::add_encoded(const FenceKey& key,
                              std::size_t dense_bytes,
                              std::size_t bytes,
                              double seconds) {
    if (key.use != CodecKey::Use::training) {
        return;
    }
    FenceReport& to = report(key);
    to.dense_bytes += dense_bytes;
    to.bytes += bytes;
    to.encode_s += seconds;
}

void FenceCodecs::add_decoded(const FenceKey& key, double seconds) {
    if (key.use == CodecKey::Use::training) {
        report(key).decode_s += seconds;
    }
}

std::vector<FenceReport> FenceCodecs::take_reports() {
    std::vector<FenceReport> reports;
    reports.swap(reports_);
    return reports;
}

void FenceCodecs::measure(const FenceKey& key,
                          const at::Tensor& tensor,
                          const at::Tensor& decoded) {
    const at::Tensor x = tensor.to(at::kCPU);
    const at::Tensor y = decoded.to(at::kCPU);
    FenceReport& to = report(key);
    to.error = relative_error(numbers_of(x), numbers_of(y));
    to.cosine = cosine(numbers_of(x), numbers_of(y));
}

void FenceCodecs::probe(const FenceKey& key, const at::Tensor& numbers) {
    const std::lock_guard lock(kernel_mutex());
    const at::Tensor host = numbers.to(at::kCPU);
    if (key.direction == Direction::forward) {
        probe_.try_forward(key.cut,
                           key.value,
                           shape_of(graph_, key.value),
                           codec_key(key),
                           numbers_of(host));
    } else {
        probe_.try_backward(
            key.cut, key.value, codec_key(key), numbers_of(host));
    }
}

void FenceCodecs::prepare_probe(const FenceKey& key,
                                const at::Tensor& decoded) {
    const std::lock_guard lock(kernel_mutex());
    const at::Tensor host = decoded.to(at::kCPU);
    probe_.prepare_backward(key.cut,
                            key.value,
                            shape_of(graph_, key.value),
                            codec_key(key),
                            numbers_of(host));
}

std::vector<MeasuredError> FenceCodecs::take_errors() {
    return probe_.take_errors();
}

void FenceCodecs::encode_with(Codec& codec,
                              const FenceKey& key,
                              const at::Tensor& numbers,
                              const at::Tensor& payload) const {
    const std::lock_guard lock(kernel_mutex());
    codec.encode(
        key.direction, codec_key(key), numbers_of(numbers), bytes_of(payload));
}

at::Tensor FenceCodecs::decode_with(Codec& codec,
                                    const FenceKey& key,
                                    const CodecSpec& spec,
                                    const at::Tensor& payload,
                                    at::IntArrayRef sizes) const {
    const at::Tensor numbers =
        at::empty(sizes, payload.options().dtype(at::kFloat));
    const std::lock_guard lock(kernel_mutex());
    codec.decode(key.direction,
                 codec_key(key),
                 spec,
                 bytes_of(payload),
                 numbers_of(numbers));
    return numbers;
}

Buffer FenceCodecs::encode(const FenceKey& key,
                           MessageHeader header,
                           const at::Tensor& tensor) {
    if (!tensor.defined()) {
        return encode_message(std::move(header), tensor);
    }
    const double begin_s = monotonic_s();
    End& mine = end(key, encoder_of(key.direction));
    const at::Tensor numbers = make_reachable(tensor);
    header.type = type_of(tensor);
    header.stride_order = stride_order(tensor);
    header.codec = mine.codec->spec(key.direction, codec_key(key));
    header.payload_bytes =
        payload_bytes(header.codec, matrix_shape(header.type));
    Buffer message(header_bytes + header.payload_bytes);
    std::ranges::copy(encode_header(header), message.data());
    const auto place = message.span().subspan(header_bytes);
    const at::Tensor payload = numbers.device().is_cpu()
                                   ? view_of_bytes(place)
                                   : make_bytes(place.size(), numbers);
    encode_with(*mine.codec, key, numbers, payload);
    if (!numbers.device().is_cpu()) {
        copy_to_bytes(payload, place.data());
    }
    add_encoded(key,
                num_bytes(header.type),
                header.payload_bytes,
                monotonic_s() - begin_s);
    if (is_probed(key)) {
        probe(key, numbers);
    }
    if (is_measured(key)) {
        if (key.direction == Direction::forward) {
            mine.other->set_state(mine.codec->state());
        }
        measure(key,
                numbers,
                decode_with(
                    *mine.other, key, header.codec, payload, numbers.sizes()));
    }
    return message;
}

at::Tensor FenceCodecs::decode(const FenceKey& key,
                               const Buffer& message,
                               const MessageHeader& expected) {
    const MessageHeader header = decode_header(message.span());
    check_expected(header, expected);
    if (!header.has_tensor) {
        return {};
    }
    const double begin_s = monotonic_s();
    End& mine = end(key, decoder_of(key.direction));
    // Nothing of it is written.
    const at::Tensor host =
        view_of_bytes({const_cast<std::byte*>(message.data()) + header_bytes,
                       message.size() - header_bytes});
    const at::Tensor payload = space_of(options_.device) == MemorySpace::host
                                   ? host
                                   : host.to(options_.device);
    const at::Tensor numbers =
        decode_with(*mine.codec, key, header.codec, payload, header.type.sizes);
    add_decoded(key, monotonic_s() - begin_s);
    if (is_measured(key) && key.direction == Direction::forward) {
        // It will decode the gradient that this end encodes.
        mine.other->set_state(mine.codec->state());
        decode_with(*mine.other, key, header.codec, payload, header.type.sizes);
    }
    if (is_probed(key) && key.direction == Direction::forward) {
        prepare_probe(key, numbers);
    }
    return in_strides(numbers.to(options_.device),
                      dense_strides(header.type.sizes, header.stride_order));
}

at::Tensor FenceCodecs::cross(const FenceKey& key, const at::Tensor& tensor) {
    if (!tensor.defined()) {
        return {};
    }
    double begin_s = monotonic_s();
    Codec& encoder = *end(key, encoder_of(key.direction)).codec;
    const at::Tensor numbers = make_reachable(tensor);
    const CodecSpec spec = encoder.spec(key.direction, codec_key(key));
    const at::Tensor payload =
        make_bytes(payload_bytes(spec, matrix_shape(type_of(tensor))), numbers);
    encode_with(encoder, key, numbers, payload);
    add_encoded(
        key, numbers.nbytes(), payload.nbytes(), monotonic_s() - begin_s);
    begin_s = monotonic_s();
    const at::Tensor decoded =
        decode_with(*end(key, decoder_of(key.direction)).codec,
                    key,
                    spec,
                    payload,
                    numbers.sizes());
    add_decoded(key, monotonic_s() - begin_s);
    if (is_measured(key)) {
        measure(key, numbers, decoded);
    }
    if (is_probed(key)) {
        probe(key, numbers);
        if (key.direction == Direction::forward) {
            prepare_probe(key, decoded);
        }
    }
    return in_strides(decoded.to(options_.device), tensor.strides());
}

}  // namespace fusionllm
