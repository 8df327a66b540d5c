#include "fusionllm/runtime/step_report.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <type_traits>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

class Writer {
public:
    template <class T>
    void put(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void put_optional(const std::optional<double>& number) {
        put(static_cast<std::uint8_t>(number ? 1 : 0));
        put(number.value_or(0));
    }
    void put_text(const std::string& text) {
        put(static_cast<std::uint32_t>(text.size()));
        bytes_ += text;
    }
    void put_numbers(const std::vector<std::uint64_t>& numbers) {
        put(static_cast<std::uint32_t>(numbers.size()));
        for (const std::uint64_t number : numbers) {
            put(number);
        }
    }
    std::string take() { return std::move(bytes_); }

private:
    std::string bytes_;
};

class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}
    template <class T>
    T get() {
        static_assert(std::is_trivially_copyable_v<T>);
        T value;
        const std::string_view raw = take(sizeof value);
        std::memcpy(&value, raw.data(), sizeof value);
        return value;
    }
    std::optional<double> get_optional() {
        const bool has_number = get<std::uint8_t>() != 0;
        const auto number = get<double>();
        return has_number ? std::optional(number) : std::nullopt;
    }
    std::string get_text() { return std::string(take(get<std::uint32_t>())); }
    std::vector<std::uint64_t> get_numbers() {
        const auto count = get<std::uint32_t>();
        std::vector<std::uint64_t> numbers;
        for (std::uint32_t i = 0; i < count; ++i) {
            numbers.push_back(get<std::uint64_t>());
        }
        return numbers;
    }

private:
    std::string_view take(std::size_t count) {
        if (count > bytes_.size()) {
            throw Error(
                "a control message ends early; do all ranks run the "
                "same version of the program?");
        }
        const std::string_view part = bytes_.substr(0, count);
        bytes_.remove_prefix(count);
        return part;
    }
    std::string_view bytes_;
};

// Field by field: what pads the struct is not initialised.
void put(Writer& writer, const FenceReport& fence) {
    writer.put(fence.cut);
    writer.put(fence.value);
    writer.put(fence.direction);
    writer.put(fence.dense_bytes);
    writer.put(fence.bytes);
    writer.put(fence.encode_s);
    writer.put(fence.decode_s);
    writer.put_optional(fence.error);
    writer.put_optional(fence.cosine);
    writer.put_optional(fence.link_bytes_per_s);
}

FenceReport get_fence(Reader& reader) {
    FenceReport fence;
    fence.cut = reader.get<std::uint64_t>();
    fence.value = reader.get<std::uint32_t>();
    fence.direction = reader.get<Direction>();
    fence.dense_bytes = reader.get<std::uint64_t>();
    fence.bytes = reader.get<std::uint64_t>();
    fence.encode_s = reader.get<double>();
    fence.decode_s = reader.get<double>();
    fence.error = reader.get_optional();
    fence.cosine = reader.get_optional();
    fence.link_bytes_per_s = reader.get_optional();
    return fence;
}

void put(Writer& writer, const MeasuredError& error) {
    writer.put(std::uint64_t{error.cut});
    writer.put(error.value.get());
    writer.put(error.direction);
    writer.put_text(to_text(error.codec));
    writer.put(error.error);
}

MeasuredError get_error(Reader& reader) {
    MeasuredError error;
    error.cut = reader.get<std::uint64_t>();
    error.value = ValueId(reader.get<std::uint32_t>());
    error.direction = reader.get<Direction>();
    error.codec = parse_codec_choice(reader.get_text(), 1);
    error.error = reader.get<double>();
    return error;
}

//! Which of the ranks' findings comes first in the order of the computation.
std::string first_cause(std::vector<const StepReport*> reports,
                        double loss,
                        const std::map<std::uint32_t, double>& squares,
                        const std::vector<std::string>& parameter_names) {
    std::ranges::sort(reports, {}, &StepReport::stage);
    const auto at_stage = [](const StepReport& report,
                             const std::string& what) {
        return fmt::format("{} of stage {}", what, report.stage);
    };
    for (const StepReport* report : reports) {
        if (!report->bad_op.empty()) {
            return at_stage(*report, "op '" + report->bad_op + "'");
        }
        if (!report->bad_activation.empty()) {
            return at_stage(*report, report->bad_activation);
        }
    }
    if (!std::isfinite(loss)) {
        return "the loss";
    }
    for (auto report = reports.rbegin(); report != reports.rend(); ++report) {
        if (!(*report)->bad_gradient.empty()) {
            return at_stage(**report, (*report)->bad_gradient);
        }
    }
    for (const auto& [parameter, square] : squares) {
        if (!std::isfinite(square)) {
            return "the gradient of parameter '" +
                   parameter_names.at(parameter) + "'";
        }
    }
    return "the sum of all squared gradients";
}

}  // namespace

