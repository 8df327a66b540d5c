#include "app/json_text.hpp"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace fusionllm {
namespace {

std::string number(double value) {
    return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

nlohmann::ordered_json json_number(const std::optional<double>& value) {
    return value && std::isfinite(*value) ? nlohmann::ordered_json(*value)
                                          : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::string to_json(const StepMetrics& metrics,
                    const std::vector<FenceLine>& fences,
                    std::optional<double> shaped_step_s) {
    std::string json = fmt::format(R"({{"step":{})", metrics.step);
    if (metrics.has_numbers) {
        json += fmt::format(R"(,"loss":{},"learning_rate":{},"grad_norm":{})",
                            number(metrics.loss),
                            number(metrics.learning_rate),
                            number(metrics.grad_norm));
    }
    json += fmt::format(R"(,"step_s":{},"tokens_per_s":{})",
                        number(metrics.step_s),
                        number(metrics.tokens_per_s));
    if (metrics.validation_loss) {
        json += fmt::format(R"(,"validation_loss":{})",
                            number(*metrics.validation_loss));
    }
    if (metrics.validation_loss_without_codecs) {
        json += fmt::format(R"(,"validation_loss_codec_off":{})",
                            number(*metrics.validation_loss_without_codecs));
    }
    if (metrics.validation_accuracy) {
        json += fmt::format(R"(,"validation_accuracy":{})",
                            number(*metrics.validation_accuracy));
    }
    if (metrics.validation_accuracy_without_codecs) {
        json +=
            fmt::format(R"(,"validation_accuracy_codec_off":{})",
                        number(*metrics.validation_accuracy_without_codecs));
    }
    if (metrics.emulated_step_s) {
        json += fmt::format(R"(,"emulated_step_s":{},"emulated_s":{})",
                            number(*metrics.emulated_step_s),
                            number(metrics.emulated_s.value_or(0)));
    }
    if (shaped_step_s) {
        json += fmt::format(R"(,"shaped_step_s":{})", number(*shaped_step_s));
    }
    if (!metrics.skipped.empty()) {
        json += fmt::format(R"(,"skipped":{})",
                            nlohmann::json(metrics.skipped).dump());
    }
    if (!fences.empty()) {
        json += fmt::format(R"(,"fences":{})", to_json(fences));
    }
    return json + "}";
}

std::string to_json(const std::vector<FenceLine>& lines) {
    auto json = nlohmann::ordered_json::array();
    for (const FenceLine& line : lines) {
        json.push_back({{"cut", line.report.cut},
                        {"value", line.value},
                        {"direction", name_of(line.report.direction)},
                        {"link", line.link},
                        {"codec", line.codec},
                        {"element_ratio", line.element_ratio},
                        {"byte_ratio", line.byte_ratio},
                        {"bytes", line.report.bytes},
                        {"error", json_number(line.report.error)},
                        {"cosine", json_number(line.report.cosine)},
                        {"encode_s", line.report.encode_s},
                        {"decode_s", line.report.decode_s},
                        {"saved_s", line.saved_s}});
        if (line.report.link_bytes_per_s) {
            json.back()["link_bytes_per_s"] = *line.report.link_bytes_per_s;
        }
    }
    return json.dump();
}

std::string to_json(const FenceChange& change) {
    nlohmann::ordered_json json{{"step", change.step},
                                {"version", change.version},
                                {"fences", nlohmann::json::array()}};
    for (const Fence& fence : change.fences) {
        json["fences"].push_back({{"cut", fence.cut},
                                  {"value", fence.value.get()},
                                  {"codec", to_text(fence.codec)}});
    }
    return json.dump();
}

FenceChange parse_fence_change(const std::string& line) {
    const auto json = nlohmann::json::parse(line);
    FenceChange change;
    change.step = json.at("step").get<std::int64_t>();
    change.version = json.at("version").get<std::int64_t>();
    for (const auto& entry : json.at("fences")) {
        Fence fence;
        fence.cut = entry.at("cut").get<std::size_t>();
        fence.value = ValueId(entry.at("value").get<std::uint32_t>());
        fence.codec =
            parse_codec_choice(entry.at("codec").get<std::string>(), 1);
        change.fences.push_back(fence);
    }
    return change;
}

std::optional<std::int64_t> step_of_metrics(const std::string& line) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") ||
        !json["step"].is_number_integer()) {
        return std::nullopt;
    }
    return json["step"].get<std::int64_t>();
}

std::optional<double> emulated_s_of_metrics(const std::string& line) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("emulated_s") ||
        !json["emulated_s"].is_number()) {
        return std::nullopt;
    }
    return json["emulated_s"].get<double>();
}

