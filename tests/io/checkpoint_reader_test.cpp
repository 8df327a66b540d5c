#include <gtest/gtest.h>
#include <mpi.h>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "../../src/io/hdf5.hpp"
#include "finish_checkpoint.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

// This program never calls MPI_Init: reading must work without.

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;
using detail::Hdf5Handle;

HostTensor counting_tensor(const TensorType& type) {
    HostTensor tensor{type, {}};
    for (std::size_t i = 0; i < num_bytes(type); ++i) {
        tensor.bytes.push_back(static_cast<std::byte>(i % 251));
    }
    return tensor;
}

//! A file with one tensor, written serially in pieces of `max_bytes`.
void write_one(const fs::path& file,
               const std::string& name,
               const HostTensor& tensor,
               std::size_t max_bytes) {
    const Hdf5Handle opened(
        H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
        H5Fclose);
    const Hdf5Handle dataset =
        detail::create_dataset(opened.get(), name, tensor.type, file);
    detail::write_dataset(
        dataset.get(), name, tensor.type, tensor.bytes, max_bytes, file);
}

//! step-1 with one tensor; its file and manifest may then be damaged.
class CheckpointReaderTest : public testing::Test {
protected:
    CheckpointReaderTest() {
        const fs::path partial = begin_checkpoint(folder_.path(), 1);
        write_one(partial / "group-0.h5", "/parameters/w", tensor_, 1 << 20);
        CheckpointManifest manifest;
        manifest.step = 1;
        manifest.tensors = {{"/parameters/w", "group-0.h5"}};
        step_ = finish_checkpoint(folder_.path(), manifest);
    }

    std::string open_message() const {
        return message_of<InputError>([&] { CheckpointReader{step_}; });
    }

    TemporaryFolder folder_;
    HostTensor tensor_ = counting_tensor({DType::f32, {100, 10}});
    fs::path step_;
};

TEST_F(CheckpointReaderTest, reads_without_mpi_being_initialised) {
    int initialised = 1;
    MPI_Initialized(&initialised);

    const CheckpointReader reader(step_);

    EXPECT_EQ(initialised, 0);
    EXPECT_TRUE(reader.has("/parameters/w"));
    EXPECT_EQ(reader.read("/parameters/w"), tensor_);
}

TEST_F(CheckpointReaderTest, names_a_tensor_that_it_does_not_have) {
    const CheckpointReader reader(step_);

    const auto message =
        message_of<InputError>([&] { reader.read("/parameters/v"); });

    EXPECT_FALSE(reader.has("/parameters/v"));
    EXPECT_EQ(message,
              "the checkpoint '" + step_.string() +
                  "' has no tensor '/parameters/v'");
}

TEST_F(CheckpointReaderTest, names_a_tensor_that_only_the_manifest_has) {
    write_one(step_ / "group-0.h5", "/parameters/other", tensor_, 1 << 20);
    const CheckpointReader reader(step_);

    const auto message =
        message_of<InputError>([&] { reader.read("/parameters/w"); });

    EXPECT_NE(message.find("'/parameters/w'"), std::string::npos) << message;
    EXPECT_NE(message.find(step_ / "group-0.h5"), std::string::npos) << message;
}

TEST_F(CheckpointReaderTest, refuses_a_truncated_file) {
    const fs::path file = step_ / "group-0.h5";
    fs::resize_file(file, fs::file_size(file) / 2);

    const auto message = open_message();

    EXPECT_NE(message.find(file), std::string::npos) << message;
    EXPECT_NE(message.find("truncated"), std::string::npos) << message;
}

TEST_F(CheckpointReaderTest, refuses_garbage) {
    const fs::path file = step_ / "group-0.h5";
    write_file(file, std::string(5000, '?'));

    const auto message = open_message();

    EXPECT_NE(message.find(file), std::string::npos) << message;
    EXPECT_NE(message.find("damaged"), std::string::npos) << message;
}

TEST_F(CheckpointReaderTest, refuses_a_missing_file) {
    fs::remove(step_ / "group-0.h5");

    EXPECT_EQ(open_message(),
              "the checkpoint's manifest names the file '" +
                  (step_ / "group-0.h5").string() +
                  "', which is missing; if sites keep disks of their own, "
                  "copy the files of all of them into that folder, else take "
                  "another checkpoint");
}

TEST_F(CheckpointReaderTest, of_one_disk_reads_what_is_there) {
    CheckpointManifest manifest = load_manifest(step_);
    manifest.tensors["/parameters/far"] = "group-1.h5";

    const CheckpointReader reader(step_, manifest);

    EXPECT_TRUE(reader.can_read("/parameters/w"));
    EXPECT_TRUE(reader.has("/parameters/far"));
    EXPECT_FALSE(reader.can_read("/parameters/far"));
    EXPECT_EQ(reader.read("/parameters/w"), tensor_);
}

TEST_F(CheckpointReaderTest, refuses_a_folder_without_a_manifest) {
    fs::remove(step_ / "manifest.json");

    EXPECT_EQ(open_message(),
              "'" + step_.string() +
                  "' is not a complete checkpoint: it has no manifest.json; "
                  "give a folder named step-N");
}

TEST_F(CheckpointReaderTest, refuses_what_is_no_folder) {
    step_ /= "manifest.json";

    EXPECT_EQ(open_message(),
              "the checkpoint '" + step_.string() +
                  "' is not a folder; give one named step-N");
}

TEST(Hdf5, writes_in_pieces_what_it_writes_at_once) {
    const TemporaryFolder folder;
    const fs::path file = folder.path() / "x.h5";
    const std::vector<TensorType> types{{DType::f32, {7, 3}},
                                        {DType::i64, {1, 1, 5, 2}},
                                        {DType::u8, {13}},
                                        {DType::f64, {}},
                                        {DType::i16, {1, 1}}};

    for (const TensorType& type : types) {
        const HostTensor tensor = counting_tensor(type);
        for (const std::size_t max_bytes : {1, 24, 1000}) {
            write_one(file, "/a/b", tensor, max_bytes);
            const fs::path step = begin_checkpoint(folder.path(), 1);
            fs::copy(file, step / "x.h5");
            CheckpointManifest manifest;
            manifest.step = 1;
            manifest.tensors = {{"/a/b", "x.h5"}};
            const auto done = finish_checkpoint(folder.path(), manifest);
            EXPECT_EQ(CheckpointReader(done).read("/a/b"), tensor)
                << to_text(type) << " " << max_bytes;
        }
    }
}

}  // namespace
}  // namespace fusionllm::test