std::string pack(const StepReport& report) {
    Writer writer;
    writer.put(report.loss_sum);
    writer.put(report.has_loss);
    writer.put(report.stop);
    writer.put(report.stage);
    writer.put(static_cast<std::uint32_t>(report.squares.size()));
    for (const auto& [parameter, square] : report.squares) {
        writer.put(parameter);
        writer.put(square);
    }
    writer.put_text(report.bad_op);
    writer.put_text(report.bad_activation);
    writer.put_text(report.bad_gradient);
    writer.put_numbers(report.sent.activations);
    writer.put_numbers(report.sent.gradients);
    const auto& to_holders = report.sent.parameter_gradients;
    writer.put(static_cast<std::uint32_t>(to_holders.size()));
    for (const auto& [rank, bytes] : to_holders) {
        writer.put(static_cast<std::int32_t>(rank));
        writer.put(bytes);
    }
    for (const Arrivals& arrivals :
         {report.links.activations, report.links.gradients}) {
        writer.put(arrivals.busy_s);
        writer.put(arrivals.bytes);
    }
    writer.put_optional(report.rate_to_next);
    writer.put_optional(report.rate_to_previous);
    writer.put(static_cast<std::uint32_t>(report.fences.size()));
    for (const FenceReport& fence : report.fences) {
        put(writer, fence);
    }
    writer.put(static_cast<std::uint32_t>(report.errors.size()));
    for (const MeasuredError& error : report.errors) {
        put(writer, error);
    }
    return writer.take();
}

StepReport unpack_report(std::string_view bytes) {
    Reader reader(bytes);
    StepReport report;
    report.loss_sum = reader.get<double>();
    report.has_loss = reader.get<std::uint8_t>();
    report.stop = reader.get<StopRequest>();
    report.stage = reader.get<std::int32_t>();
    const auto count = reader.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto parameter = reader.get<std::uint32_t>();
        report.squares.emplace_back(parameter, reader.get<double>());
    }
    report.bad_op = reader.get_text();
    report.bad_activation = reader.get_text();
    report.bad_gradient = reader.get_text();
    report.sent.activations = reader.get_numbers();
    report.sent.gradients = reader.get_numbers();
    const auto num_holders = reader.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < num_holders; ++i) {
        const auto rank = reader.get<std::int32_t>();
        report.sent.parameter_gradients[rank] = reader.get<std::uint64_t>();
    }
    for (Arrivals* arrivals :
         {&report.links.activations, &report.links.gradients}) {
        arrivals->busy_s = reader.get<double>();
        arrivals->bytes = reader.get<std::uint64_t>();
    }
    report.rate_to_next = reader.get_optional();
    report.rate_to_previous = reader.get_optional();
    const auto num_fences = reader.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < num_fences; ++i) {
        report.fences.push_back(get_fence(reader));
    }
    const auto num_errors = reader.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < num_errors; ++i) {
        report.errors.push_back(get_error(reader));
    }
    return report;
}

std::string pack(const StepDecision& decision) {
    Writer writer;
    writer.put(decision.loss);
    writer.put(decision.grad_norm);
    writer.put(decision.scale);
    writer.put(decision.is_skipped);
    writer.put(decision.stop);
    writer.put_text(decision.reason);
    writer.put(static_cast<std::uint8_t>(decision.fences ? 1 : 0));
    if (decision.fences) {
        writer.put(static_cast<std::uint32_t>(decision.fences->size()));
        for (const Fence& fence : *decision.fences) {
            writer.put(std::uint64_t{fence.cut});
            writer.put(fence.value.get());
            writer.put_text(to_text(fence.codec));
        }
    }
    return writer.take();
}

StepDecision unpack_decision(std::string_view bytes) {
    Reader reader(bytes);
    StepDecision decision;
    decision.loss = reader.get<double>();
    decision.grad_norm = reader.get<double>();
    decision.scale = reader.get<double>();
    decision.is_skipped = reader.get<std::uint8_t>();
    decision.stop = reader.get<StopRequest>();
    decision.reason = reader.get_text();
    if (reader.get<std::uint8_t>() != 0) {
        decision.fences.emplace();
        const auto count = reader.get<std::uint32_t>();
        for (std::uint32_t i = 0; i < count; ++i) {
            Fence fence;
            fence.cut = reader.get<std::uint64_t>();
            fence.value = ValueId(reader.get<std::uint32_t>());
            fence.codec = parse_codec_choice(reader.get_text(), 1);
            decision.fences->push_back(fence);
        }
    }
    return decision;
}

StepDecision decide(const std::vector<StepReport>& reports,
                    const std::vector<std::string>& parameter_names,
                    int micro_batches,
                    double clip_norm) {
    StepDecision decision;
    std::map<std::uint32_t, double> squares;
    std::vector<const StepReport*> ordered;
    for (const StepReport& report : reports) {
        if (report.has_loss != 0) {
            decision.loss = report.loss_sum / micro_batches;
        }
        decision.stop = std::max(decision.stop, report.stop);
        squares.insert(report.squares.begin(), report.squares.end());
        ordered.push_back(&report);
    }
    double sum = 0;
    for (const auto& [parameter, square] : squares) {
        sum += square;
    }
    decision.grad_norm = std::sqrt(sum);
    if (!std::isfinite(decision.loss) || !std::isfinite(sum)) {
        decision.is_skipped = 1;
        decision.reason =
            first_cause(ordered, decision.loss, squares, parameter_names);
    } else if (clip_norm > 0) {
        // As torch.nn.utils.clip_grad_norm_ has it.
        decision.scale = std::min(1.0, clip_norm / (decision.grad_norm + 1e-6));
    }
    return decision;
}

}  // namespace fusionllm
