#include "fusionllm/io/hdf5_rows.hpp"

#include <complex>
#include <cstring>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "hdf5_file.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class Hdf5RowsTest : public testing::Test {
protected:
    std::string refusal(const char* name, DType dtype) {
        return message_of<InputError>(
            [&] { open_hdf5_rows(file_, name, dtype); });
    }

    TemporaryFolder folder_;
    fs::path file_ = folder_.path() / "x.h5";
    Hdf5File hdf5_{file_};
};

template <class Number>
std::vector<Number> read(const StoredRows& rows,
                         std::size_t first,
                         std::size_t count) {
    std::vector<Number> numbers(
        count * static_cast<std::size_t>(num_elements(rows.row_type())));
    rows.read(first, std::as_writable_bytes(std::span(numbers)));
    return numbers;
}

TEST_F(Hdf5RowsTest, rows_are_ranges_of_the_first_axis) {
    std::vector<float> numbers(14);
    std::iota(numbers.begin(), numbers.end(), 0.5F);
    hdf5_.add("x", H5T_IEEE_F32LE, {7, 2}, numbers);
    hdf5_.add("chunks", H5T_IEEE_F32LE, {7, 2}, numbers, Layout::chunked);

    for (const char* name : {"x", "chunks"}) {
        const StoredRows rows = open_hdf5_rows(file_, name, DType::f32);

        EXPECT_EQ(rows.type, (TensorType{DType::f32, {7, 2}}));
        EXPECT_THAT(read<float>(rows, 0, 1), ElementsAre(0.5F, 1.5F));
        EXPECT_THAT(read<float>(rows, 2, 2),
                    ElementsAre(4.5F, 5.5F, 6.5F, 7.5F));
        EXPECT_THAT(read<float>(rows, 6, 1), ElementsAre(12.5F, 13.5F));
    }
}

TEST_F(Hdf5RowsTest, numbers_become_those_of_the_model) {
    hdf5_.add<std::uint16_t>("tokens", H5T_STD_U16LE, {3}, {1, 65535, 7});
    hdf5_.add<double>("half", H5T_IEEE_F64LE, {2}, {0.5, -2.0});

    EXPECT_THAT(
        read<std::int64_t>(open_hdf5_rows(file_, "tokens", DType::i64), 0, 3),
        ElementsAre(1, 65535, 7));
    EXPECT_THAT(read<float>(open_hdf5_rows(file_, "half", DType::f32), 0, 2),
                ElementsAre(0.5F, -2.0F));
}

TEST_F(Hdf5RowsTest, truth_values_as_h5py_writes_them_are_bool) {
    const hid_t truth = H5Tenum_create(H5T_STD_I8LE);
    for (std::int8_t value = 0; value < 2; ++value) {
        H5Tenum_insert(truth, value == 0 ? "FALSE" : "TRUE", &value);
    }
    hdf5_.add<std::int8_t>("mask", truth, {3}, {1, 0, 1});
    H5Tclose(truth);

    EXPECT_THAT(
        read<std::int8_t>(open_hdf5_rows(file_, "mask", DType::boolean), 0, 3),
        ElementsAre(1, 0, 1));
    EXPECT_THAT(refusal("mask", DType::f32), HasSubstr("holds truth values"));
}

TEST_F(Hdf5RowsTest, complex_numbers_as_h5py_writes_them_are_complex) {
    const hid_t pair = H5Tcreate(H5T_COMPOUND, 2 * sizeof(double));
    H5Tinsert(pair, "r", 0, H5T_IEEE_F64LE);
    H5Tinsert(pair, "i", sizeof(double), H5T_IEEE_F64LE);
    hdf5_.add<std::complex<double>>("z", pair, {2}, {{0.5, -1}, {2, 3}});
    H5Tclose(pair);

    EXPECT_THAT(
        read<std::complex<float>>(open_hdf5_rows(file_, "z", DType::c64), 0, 2),
        ElementsAre(std::complex{0.5F, -1.0F}, std::complex{2.0F, 3.0F}));
    EXPECT_THAT(refusal("z", DType::f32), HasSubstr("holds complex numbers"));
    EXPECT_THAT(refusal("z", DType::i64), HasSubstr("holds complex numbers"));
}

TEST_F(Hdf5RowsTest, what_would_lose_its_meaning_is_not_converted) {
    hdf5_.add<float>("x", H5T_IEEE_F32LE, {2}, {0.5F, 1.5F});
    hdf5_.add<std::int64_t>("n", H5T_STD_I64LE, {2}, {1, 2});

    EXPECT_THAT(refusal("x", DType::i64),
                HasSubstr("holds numbers with a fraction, but i64 is wanted"));
    EXPECT_THAT(refusal("n", DType::f32),
                HasSubstr("holds integers, but f32 is wanted"));
}

TEST_F(Hdf5RowsTest, a_name_that_is_not_there_gives_those_that_are) {
    hdf5_.add<float>("train/x", H5T_IEEE_F32LE, {1}, {0.5F});

    EXPECT_THAT(refusal("train/y", DType::f32),
                HasSubstr("has no dataset 'train/y'; it has 'train/x'; did you "
                          "mean 'train/x'?"));
    EXPECT_THAT(refusal("train", DType::f32),
                HasSubstr("has no dataset 'train'"));
}

TEST_F(Hdf5RowsTest, one_number_is_no_samples) {
    hdf5_.add<float>("x", H5T_IEEE_F32LE, {}, {0.5F});

    EXPECT_THAT(refusal("x", DType::f32), HasSubstr("has no axis"));
}

TEST_F(Hdf5RowsTest, other_files_and_damaged_ones_are_refused) {
    hdf5_.add<float>("x", H5T_IEEE_F32LE, {1}, {0.5F});
    std::string bytes = read_file(file_);
    const auto text = folder_.write("text", "no HDF5");
    const auto cut = folder_.write("cut.h5", bytes.substr(0, 100));

    EXPECT_THAT(
        message_of<InputError>([&] { open_hdf5_rows(text, "x", DType::f32); }),
        HasSubstr("is no HDF5 file"));
    EXPECT_THAT(
        message_of<InputError>([&] { open_hdf5_rows(cut, "x", DType::f32); }),
        HasSubstr("the file is damaged"));
}

}  // namespace
}  // namespace fusionllm::test
