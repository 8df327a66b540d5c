#include "fusionllm/io/checkpoint.hpp"

#include <csignal>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "fusionllm/comm/mpi.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "finish_checkpoint.hpp"
#include "message_of.hpp"
#include "temporary_folder.hpp"

namespace fusionllm::test {
namespace {

namespace fs = std::filesystem;

//! A folder that all ranks see, made by rank 0, and removed by it when all are
//! done with it.
class SharedFolder {
public:
    explicit SharedFolder(const mpi::Communicator& group) : group_(group) {
        std::array<char, 4096> name{};
        if (group.rank() == 0) {
            folder_ = std::make_unique<TemporaryFolder>();
            folder_->path().string().copy(name.data(), name.size() - 1);
        }
        MPI_Bcast(name.data(), name.size(), MPI_CHAR, 0, group.get());
        path_ = name.data();
    }
    ~SharedFolder() { MPI_Barrier(group_.get()); }
    SharedFolder(const SharedFolder&) = delete;
    SharedFolder& operator=(const SharedFolder&) = delete;
    const fs::path& path() const { return path_; }

private:
    const mpi::Communicator& group_;
    std::unique_ptr<TemporaryFolder> folder_;
    fs::path path_;
};

//! One tensor of every dtype, and the shapes at the edges.
std::vector<TensorEntry> example_entries() {
    std::vector<TensorEntry> entries;
    for (int i = 0; i < num_dtypes; ++i) {
        const auto dtype = static_cast<DType>(i);
        entries.push_back({fmt::format("/parameters/{}.weight", to_text(dtype)),
                           {dtype, {3, i + 1}}});
    }
    entries.push_back({"/parameters/scalar", {DType::f64, {}}});
    entries.push_back({"/parameters/empty", {DType::bf16, {4, 0}}});
    entries.push_back({"/optimizer/f32.weight/exp_avg", {DType::f32, {70000}}});
    return entries;
}

std::vector<std::byte> bytes_of(std::size_t entry, const TensorType& type) {
    std::vector<std::byte> bytes(num_bytes(type));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>((i * 31 + entry * 7) % 253);
    }
    return bytes;
}

//! The entries of this rank: they are dealt round.
class MyShare {
public:
    MyShare(const std::vector<TensorEntry>& entries,
            const mpi::Communicator& group) {
        bytes_.resize(entries.size());
        for (std::size_t i = group.rank(); i < entries.size();
             i += group.size()) {
            bytes_[i] = bytes_of(i, entries[i].type);
            data.push_back({entries[i].name, bytes_[i]});
        }
    }
    std::vector<TensorData> data;

private:
    std::vector<std::vector<std::byte>> bytes_;
};

class CheckpointTest : public testing::Test {
protected:
    void write(const fs::path& file) const {
        write_tensors(file, {world_.get(), {}}, entries_, share_.data);
    }

    //! Step 5, of the one file "group-0.h5"; its folder.
    fs::path finish() const {
        CheckpointManifest manifest;
        manifest.step = 5;
        for (const TensorEntry& entry : entries_) {
            manifest.tensors[entry.name] = "group-0.h5";
        }
        return finish_checkpoint(folder_.path(), manifest);
    }

    mpi::Communicator world_ = mpi::Communicator::world();
    SharedFolder folder_{world_};
    std::vector<TensorEntry> entries_ = example_entries();
    MyShare share_{entries_, world_};
};

TEST_F(CheckpointTest, round_trips_every_dtype_and_shape) {
    fs::path partial = folder_.path() / "step-5.partial";
    if (world_.rank() == 0) {
        begin_checkpoint(folder_.path(), 5);
    }
    MPI_Barrier(world_.get());

    write(partial / "group-0.h5");

    if (world_.rank() == 0) {
        const CheckpointReader reader(finish());
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            const HostTensor tensor = reader.read(entries_[i].name);
            EXPECT_EQ(tensor.type, entries_[i].type) << entries_[i].name;
            EXPECT_EQ(tensor.bytes, bytes_of(i, entries_[i].type))
                << entries_[i].name;
        }
    }
}

