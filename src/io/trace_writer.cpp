#include "fusionllm/io/trace_writer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/ranges.h>

#include "fusionllm/util/error.hpp"

#include "hdf5.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;
using detail::hdf5_call;
using detail::Hdf5Handle;

constexpr const char* format_name = "fusionllm trace 1";
constexpr hsize_t rows_per_chunk = 256;
// HDF5 keeps a megabyte of chunks a dataset; larger ones are never cached.
constexpr hsize_t max_chunk_bytes = 1 << 20;
// Higher levels are several times as slow and a percent smaller.
constexpr unsigned deflate_level = 1;

//! A row of "records", as it lies in the file and in memory.
struct Row {
    std::int64_t step;
    std::int64_t micro_batch;
    TraceStatistics statistics;
};

Hdf5Handle make_row_type() {
    Hdf5Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Row)), H5Tclose);
    const auto add = [&](const char* name, std::size_t offset, hid_t stored) {
        H5Tinsert(type.get(), name, offset, stored);
    };
    const auto of_statistics = [&](const char* name, std::size_t offset) {
        add(name, offsetof(Row, statistics) + offset, H5T_IEEE_F64LE);
    };
    add("step", offsetof(Row, step), H5T_STD_I64LE);
    add("micro_batch", offsetof(Row, micro_batch), H5T_STD_I64LE);
    of_statistics("min", offsetof(TraceStatistics, min));
    of_statistics("max", offsetof(TraceStatistics, max));
    of_statistics("mean", offsetof(TraceStatistics, mean));
    of_statistics("rms", offsetof(TraceStatistics, rms));
    of_statistics("zero_fraction", offsetof(TraceStatistics, zero_fraction));
    of_statistics("kurtosis", offsetof(TraceStatistics, kurtosis));
    add("num_non_finite",
        offsetof(Row, statistics) + offsetof(TraceStatistics, num_non_finite),
        H5T_STD_I64LE);
    return type;
}

//! Of one record: halved along the longest axes until it fits the cache.
std::vector<hsize_t> chunk_sizes(const std::vector<std::int64_t>& sizes) {
    std::vector<hsize_t> chunk{1};
    hsize_t bytes = sizeof(float);
    for (const std::int64_t size : sizes) {
        chunk.push_back(std::max<hsize_t>(size, 1));
        bytes *= chunk.back();
    }
    while (bytes > max_chunk_bytes) {
        hsize_t& longest = *std::ranges::max_element(chunk);
        bytes = bytes / longest * ((longest + 1) / 2);
        longest = (longest + 1) / 2;
    }
    return chunk;
}

//! A dataset of no records yet, whose first axis grows.
Hdf5Handle create_growing(hid_t group,
                          const char* name,
                          hid_t type,
                          std::vector<hsize_t> sizes,
                          const std::vector<hsize_t>& chunk,
                          const fs::path& file) {
    const auto num_axes = static_cast<int>(sizes.size());
    std::vector<hsize_t> limits = sizes;
    limits[0] = H5S_UNLIMITED;
    sizes[0] = 0;
    const Hdf5Handle space(
        H5Screate_simple(num_axes, sizes.data(), limits.data()), H5Sclose);
    const Hdf5Handle options(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const std::string doing = fmt::format("create the dataset '{}'", name);
    hdf5_call(H5Pset_chunk(options.get(), num_axes, chunk.data()), doing, file);
    hdf5_call(H5Pset_shuffle(options.get()), doing, file);
    hdf5_call(H5Pset_deflate(options.get(), deflate_level), doing, file);
    return {hdf5_call(H5Dcreate2(group,
                                 name,
                                 type,
                                 space.get(),
                                 H5P_DEFAULT,
                                 options.get(),
                                 H5P_DEFAULT),
                      doing,
                      file),
            H5Dclose};
}

std::vector<hsize_t> extent_of(hid_t dataset) {
    const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
    std::vector<hsize_t> sizes(
        static_cast<std::size_t>(H5Sget_simple_extent_ndims(space.get())));
    H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr);
    return sizes;
}

void resize(hid_t dataset, hsize_t num_records, const fs::path& file) {
    std::vector<hsize_t> sizes = extent_of(dataset);
    sizes[0] = num_records;
    hdf5_call(H5Dset_extent(dataset, sizes.data()), "grow a dataset", file);
}

