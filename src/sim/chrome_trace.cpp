#include "fusionllm/sim/chrome_trace.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

std::string quote(const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            quoted += '\\';
            quoted += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            quoted += c;
        }
    }
    return quoted + '"';
}

bool is_message(const Span& span) {
    return span.kind == Span::Kind::send_activation ||
           span.kind == Span::Kind::send_gradient ||
           span.kind == Span::Kind::send_parameter_gradient;
}

std::string name_of(const Span& span) {
    const auto m = span.microbatch;
    switch (span.kind) {
        case Span::Kind::forward:
            return fmt::format("F{}", m);
        case Span::Kind::backward:
            return fmt::format("B{}", m);
        case Span::Kind::update:
            return "update";
        case Span::Kind::send_activation:
            return fmt::format("activation {}", m);
        case Span::Kind::send_gradient:
            return fmt::format("gradient {}", m);
        case Span::Kind::send_parameter_gradient:
            break;
    }
    return fmt::format("parameter gradient {}", span.index);
}

const Crossing& crossing_of(const Span& span, const StepCosts& costs) {
    switch (span.kind) {
        case Span::Kind::send_activation:
            return costs.forward.at(span.index);
        case Span::Kind::send_gradient:
            return costs.backward.at(span.index);
        default:
            return costs.parameter_gradients.at(span.index);
    }
}

std::int64_t to_ns(double seconds) {
    return std::llround(seconds * 1e9);
}

//! The format counts in microseconds: "1.250".
std::string to_us(std::int64_t ns) {
    return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

class TraceWriter {
public:
    TraceWriter(const Timeline& timeline, const StepCosts& costs)
        : timeline_(timeline), costs_(costs) {}

    std::string write(const Network& network,
                      const std::vector<std::string>& stage_devices) {
        const std::size_t num_stages = stage_devices.size();
        for (std::size_t s = 0; s < num_stages; ++s) {
            add_process(s, fmt::format("stage {} on {}", s, stage_devices[s]));
        }
        for (std::size_t i = 0; i < timeline_.links.size(); ++i) {
            const LinkUse& use = timeline_.links[i];
            add_process(num_stages + i,
                        fmt::format("link {}: device {} to {}",
                                    network.name(use.from, use.to),
                                    use.from.get(),
                                    use.to.get()));
        }
        for (const Span& span : timeline_.spans) {
            add_span(
                span,
                is_message(span) ? num_stages + link_of(span) : span.index);
        }
        return "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n" + events_ +
               "\n]}\n";
    }

private:
    void add(const std::string& event) {
        events_ += events_.empty() ? "" : ",\n";
        events_ += event;
    }

    void add_process(std::size_t process, const std::string& name) {
        add(
            fmt::format("{{\"ph\": \"M\", \"name\": \"process_name\", "
                        "\"pid\": {}, \"tid\": 0, \"args\": {{\"name\": {}}}}}",
                        process,
                        quote(name)));
        add(
            fmt::format("{{\"ph\": \"M\", \"name\": \"process_sort_index\", "
                        "\"pid\": {0}, \"tid\": 0, "
                        "\"args\": {{\"sort_index\": {0}}}}}",
                        process));
    }

    void add_span(const Span& span, std::size_t process) {
        const std::int64_t begin = to_ns(span.begin_s);
        std::string arguments;
        if (is_message(span)) {
            arguments =
                fmt::format(", \"args\": {{\"bytes\": {}, \"latency_us\": {}}}",
                            crossing_of(span, costs_).bytes_of(span.microbatch),
                            to_us(to_ns(span.end_s) - to_ns(span.sent_s)));
        }
        add(
            fmt::format("{{\"ph\": \"X\", \"name\": \"{}\", \"pid\": {}, "
                        "\"tid\": 0, \"ts\": {}, \"dur\": {}{}}}",
                        name_of(span),
                        process,
                        to_us(begin),
                        to_us(to_ns(span.sent_s) - begin),
                        arguments));
    }

    std::size_t link_of(const Span& span) const {
        const Crossing& crossing = crossing_of(span, costs_);
        const auto link =
            std::ranges::find_if(timeline_.links, [&](const LinkUse& use) {
                return use.from == crossing.from && use.to == crossing.to;
            });
        FUSIONLLM_EXPECTS(link != timeline_.links.end());
        return static_cast<std::size_t>(link - timeline_.links.begin());
    }

    const Timeline& timeline_;
    const StepCosts& costs_;
    std::string events_;
};

}  // namespace

std::string to_chrome_trace(const Timeline& timeline,
                            const StepCosts& costs,
                            const Network& network,
                            const std::vector<std::string>& stage_devices) {
    FUSIONLLM_EXPECTS(stage_devices.size() == timeline.busy_s.size());
    return TraceWriter(timeline, costs).write(network, stage_devices);
}

}  // namespace fusionllm
