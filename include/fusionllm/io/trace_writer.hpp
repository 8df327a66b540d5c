#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fusionllm {

enum class TraceKind {
    activation,
    gradient,
};

//! Of the finite elements of a record, 0 if there are none; counted of all.
struct TraceStatistics {
    double min = 0;
    double max = 0;
    double mean = 0;
    double rms = 0;            //!< root of the mean square
    double zero_fraction = 0;  //!< of all elements
    double kurtosis = 0;       //!< m4 / m2^2: 3 if normal, 0 if all are equal
    std::int64_t num_non_finite = 0;

    friend bool operator==(const TraceStatistics&,
                           const TraceStatistics&) = default;
};

TraceStatistics trace_statistics(std::span<const float> elements);

//! One tensor of a trace.
struct TraceRecord {
    std::string value;  //!< name of the boundary value
    TraceKind kind = TraceKind::activation;
    std::int64_t step = 1;         //!< counted from 1
    std::int64_t micro_batch = 0;  //!< counted from 0
    std::vector<std::int64_t> sizes;
    std::span<const float> elements;  //!< row-major
};

/*!
 * Writes the traced values of one stage to an HDF5 file, as they come.
 *
 * The file's root has the run's facts as attributes, and for each value and
 * kind a group VALUE/activation or VALUE/gradient with two datasets of equal
 * length that grow along the first axis: "data", f32 (records, sizes...), and
 * "records", a table with the columns step, micro_batch, min, max, mean, rms,
 * zero_fraction, kurtosis and num_non_finite. Both are chunked, shuffled and
 * deflated; nothing is rounded.
 *
 * All calls come from one thread, the one that makes all HDF5 calls of the
 * process. What was flushed outlives a crash. All throw `Error` with the
 * library's reason, and the destructor nothing.
 */
class TraceWriter {
public:
    /*!
     * Make the file, with its folders, in place of one that is there; but if
     * `after_step` is not 0, go on with it: the run does so from a checkpoint
     * of that step, and records of later steps are dropped.
     */
    TraceWriter(const std::filesystem::path& file,
                const std::map<std::string, std::string>& facts,
                std::int64_t after_step);
    ~TraceWriter();
    TraceWriter(TraceWriter&&) noexcept;
    TraceWriter& operator=(TraceWriter&&) noexcept;

    //! Sizes must be those of the earlier records of the value.
    void append(const TraceRecord& record);
    //! Hand what was appended to the operating system; once a step.
    void flush();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace fusionllm