std::string to_json(const PlannedStep& step, const PlanReport& report) {
    const Plan& plan = step.plan;
    nlohmann::ordered_json json;
    json["step_s"] = step.timeline.makespan_s;
    json["samples_per_s"] = report.samples_per_s;
    json["parts"] = {{"compute_s", report.parts.compute_s},
                     {"bubble_s", report.parts.bubble_s},
                     {"links_s", report.parts.links_s},
                     {"exchange_s", report.parts.exchange_s}};
    json["bubble"] = report.bubble;
    json["more_steps_for_errors"] = report.more_steps;
    json["bottleneck"] = report.bottleneck.name;
    json["bottleneck_share"] = report.bottleneck.share;
    json["schedule"] = plan.schedule;
    json["recompute"] = plan.recompute == Recompute::on ? "on" : "off";
    json["micro_batches"] = plan.micro_batches;
    json["in_flight"] = plan.in_flight;
    json["groups"] = nlohmann::json::array();
    for (const DeviceGroup& group : plan.groups) {
        nlohmann::ordered_json entry{{"name", group.name}};
        for (const DeviceId device : group.devices) {
            entry["devices"].push_back(device.get());
        }
        json["groups"].push_back(entry);
    }
    json["stages"] = nlohmann::json::array();
    for (std::size_t i = 0; i < report.stages.size(); ++i) {
        const StageReport& stage = report.stages[i];
        nlohmann::ordered_json entry;
        for (const DeviceId device : plan.placement.stages[i].devices) {
            entry["devices"].push_back(device.get());
        }
        entry["ops"] = stage.num_ops;
        entry["parameters"] = stage.parameters;
        entry["flops"] = stage.flops;
        entry["memory_bytes"] = stage.memory_bytes;
        entry["device_memory_bytes"] = stage.device_memory_bytes;
        entry["in_flight"] = stage.in_flight;
        entry["compute_s"] = stage.compute_s;
        entry["send_bytes"] = stage.send_bytes;
        json["stages"].push_back(entry);
    }
    json["links"] = nlohmann::json::array();
    for (const LinkUse& use : step.timeline.links) {
        json["links"].push_back({{"from", use.from.get()},
                                 {"to", use.to.get()},
                                 {"bytes", use.bytes},
                                 {"busy_s", use.busy_s}});
    }
    json["fences"] = nlohmann::json::array();
    for (const PlannedFence& fence : report.fences) {
        json["fences"].push_back({{"cut", fence.cut},
                                  {"value", fence.value.get()},
                                  {"name", fence.name},
                                  {"link", fence.link},
                                  {"codec", fence.codec},
                                  {"forward", fence.forward.codec},
                                  {"backward", fence.backward.codec},
                                  {"element_ratio", fence.element_ratio},
                                  {"byte_ratio", fence.byte_ratio},
                                  {"forward_error", fence.forward.error},
                                  {"backward_error", fence.backward.error},
                                  {"dense_bytes", fence.dense_bytes},
                                  {"forward_bytes", fence.forward.bytes},
                                  {"backward_bytes", fence.backward.bytes},
                                  {"dense_transfer_s", fence.dense_transfer_s},
                                  {"transfer_s", fence.transfer_s},
                                  {"codec_s", fence.codec_s}});
    }
    json["unused_devices"] = report.unused;
    json["ops_by_bytes"] = report.ops_by_bytes;
    return json.dump(2);
}

std::optional<StoredLosses> losses_of_metrics(const std::string& line) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const auto number = [&](const char* key) -> std::optional<double> {
        return json.contains(key) && json[key].is_number()
                   ? std::optional(json[key].get<double>())
                   : std::nullopt;
    };
    if (!json.is_object() || !number("step")) {
        return std::nullopt;
    }
    const StoredLosses losses{json["step"].get<std::int64_t>(),
                              number("validation_loss"),
                              number("validation_loss_codec_off")};
    return losses.with_codecs || losses.without_codecs ? std::optional(losses)
                                                       : std::nullopt;
}

std::string pack_texts(const std::vector<std::string>& texts) {
    return nlohmann::json(texts).dump();
}

std::vector<std::string> unpack_texts(const std::string& packed) {
    return nlohmann::json::parse(packed).get<std::vector<std::string>>();
}

}  // namespace fusionllm
