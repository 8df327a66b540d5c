#include "app/plan_fences.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "fusionllm/plan/codec_error.hpp"
#include "fusionllm/util/text.hpp"
#include "fusionllm/util/units.hpp"
#include "fusionllm/wire/message_header.hpp"

namespace fusionllm {
namespace {

FenceWay make_way(const CodecChoice& codec,
                  const MatrixShape& shape,
                  Direction direction,
                  RowsOf rows) {
    const CodecSpec spec = resolve(codec, shape).of(direction);
    return {to_text(spec),
            static_cast<double>(encoded_message_bytes(spec, shape)),
            prior_error(codec, direction, rows)};
}

//! The devices of the stages before and after the cut, or of the one it is in.
std::pair<DeviceId, DeviceId> devices_at(const Placement& placement,
                                         std::size_t cut) {
    const auto& stages = placement.stages;
    const auto before = std::ranges::lower_bound(
        stages, cut, {}, [](const auto& stage) { return stage.ops.end; });
    const auto after = before->ops.end == cut ? before + 1 : before;
    return {before->devices.at(0), after->devices.at(0)};
}

}  // namespace

std::vector<PlannedFence> report_fences(const Job& job, const Plan& plan) {
    const Network& network = job.model.network();
    const ErrorTable errors(job.graph);
    std::vector<PlannedFence> lines;
    for (const Fence& fence : plan.fences) {
        const MatrixShape shape = shape_of(job.graph, fence.value);
        const auto [sender, receiver] = devices_at(plan.placement, fence.cut);
        PlannedFence line;
        line.cut = fence.cut;
        line.value = fence.value;
        line.name = job.graph.value(fence.value).name;
        line.codec = to_text(fence.codec);
        line.element_ratio = fence.codec.element_ratio;
        line.byte_ratio = byte_ratio(fence.codec, shape);
        line.dense_bytes = static_cast<double>(
            dense_message_bytes(job.graph.value(fence.value).type));
        const RowsOf rows = errors.rows_of(fence.value);
        line.forward = make_way(fence.codec, shape, Direction::forward, rows);
        line.backward = make_way(fence.codec, shape, Direction::backward, rows);
        const auto codec_s = [&](Direction way, DeviceId from, DeviceId to) {
            return job.model.codec_s(from,
                                     encode_work(fence.codec, shape, way)) +
                   job.model.codec_s(to, decode_work(fence.codec, shape, way));
        };
        line.codec_s = codec_s(Direction::forward, sender, receiver) +
                       codec_s(Direction::backward, receiver, sender);
        if (sender != receiver) {
            const Link there = network.link(sender, receiver);
            const Link back = network.link(receiver, sender);
            line.link = network.name(sender, receiver);
            line.dense_transfer_s = transfer_s(there, line.dense_bytes) +
                                    transfer_s(back, line.dense_bytes);
            line.transfer_s = transfer_s(there, line.forward.bytes) +
                              transfer_s(back, line.backward.bytes);
        }
        lines.push_back(std::move(line));
    }
    return lines;
}

std::string describe_fences(const std::vector<PlannedFence>& fences) {
    if (fences.empty()) {
        return "";
    }
    std::vector<std::vector<std::string>> rows;
    for (const PlannedFence& fence : fences) {
        rows.push_back(
            {fmt::format("{}", fence.cut),
             fence.name,
             fence.link.empty() ? "inside a stage" : fence.link,
             fence.codec,
             fmt::format("{:.3g}", fence.byte_ratio),
             fmt::format(
                 "{:.2g} {:.2g}", fence.forward.error, fence.backward.error),
             format_bytes(fence.dense_bytes),
             format_bytes(fence.forward.bytes),
             format_bytes(fence.backward.bytes),
             fence.link.empty() ? "-" : format_seconds(fence.dense_transfer_s),
             fence.link.empty() ? "-" : format_seconds(fence.transfer_s),
             format_seconds(fence.codec_s)});
    }
    return format_table({"fence at cut",
                         "value",
                         "link",
                         "codec",
                         "byte ratio",
                         "typical error",
                         "dense",
                         "forward",
                         "backward",
                         "on the link dense",
                         "encoded",
                         "encode, decode"},
                        rows);
}

}  // namespace fusionllm