TEST_F(CheckpointTest, of_bytes_that_the_disk_has_changed_is_refused) {
    if (world_.rank() == 0) {
        begin_checkpoint(folder_.path(), 5);
    }
    MPI_Barrier(world_.get());
    const fs::path file = folder_.path() / "step-5.partial/group-0.h5";
    write(file);

    if (world_.rank() == 0) {
        const std::size_t last = entries_.size() - 1;
        const auto bytes = bytes_of(last, entries_[last].type);
        std::string content = read_file(file);
        const auto place = content.find(std::string(
            reinterpret_cast<const char*>(bytes.data()), bytes.size()));
        ASSERT_NE(place, std::string::npos);
        content[place + 1000] ^= 1;
        write_file(file, content);
        const CheckpointReader reader(finish());

        const auto message =
            message_of<InputError>([&] { reader.read(entries_[last].name); });

        EXPECT_NE(message.find("'" + entries_[last].name + "'"),
                  std::string::npos)
            << message;
        EXPECT_NE(message.find("does not have its checksum"), std::string::npos)
            << message;
        EXPECT_NO_THROW(reader.read(entries_[0].name));
    }
}

TEST_F(CheckpointTest, leaves_only_the_file_itself) {
    write(folder_.path() / "x.h5");

    if (world_.rank() == 0) {
        EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()),
                                fs::directory_iterator()),
                  1);
    }
}

TEST_F(CheckpointTest, of_an_unwritable_folder_fails_on_every_rank) {
    // Root may write everywhere else.
    const auto message = message_of<Error>([&] { write("/proc/group-0.h5"); });

    EXPECT_NE(message.find("cannot write the checkpoint file "
                           "'/proc/group-0.h5.tmp'"),
              std::string::npos)
        << message;
}

TEST_F(CheckpointTest, of_a_missing_folder_fails_on_every_rank) {
    const auto message =
        message_of<Error>([&] { write(folder_.path() / "no/x.h5"); });

    EXPECT_NE(message.find("No such file or directory"), std::string::npos)
        << message;
}

TEST_F(CheckpointTest, on_a_full_disk_fails_on_every_rank_and_keeps_the_old) {
    const fs::path file = folder_.path() / "x.h5";
    write(file);
    const std::string before = read_file(file);
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit unlimited{};
    getrlimit(RLIMIT_FSIZE, &unlimited);
    const rlimit limited{100'000, unlimited.rlim_max};

    setrlimit(RLIMIT_FSIZE, &limited);
    const auto message = message_of<Error>([&] { write(file); });
    setrlimit(RLIMIT_FSIZE, &unlimited);

    EXPECT_NE(message.find("bytes for the checkpoint file"), std::string::npos)
        << message;
    MPI_Barrier(world_.get());
    EXPECT_TRUE(read_file(file) == before);
    EXPECT_FALSE(fs::exists(file.string() + ".tmp"));
}

TEST_F(CheckpointTest, needs_every_tensor_from_one_rank) {
    if (world_.rank() == 0) {
        share_.data.erase(share_.data.begin());
    }

    const auto message =
        message_of<Error>([&] { write(folder_.path() / "x.h5"); });

    EXPECT_EQ(message,
              "a checkpoint needs the tensor '/parameters/f32.weight' from one "
              "rank of the group, but 0 ranks hold it");
}

TEST_F(CheckpointTest, refuses_a_tensor_that_is_no_entry) {
    const std::array<std::byte, 4> bytes{};
    if (world_.rank() == 0) {
        share_.data.push_back({"/parameters/stranger", bytes});
    }

    const auto message =
        message_of<Error>([&] { write(folder_.path() / "x.h5"); });

    EXPECT_NE(message.find("'/parameters/stranger'"), std::string::npos)
        << message;
}

}  // namespace
}  // namespace fusionllm::test