//! Put one record behind the others.
void append_to(hid_t dataset,
               hid_t type,
               hsize_t number,
               const void* record,
               const fs::path& file) {
    resize(dataset, number + 1, file);
    std::vector<hsize_t> count = extent_of(dataset);
    std::vector<hsize_t> start(count.size(), 0);
    start[0] = number;
    count[0] = 1;
    const auto num_axes = static_cast<int>(count.size());
    const Hdf5Handle place(H5Dget_space(dataset), H5Sclose);
    const Hdf5Handle source(H5Screate_simple(num_axes, count.data(), nullptr),
                            H5Sclose);
    const std::string doing = "write a record";
    hdf5_call(H5Sselect_hyperslab(place.get(),
                                  H5S_SELECT_SET,
                                  start.data(),
                                  nullptr,
                                  count.data(),
                                  nullptr),
              doing,
              file);
    hdf5_call(
        H5Dwrite(dataset, type, source.get(), place.get(), H5P_DEFAULT, record),
        doing,
        file);
}

void write_text(hid_t object,
                const std::string& name,
                const std::string& text,
                const fs::path& file) {
    const std::string doing = "write the attribute '" + name + "'";
    const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), std::max<std::size_t>(text.size(), 1));
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
    const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    if (H5Aexists(object, name.c_str()) > 0) {
        hdf5_call(H5Adelete(object, name.c_str()), doing, file);
    }
    const Hdf5Handle attribute(hdf5_call(H5Acreate2(object,
                                                    name.c_str(),
                                                    type.get(),
                                                    space.get(),
                                                    H5P_DEFAULT,
                                                    H5P_DEFAULT),
                                         doing,
                                         file),
                               H5Aclose);
    hdf5_call(H5Awrite(attribute.get(), type.get(), text.c_str()), doing, file);
}

//! The records of one value and kind.
struct Series {
    Hdf5Handle data;
    Hdf5Handle rows;
    hsize_t num_records = 0;
};

Hdf5Handle open_dataset(hid_t file_id,
                        const std::string& name,
                        const fs::path& file) {
    return {hdf5_call(H5Dopen2(file_id, name.c_str(), H5P_DEFAULT),
                      "open the dataset '" + name + "'",
                      file),
            H5Dclose};
}

//! Drop the records after a step. Steps ascend, as a run writes them.
void truncate(Series& series,
              hid_t row_type,
              std::int64_t after_step,
              const fs::path& file) {
    std::vector<Row> rows(extent_of(series.rows.get()).at(0));
    if (!rows.empty()) {
        hdf5_call(H5Dread(series.rows.get(),
                          row_type,
                          H5S_ALL,
                          H5S_ALL,
                          H5P_DEFAULT,
                          rows.data()),
                  "read the records",
                  file);
    }
    const auto end = std::ranges::find_if(
        rows, [&](const Row& row) { return row.step > after_step; });
    // A crash between the two datasets leaves one longer than the other.
    series.num_records =
        std::min<hsize_t>(static_cast<hsize_t>(end - rows.begin()),
                          extent_of(series.data.get()).at(0));
    resize(series.rows.get(), series.num_records, file);
    resize(series.data.get(), series.num_records, file);
}

//! "VALUE/activation" of every pair of datasets in the file.
std::vector<std::string> find_series(hid_t file_id, const fs::path& file) {
    std::vector<std::string> names;
    const auto visit =
        [](hid_t, const char* name, const H5O_info_t*, void* found) -> herr_t {
        constexpr std::string_view suffix = "/records";
        const std::string_view text = name;
        if (text.ends_with(suffix)) {
            static_cast<std::vector<std::string>*>(found)->emplace_back(
                text.substr(0, text.size() - suffix.size()));
        }
        return 0;
    };
    hdf5_call(H5Ovisit(file_id, H5_INDEX_NAME, H5_ITER_INC, visit, &names),
              "list the records",
              file);
    return names;
}

Hdf5Handle open_file(const fs::path& file, bool goes_on) {
    const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const hid_t id =
        goes_on
            ? H5Fopen(file.c_str(), H5F_ACC_RDWR, access.get())
            : H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
    return {hdf5_call(id,
                      goes_on ? "go on with the trace (remove the file to "
                                "start another)"
                              : "create the trace",
                      file),
            H5Fclose};
}

void make_folder(const fs::path& file) {
    std::error_code error;
    fs::create_directories(fs::absolute(file).parent_path(), error);
    if (error) {
        throw Error(fmt::format("cannot make the folder of the trace '{}': {}",
                                file.string(),
                                error.message()));
    }
}

std::string series_name(const TraceRecord& record) {
    return record.value +
           (record.kind == TraceKind::activation ? "/activation" : "/gradient");
}

}  // namespace

