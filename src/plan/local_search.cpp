#include "fusionllm/plan/local_search.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

namespace fusionllm {
namespace {

// A change must gain more than rounding.
constexpr double least_gain = 1e-9;
constexpr std::size_t longest_move = 64;
// Devices without a stage that are tried in each stage's place.
constexpr std::size_t max_spare_devices = 16;

class LocalSearch {
public:
    LocalSearch(Placement placement,
                std::size_t num_devices,
                const Evaluate& evaluate,
                std::size_t max_evaluations)
        : best_(std::move(placement)),
          num_devices_(num_devices),
          evaluate_(evaluate),
          left_(max_evaluations),
          seconds_(evaluate(best_, std::numeric_limits<double>::infinity())) {}

    Placement run() {
        for (bool has_improved = true; has_improved && left_ > 0;) {
            has_improved = false;
            for (std::size_t s = 0; s < best_.stages.size(); ++s) {
                has_improved |= move_cut(s);
                has_improved |= swap_with_next(s);
                has_improved |= use_spare_device(s);
                has_improved |= drop_stage(s);
            }
        }
        return best_;
    }

private:
    bool take_if_better(const Placement& candidate) {
        if (left_ == 0) {
            return false;
        }
        --left_;
        const double limit_s = seconds_ * (1 - least_gain);
        const double seconds = evaluate_(candidate, limit_s);
        if (!(seconds < limit_s)) {
            return false;
        }
        seconds_ = seconds;
        best_ = candidate;
        return true;
    }

    //! The cut at the end of the stage.
    bool move_cut(std::size_t s) {
        bool has_improved = false;
        for (std::size_t length = 1; length <= longest_move; length *= 2) {
            for (const bool is_forward : {true, false}) {
                if (s + 1 >= best_.stages.size()) {
                    return has_improved;
                }
                Placement candidate = best_;
                OpRange& ops = candidate.stages[s].ops;
                OpRange& next = candidate.stages[s + 1].ops;
                if ((is_forward ? next.size() : ops.size()) <= length) {
                    continue;
                }
                ops.end = is_forward ? ops.end + length : ops.end - length;
                next.begin = ops.end;
                has_improved |= take_if_better(candidate);
            }
        }
        return has_improved;
    }

    bool swap_with_next(std::size_t s) {
        if (s + 1 >= best_.stages.size() ||
            best_.stages[s].devices == best_.stages[s + 1].devices) {
            return false;
        }
        Placement candidate = best_;
        std::swap(candidate.stages[s].devices, candidate.stages[s + 1].devices);
        return take_if_better(candidate);
    }

    bool use_spare_device(std::size_t s) {
        std::vector<char> is_used(num_devices_, 0);
        for (const StagePlacement& stage : best_.stages) {
            is_used[stage.devices.at(0).get()] = 1;
        }
        std::size_t num_tried = 0;
        for (std::size_t d = 0;
             d < num_devices_ && num_tried < max_spare_devices;
             ++d) {
            if (is_used[d] != 0) {
                continue;
            }
            ++num_tried;
            Placement candidate = best_;
            candidate.stages[s].devices = {
                DeviceId(static_cast<std::uint32_t>(d))};
            if (take_if_better(candidate)) {
                return true;
            }
        }
        return false;
    }

    //! Its ops go to the stage before or to the one after.
    bool drop_stage(std::size_t s) {
        const std::size_t size = best_.stages.size();
        for (const bool is_to_next : {true, false}) {
            if (s >= size || size == 1 ||
                (is_to_next ? s + 1 == size : s == 0)) {
                continue;
            }
            Placement candidate = best_;
            const OpRange ops = candidate.stages[s].ops;
            if (is_to_next) {
                candidate.stages[s + 1].ops.begin = ops.begin;
            } else {
                candidate.stages[s - 1].ops.end = ops.end;
            }
            candidate.stages.erase(candidate.stages.begin() +
                                   static_cast<std::ptrdiff_t>(s));
            if (take_if_better(candidate)) {
                return true;
            }
        }
        return false;
    }

    Placement best_;
    std::size_t num_devices_;
    const Evaluate& evaluate_;
    std::size_t left_;
    double seconds_;
};

}  // namespace

Placement improve_placement(Placement placement,
                            std::size_t num_devices,
                            const Evaluate& evaluate,
                            std::size_t max_evaluations) {
    return LocalSearch(
               std::move(placement), num_devices, evaluate, max_evaluations)
        .run();
}

}  // namespace fusionllm
