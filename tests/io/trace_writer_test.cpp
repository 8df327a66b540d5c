#include "fusionllm/io/trace_writer.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"

#include "../../src/io/hdf5.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;
using detail::Hdf5Handle;

TraceRecord make_record(const std::string& value,
                        std::int64_t step,
                        const std::vector<std::int64_t>& sizes,
                        const std::vector<float>& elements) {
    return {value, TraceKind::activation, step, 0, sizes, elements};
}

//! A dataset of a trace as it is read: its sizes and all its numbers.
struct Read {
    std::vector<hsize_t> sizes;
    std::vector<double> numbers;
    int num_filters = 0;
};

//! A column of "records", or the whole of "data" if `column` is empty.
Read read(const fs::path& file,
          const std::string& series,
          const std::string& column) {
    const Hdf5Handle opened(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                            H5Fclose);
    const std::string name = series + (column.empty() ? "/data" : "/records");
    const Hdf5Handle dataset(H5Dopen2(opened.get(), name.c_str(), H5P_DEFAULT),
                             H5Dclose);
    const Hdf5Handle space(H5Dget_space(dataset.get()), H5Sclose);
    const Hdf5Handle options(H5Dget_create_plist(dataset.get()), H5Pclose);
    Hdf5Handle type(H5Tcopy(H5T_NATIVE_DOUBLE), H5Tclose);
    if (!column.empty()) {
        type = {H5Tcreate(H5T_COMPOUND, sizeof(double)), H5Tclose};
        H5Tinsert(type.get(), column.c_str(), 0, H5T_NATIVE_DOUBLE);
    }
    Read result;
    result.num_filters = H5Pget_nfilters(options.get());
    result.sizes.resize(
        static_cast<std::size_t>(H5Sget_simple_extent_ndims(space.get())));
    H5Sget_simple_extent_dims(space.get(), result.sizes.data(), nullptr);
    result.numbers.resize(
        static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.get())));
    EXPECT_GE(H5Dread(dataset.get(),
                      type.get(),
                      H5S_ALL,
                      H5S_ALL,
                      H5P_DEFAULT,
                      result.numbers.data()),
              0);
    return result;
}

class TraceWriterTest : public testing::Test {
protected:
    TemporaryFolder folder;
    fs::path file = folder.path() / "new" / "trace.h5";
};

TEST_F(TraceWriterTest, keeps_every_element_of_every_record) {
    {
        TraceWriter writer(file, {}, 0);
        writer.append(make_record("h.0", 1, {2, 3}, {1, 2, 3, 4, 5, 0.1f}));
        writer.append(make_record("h.0", 2, {2, 3}, {-1, 0, 0, 0, 0, -6}));
    }

    const Read data = read(file, "h.0/activation", "");

    EXPECT_EQ(data.sizes, (std::vector<hsize_t>{2, 2, 3}));
    EXPECT_EQ(data.numbers,
              (std::vector<double>{1, 2, 3, 4, 5, 0.1f, -1, 0, 0, 0, 0, -6}));
    EXPECT_EQ(data.num_filters, 2);  // shuffle and deflate
}

TEST_F(TraceWriterTest, keeps_step_micro_batch_and_statistics) {
    const std::vector<float> elements{0, 0, 3, 5};
    {
        TraceWriter writer(file, {}, 0);
        writer.append({"x", TraceKind::gradient, 7, 3, {4}, elements});
    }

    const auto column = [&](const std::string& name) {
        return read(file, "x/gradient", name).numbers.at(0);
    };

    EXPECT_EQ(column("step"), 7);
    EXPECT_EQ(column("micro_batch"), 3);
    EXPECT_EQ(column("min"), 0);
    EXPECT_EQ(column("max"), 5);
    EXPECT_EQ(column("mean"), 2);
    EXPECT_EQ(column("rms"), std::sqrt(34 / 4.0));
    EXPECT_EQ(column("zero_fraction"), 0.5);
    // Deviations -2, -2, 1, 3: m2 = 18/4, m4 = 114/4.
    EXPECT_DOUBLE_EQ(column("kurtosis"), (114 / 4.0) / (4.5 * 4.5));
    EXPECT_EQ(column("num_non_finite"), 0);
}

TEST_F(TraceWriterTest, compresses_records_larger_than_a_chunk) {
    const std::vector<std::int64_t> sizes{3, 1001, 200};
    std::vector<float> elements(3 * 1001 * 200, 0.0f);
    std::iota(elements.begin(), elements.begin() + 1000, 1.0f);
    elements.back() = -1;
    {
        TraceWriter writer(file, {}, 0);
        writer.append(make_record("x", 1, sizes, elements));
    }

    const Read data = read(file, "x/activation", "");

    EXPECT_EQ(data.sizes, (std::vector<hsize_t>{1, 3, 1001, 200}));
    EXPECT_EQ(std::vector<float>(data.numbers.begin(), data.numbers.end()),
              elements);
    EXPECT_LT(fs::file_size(file), elements.size() * sizeof(float) / 10);
}