TraceStatistics trace_statistics(std::span<const float> elements) {
    TraceStatistics result;
    std::int64_t num_finite = 0;
    std::int64_t num_zeros = 0;
    double sum = 0;
    double sum_of_squares = 0;
    result.min = std::numeric_limits<double>::infinity();
    result.max = -result.min;
    for (const double x : elements) {
        if (!std::isfinite(x)) {
            ++result.num_non_finite;
            continue;
        }
        ++num_finite;
        num_zeros += x == 0 ? 1 : 0;
        sum += x;
        sum_of_squares += x * x;
        result.min = std::min(result.min, x);
        result.max = std::max(result.max, x);
    }
    if (num_finite == 0) {
        return {.num_non_finite = result.num_non_finite};
    }
    const auto count = static_cast<double>(num_finite);
    result.mean = sum / count;
    result.rms = std::sqrt(sum_of_squares / count);
    result.zero_fraction =
        static_cast<double>(num_zeros) / static_cast<double>(elements.size());
    double second = 0;
    double fourth = 0;
    for (const double x : elements) {
        if (std::isfinite(x)) {
            const double square = (x - result.mean) * (x - result.mean);
            second += square;
            fourth += square * square;
        }
    }
    result.kurtosis = second > 0 ? count * fourth / (second * second) : 0;
    return result;
}

struct TraceWriter::State {
    fs::path file;
    Hdf5Handle row_type;
    Hdf5Handle opened;
    std::map<std::string, Series> series;  // by name; closed before the file
    bool is_flushed = true;

    Series& series_of(const TraceRecord& record);
};

Series& TraceWriter::State::series_of(const TraceRecord& record) {
    const std::string name = series_name(record);
    auto [found, is_new] = series.try_emplace(name);
    std::vector<hsize_t> sizes{0};
    sizes.insert(sizes.end(), record.sizes.begin(), record.sizes.end());
    if (is_new) {
        const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
        H5Pset_create_intermediate_group(links.get(), 1);
        const Hdf5Handle group(hdf5_call(H5Gcreate2(opened.get(),
                                                    name.c_str(),
                                                    links.get(),
                                                    H5P_DEFAULT,
                                                    H5P_DEFAULT),
                                         "create the group '" + name + "'",
                                         file),
                               H5Gclose);
        found->second.data = create_growing(group.get(),
                                            "data",
                                            H5T_IEEE_F32LE,
                                            sizes,
                                            chunk_sizes(record.sizes),
                                            file);
        found->second.rows = create_growing(group.get(),
                                            "records",
                                            row_type.get(),
                                            {0},
                                            {rows_per_chunk},
                                            file);
    }
    std::vector<hsize_t> known = extent_of(found->second.data.get());
    sizes[0] = known[0];
    if (known != sizes) {
        throw Error(fmt::format(
            "the traced value '{}' has the sizes ({}) in step {}, but had "
            "others before; a trace holds values of one size",
            name,
            fmt::join(record.sizes, ", "),
            record.step));
    }
    return found->second;
}

TraceWriter::TraceWriter(const fs::path& file,
                         const std::map<std::string, std::string>& facts,
                         std::int64_t after_step)
    : state_(std::make_unique<State>()) {
    const detail::Hdf5Quiet quiet;
    const bool goes_on = after_step > 0 && fs::exists(file);
    make_folder(file);
    state_->file = file;
    state_->row_type = make_row_type();
    state_->opened = open_file(file, goes_on);
    const hid_t id = state_->opened.get();
    write_text(id, "format", format_name, file);
    for (const auto& [name, text] : facts) {
        write_text(id, name, text, file);
    }
    for (const std::string& name : find_series(id, file)) {
        Series& series = state_->series[name];
        series.data = open_dataset(id, name + "/data", file);
        series.rows = open_dataset(id, name + "/records", file);
        truncate(series, state_->row_type.get(), after_step, file);
    }
    state_->is_flushed = false;
    flush();
}

TraceWriter::~TraceWriter() = default;
TraceWriter::TraceWriter(TraceWriter&&) noexcept = default;
TraceWriter& TraceWriter::operator=(TraceWriter&&) noexcept = default;

void TraceWriter::append(const TraceRecord& record) {
    const detail::Hdf5Quiet quiet;
    FUSIONLLM_EXPECTS(
        record.elements.size() ==
        static_cast<std::size_t>(num_elements({DType::f32, record.sizes})));
    State& s = *state_;
    Series& series = s.series_of(record);
    append_to(series.data.get(),
              H5T_NATIVE_FLOAT,
              series.num_records,
              record.elements.data(),
              s.file);
    const Row row{
        record.step, record.micro_batch, trace_statistics(record.elements)};
    append_to(
        series.rows.get(), s.row_type.get(), series.num_records, &row, s.file);
    ++series.num_records;
    s.is_flushed = false;
}

void TraceWriter::flush() {
    if (!state_->is_flushed) {
        const detail::Hdf5Quiet quiet;
        hdf5_call(H5Fflush(state_->opened.get(), H5F_SCOPE_LOCAL),
                  "flush the trace",
                  state_->file);
        state_->is_flushed = true;
    }
}

}  // namespace fusionllm
