#include "app/json_text.hpp"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace fusionllm {
namespace {

std::string number(double value) {
    return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

}  // namespace

std::string to_json(const StepMetrics& metrics) {
    std::string json = fmt::format(
        R"({{"step":{},"loss":{},"learning_rate":{},"grad_norm":{},)"
        R"("step_s":{},"tokens_per_s":{})",
        metrics.step,
        number(metrics.loss),
        number(metrics.learning_rate),
        number(metrics.grad_norm),
        number(metrics.step_s),
        number(metrics.tokens_per_s));
    if (metrics.validation_loss) {
        json += fmt::format(R"(,"validation_loss":{})",
                            number(*metrics.validation_loss));
    }
    if (!metrics.skipped.empty()) {
        json += fmt::format(R"(,"skipped":{})",
                            nlohmann::json(metrics.skipped).dump());
    }
    return json + "}";
}

std::optional<std::int64_t> step_of_metrics(const std::string& line) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") ||
        !json["step"].is_number_integer()) {
        return std::nullopt;
    }
    return json["step"].get<std::int64_t>();
}

std::string to_json(const Plan& plan, const std::vector<StageReport>& stages) {
    nlohmann::ordered_json json;
    json["step_s"] = nullptr;  // comes with the simulator
    json["bottleneck"] = nullptr;
    json["groups"] = nlohmann::json::array();
    for (const DeviceGroup& group : plan.groups) {
        nlohmann::ordered_json entry{{"name", group.name}};
        for (const DeviceId device : group.devices) {
            entry["devices"].push_back(device.get());
        }
        json["groups"].push_back(entry);
    }
    json["stages"] = nlohmann::json::array();
    for (std::size_t i = 0; i < stages.size(); ++i) {
        nlohmann::ordered_json entry;
        for (const DeviceId device : plan.placement.stages[i].devices) {
            entry["devices"].push_back(device.get());
        }
        entry["ops"] = stages[i].num_ops;
        entry["parameters"] = stages[i].parameters;
        entry["flops"] = stages[i].flops;
        entry["memory_bytes"] = stages[i].memory_bytes;
        entry["compute_s"] = stages[i].compute_s;
        entry["send_bytes"] = stages[i].send_bytes;
        json["stages"].push_back(entry);
    }
    return json.dump(2);
}

std::string pack_texts(const std::vector<std::string>& texts) {
    return nlohmann::json(texts).dump();
}

std::vector<std::string> unpack_texts(const std::string& packed) {
    return nlohmann::json::parse(packed).get<std::vector<std::string>>();
}

}  // namespace fusionllm