TEST_F(TraceWriterTest, can_be_read_after_a_flush_while_it_is_open) {
    TraceWriter writer(file, {}, 0);
    writer.append(make_record("x", 1, {2}, {1, 2}));
    writer.flush();

    // As a crash would leave it.
    const fs::path copy = folder.path() / "copy.h5";
    fs::copy_file(file, copy);

    EXPECT_EQ(read(copy, "x/activation", "").numbers,
              (std::vector<double>{1, 2}));
}

TEST_F(TraceWriterTest, goes_on_from_a_step_as_if_it_had_not_stopped) {
    {
        TraceWriter writer(file, {{"run", "a"}}, 0);
        for (const std::int64_t step : {1, 2, 3, 4}) {
            writer.append(make_record("x", step, {1}, {float(step)}));
        }
    }
    {
        TraceWriter writer(file, {{"run", "b"}}, 2);
        writer.append(make_record("x", 3, {1}, {30}));
    }

    EXPECT_EQ(read(file, "x/activation", "").numbers,
              (std::vector<double>{1, 2, 30}));
    EXPECT_EQ(read(file, "x/activation", "step").numbers,
              (std::vector<double>{1, 2, 3}));
}

TEST_F(TraceWriterTest, starts_anew_without_a_step) {
    {
        TraceWriter writer(file, {}, 0);
        writer.append(make_record("x", 1, {1}, {1}));
    }
    {
        TraceWriter writer(file, {}, 0);
        writer.append(make_record("x", 1, {1}, {2}));
    }

    EXPECT_EQ(read(file, "x/activation", "").numbers, std::vector<double>{2});
}

TEST_F(TraceWriterTest, refuses_another_size_and_goes_on) {
    TraceWriter writer(file, {}, 0);
    writer.append(make_record("x", 1, {2}, {1, 2}));

    const std::string error = message_of<Error>([&] {
        writer.append(make_record("x", 2, {1, 2}, {3, 4}));
    });

    EXPECT_EQ(error,
              "the traced value 'x/activation' has the sizes (1, 2) in step 2, "
              "but had others before; a trace holds values of one size");
    EXPECT_NO_THROW(writer.append(make_record("x", 2, {2}, {3, 4})));
}

TEST_F(TraceWriterTest, names_a_file_that_is_no_trace) {
    const fs::path text = folder.write("text.h5", "no HDF5");

    const std::string error =
        message_of<Error>([&] { TraceWriter(text, {}, 5); });

    EXPECT_TRUE(
        error.starts_with("cannot go on with the trace (remove the "
                          "file to start another) in '" +
                          text.string() + "': "))
        << error;
}

TEST(TraceStatistics, leave_out_what_is_not_finite) {
    const float infinity = std::numeric_limits<float>::infinity();
    const std::vector<float> elements{1, NAN, infinity, -infinity, 3, 0};

    const TraceStatistics found = trace_statistics(elements);

    EXPECT_EQ(found.num_non_finite, 3);
    EXPECT_EQ(found.min, 0);
    EXPECT_EQ(found.max, 3);
    EXPECT_DOUBLE_EQ(found.mean, 4 / 3.0);
    EXPECT_DOUBLE_EQ(found.zero_fraction, 1 / 6.0);
}

TEST(TraceStatistics, are_zero_where_there_is_nothing) {
    EXPECT_EQ(trace_statistics({}), TraceStatistics());
    EXPECT_EQ(trace_statistics(std::vector<float>{NAN}),
              TraceStatistics{.num_non_finite = 1});
    EXPECT_EQ(trace_statistics(std::vector<float>(5, 2.0f)).kurtosis, 0);
}

TEST(TraceStatistics, find_the_kurtosis_of_a_normal_distribution) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(5, 2);
    std::vector<float> elements(100000);
    for (float& element : elements) {
        element = normal(random);
    }

    const TraceStatistics found = trace_statistics(elements);

    // The standard deviation is sqrt(24 / n) = 0.015.
    EXPECT_NEAR(found.kurtosis, 3, 0.08);
    EXPECT_NEAR(found.mean, 5, 0.04);
    EXPECT_NEAR(found.rms, std::sqrt(29.0), 0.04);
}

}  // namespace
}  // namespace fusionllm::test
