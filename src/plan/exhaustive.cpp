#include <limits>
#include <utility>
#include <vector>

#include "fusionllm/plan/partition.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

constexpr double most_placements = 2e7;

//! Ordered choices of `stages` devices times ways to cut the ops.
double count_placements(std::size_t num_devices, std::size_t num_ops) {
    double total = 0;
    double orders = 1;
    double cuts = 1;
    for (std::size_t stages = 1; stages <= num_devices && stages <= num_ops;
         ++stages) {
        orders *= static_cast<double>(num_devices - stages + 1);
        if (stages > 1) {
            cuts *= static_cast<double>(num_ops - stages + 1) /
                    static_cast<double>(stages - 1);
        }
        total += orders * cuts;
    }
    return total;
}

//! Tries every device and every end for each next stage.
class Enumeration {
public:
    Enumeration(const CostModel& model, const PlannerOptions& options)
        : model_(model), options_(options), is_used_(model.num_devices(), 0) {}

    Placement run() {
        extend(0);
        return best_;
    }

private:
    void extend(std::size_t begin) {
        for (std::size_t d = 0; d < is_used_.size(); ++d) {
            if (is_used_[d] != 0) {
                continue;
            }
            is_used_[d] = 1;
            for (std::size_t end = begin + 1; end <= model_.num_ops(); ++end) {
                placement_.stages.push_back(
                    {{begin, end}, {DeviceId(static_cast<std::uint32_t>(d))}});
                if (end == model_.num_ops()) {
                    finish();
                } else {
                    extend(end);
                }
                placement_.stages.pop_back();
            }
            is_used_[d] = 0;
        }
    }

    void finish() {
        const double seconds = estimate_step_s(model_, placement_, options_);
        if (seconds < best_s_) {
            best_s_ = seconds;
            best_ = placement_;
        }
    }

    const CostModel& model_;
    const PlannerOptions& options_;
    std::vector<char> is_used_;
    Placement placement_;
    Placement best_;
    double best_s_ = std::numeric_limits<double>::infinity();
};

}  // namespace

Placement place_exhaustive(const CostModel& model,
                           const PlannerOptions& options) {
    const double count = count_placements(model.num_devices(), model.num_ops());
    FUSIONLLM_VALIDATE(count <= most_placements,
                       "the partition \"exhaustive\" would try {:.2g} "
                       "placements of {} ops on {} devices, at most {:.2g} are "
                       "sensible; take \"op_fence\"",
                       count,
                       model.num_ops(),
                       model.num_devices(),
                       most_placements);
    Placement best = Enumeration(model, options).run();
    FUSIONLLM_VALIDATE(!best.stages.empty(),
                       "no placement of {} ops fits the memory of {} devices; "
                       "try smaller micro-batches or larger devices",
                       model.num_ops(),
                       model.num_devices());
    return best;
}

}  // namespace fusionllm
