#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "fusionllm/plan/contiguous_partition.hpp"

#include "cut_levels.hpp"

namespace fusionllm::detail {

//! What no stage and no link may exceed, in seconds of a micro-batch.
struct Bounds {
    double forward_s = std::numeric_limits<double>::infinity();
    double backward_s = std::numeric_limits<double>::infinity();
    //! Forward and backward of a stage together; each direction of a link.
    double total_s = std::numeric_limits<double>::infinity();
};

//! Positions in the order of devices and in the list of cuts.
struct SolvedStage {
    std::size_t device = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
};

//! A partition, and what its formula is made of (see `Objective`).
struct Solution {
    std::vector<SolvedStage> stages;
    double sum_s = 0;
    double most_forward_s = 0;
    double most_backward_s = 0;
    double most_s = 0;
};

/*!
 * The least sum of all terms of a partition under given bounds, by dynamic
 * programming from the last stage to the first.
 *
 * State: the device of a stage and where it begins; in exact mode with limited
 * memory also the number of stages from it to the end.
 */
class BoundedPartition {
public:
    BoundedPartition(const CostModel& model, const PartitionTask& task);

    std::optional<Solution> solve(const Bounds& bounds);

    //! Every value that a bound can have, ascending; for exact searches.
    std::vector<double> stage_bounds() const;
    std::vector<double> forward_bounds() const;
    std::vector<double> backward_bounds() const;
    //! No partition has a smaller sum: every op on the device that it suits.
    double least_sum_s() const;
    std::size_t num_devices() const { return kind_.size(); }
    //! Backward seconds of all ops over forward ones; 1 if there are none.
    double backward_ratio() const;

private:
    //! Seconds on one kind of device: a stage from cut i to cut j takes
    //! `end[j] - begin[i]`, of which `before[j] - before[i]` are its ops'.
    struct Sweep {
        std::vector<double> begin;
        std::vector<double> end;
        std::vector<double> before;

        double seconds(std::size_t i, std::size_t j) const {
            return end[j] - begin[i];
        }
        double op_seconds(std::size_t i, std::size_t j) const {
            return before[j] - before[i];
        }
    };
    struct Kind {
        DeviceId sample{0};  // a device of the kind
        Sweep forward;
        Sweep backward;
        Sweep total;
        std::map<int, std::vector<std::size_t>> ends_that_fit;  // by in flight
        std::vector<int> max_in_flight;  // [i * P + j], in exact mode
        double s_per_copied_byte = 0;
        double s_per_flop = 0;
    };
    struct Pair {
        Link forward;
        Link backward;
        double forward_s_per_byte = 0;
        double backward_s_per_byte = 0;
        //! In both directions.
        double latency_s(const CutLevel& level) const {
            return fusionllm::latency_s(forward, level.forward_bytes) +
                   fusionllm::latency_s(backward, level.backward_bytes);
        }
    };
    //! One table of the dynamic program, by [device * P + position].
    struct Table {
        std::vector<double> tail_s;       // from this stage to the end
        std::vector<std::uint32_t> end;   // where the stage ends
        std::vector<std::uint32_t> next;  // device of the stage that begins
        std::vector<std::uint8_t> level;  // of the cut between them
    };

    std::size_t num_cuts() const { return positions_.size(); }
    std::size_t num_layers() const { return tables_.size(); }
    const Pair& pair(std::size_t from, std::size_t to) const {
        return pairs_[from * max_skip_ + (to - from - 1)];
    }
    void add_kinds(const PartitionTask& task);
    void add_pairs(const PartitionTask& task);
    double codec_s(const Kind& from,
                   const Kind& to,
                   const CutLevel& level) const;
    Sweep make_sweep(DeviceId sample, ActionKind direction) const;
    static Sweep add(const Sweep& a, const Sweep& b);
    void fill_exits(std::size_t layer,
                    std::size_t device,
                    const Bounds& bounds);
    void fill_tails(std::size_t layer,
                    std::size_t device,
                    const Bounds& bounds);
    const std::vector<std::size_t>* ends_that_fit(Kind& kind,
                                                  int in_flight) const;
    int in_flight(std::size_t layer, std::size_t device) const;
    Solution trace(std::size_t layer, std::size_t device) const;
    template <class Stage, class Link>
    std::vector<double> collect(Stage stage, Link link) const;

    const CostModel& model_;
    bool is_exact_;
    bool is_interleaved_;
    bool has_memory_limit_ = false;
    MemoryNeed memory_;
    DeviceUse use_;
    int micro_batches_;
    bool looks_further_;        // than the mildest level under a bound
    std::size_t max_skip_ = 1;  // the next stage is at most so many further
    std::vector<std::size_t> positions_;
    CutLevels levels_;
    std::vector<std::size_t> kind_;  // by device, into kinds_
    std::vector<Kind> kinds_;
    std::vector<Pair> pairs_;
    std::vector<double> exit_s_;  // by position, of the device at hand
    std::vector<Table> tables_;   // by layer: stages to the end, less one
};

}  // namespace fusionllm::detail
