#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/file_descriptor.hpp"
#include "fusionllm/util/hash.hpp"

#include "agree.hpp"
#include "hdf5.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;
using detail::hdf5_call;
using detail::Hdf5Handle;
using detail::run_agreed;

//! Far below what MPI-IO can count in an int.
constexpr std::size_t max_bytes_per_write = std::size_t{1} << 30;

FileDescriptor open_file(const fs::path& file, int flags) {
    FileDescriptor opened(::open(file.c_str(), flags | O_CLOEXEC, 0666));
    if (!opened.is_open()) {
        throw Error(fmt::format(
            "cannot write the checkpoint file '{}': {}; check that its "
            "folder exists, that you may write in it and that all ranks "
            "of the group see it",
            file.string(),
            std::generic_category().message(errno)));
    }
    return opened;
}

int rank_in(const WriteGroup& group) {
    int rank = 0;
    MPI_Comm_rank(group.communicator, &rank);
    return rank;
}

//! Every entry must have one rank that holds it: nothing else writes it.
void check_holders(const WriteGroup& group,
                   const std::vector<TensorEntry>& entries,
                   const std::vector<TensorData>& mine) {
    std::map<std::string, std::size_t> position;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        position[entries[i].name] = i;
    }
    std::vector<int> holders(entries.size(), 0);
    run_agreed(group, [&] {
        for (const TensorData& tensor : mine) {
            const auto found = position.find(tensor.name);
            if (found == position.end() ||
                tensor.bytes.size() != num_bytes(entries[found->second].type)) {
                throw ContractError(fmt::format(
                    "tensor '{}' of {} bytes is none of the group's entries",
                    tensor.name,
                    tensor.bytes.size()));
            }
            ++holders[found->second];
        }
    });
    MPI_Allreduce(MPI_IN_PLACE,
                  holders.data(),
                  static_cast<int>(holders.size()),
                  MPI_INT,
                  MPI_SUM,
                  group.communicator);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        if (holders[i] != 1) {
            throw Error(fmt::format(
                "a checkpoint needs the tensor '{}' from one rank of the "
                "group, but {} ranks hold it",
                entries[i].name,
                holders[i]));
        }
    }
}

Hdf5Handle create_file(MPI_Comm communicator, const fs::path& file) {
    const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    const std::string doing = "create the checkpoint";
    hdf5_call(H5Pset_fapl_mpio(access.get(), communicator, MPI_INFO_NULL),
              doing,
              file);
    H5Pset_alignment(access.get(), /*threshold=*/1 << 16, /*alignment=*/4096);
    return {
        hdf5_call(
            H5Fcreate(file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()),
            doing,
            file),
        H5Fclose};
}

/*!
 * Take the space on the disk before anything is written. A full disk must be
 * found before HDF5 meets it: a file that it cannot close breaks the library
 * for the rest of the process.
 */
void reserve_space(const fs::path& file,
                   const std::vector<TensorEntry>& entries) {
    std::size_t total = 1 << 16;
    for (const TensorEntry& entry : entries) {
        total += num_bytes(entry.type) + 2 * 4096 + entry.name.size() + 10;
    }
    const FileDescriptor reserved = open_file(file, O_RDWR);
    if (::fallocate(reserved.get(), 0, 0, static_cast<off_t>(total)) == 0 ||
        errno == EOPNOTSUPP || errno == ENOSYS) {
        return;
    }
    const int reason = errno;
    // What was taken is given back, for the closing writes.
    static_cast<void>(!::ftruncate(reserved.get(), 0));
    throw Error(fmt::format(
        "cannot reserve {} bytes for the checkpoint file '{}': {}; free some "
        "space, lower checkpoint.keep or choose another run.output",
        total,
        file.string(),
        std::generic_category().message(reason)));
}

void write_mine(const std::vector<TensorEntry>& entries,
                const std::vector<TensorData>& mine,
                const std::vector<Hdf5Handle>& datasets,
                const fs::path& file) {
    std::map<std::string, std::size_t> position;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        position[entries[i].name] = i;
    }
    for (const TensorData& tensor : mine) {
        const std::size_t i = position.at(tensor.name);
        detail::write_dataset(datasets[i].get(),
                              tensor.name,
                              entries[i].type,
                              tensor.bytes,
                              max_bytes_per_write,
                              file);
    }
}

//! Of all tensors of the group, for a reader to find what a disk has changed.
std::string list_checksums(const WriteGroup& group,
                           const std::vector<TensorEntry>& entries,
                           const std::vector<TensorData>& mine) {
    std::map<std::string, std::uint32_t> own;
    for (const TensorData& tensor : mine) {
        own[tensor.name] = crc32c(tensor.bytes);
    }
    std::vector<std::uint32_t> checksums;
    for (const TensorEntry& entry : entries) {
        checksums.push_back(own.contains(entry.name) ? own.at(entry.name) : 0);
    }
    MPI_Allreduce(MPI_IN_PLACE,
                  checksums.data(),
                  static_cast<int>(checksums.size()),
                  MPI_UINT32_T,
                  MPI_MAX,
                  group.communicator);
    std::string text;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        text += fmt::format("{:08x} {}\n", checksums[i], entries[i].name);
    }
    return text;
}

//! From nothing to a closed file; collective.
void write_hdf5(const fs::path& file,
                const WriteGroup& group,
                const std::vector<TensorEntry>& entries,
                const std::vector<TensorData>& mine) {
    const detail::Hdf5Quiet quiet;
    const std::string checksums = list_checksums(group, entries, mine);
    const TensorType checksums_type{
        DType::u8, {static_cast<std::int64_t>(checksums.size())}};
    Hdf5Handle opened;
    run_agreed(group, [&] { opened = create_file(group.communicator, file); });
    // Creating the file gave back what was reserved to see whether it fits.
    run_agreed(group, [&] {
        if (rank_in(group) == 0) {
            reserve_space(file, entries);
        }
    });
    std::vector<Hdf5Handle> datasets;
    run_agreed(group, [&] {
        for (const auto& [name, type] : entries) {
            datasets.push_back(
                detail::create_dataset(opened.get(), name, type, file));
        }
        datasets.push_back(detail::create_dataset(
            opened.get(), detail::checksums_name, checksums_type, file));
    });
    run_agreed(group, [&] {
        write_mine(entries, mine, datasets, file);
        if (rank_in(group) == 0) {
            detail::write_dataset(datasets.back().get(),
                                  detail::checksums_name,
                                  checksums_type,
                                  std::as_bytes(std::span(checksums)),
                                  max_bytes_per_write,
                                  file);
        }
    });
    datasets.clear();
    run_agreed(group, [&] {
        hdf5_call(H5Fclose(opened.release()), "close the checkpoint", file);
    });
}

}  // namespace

void write_tensors(const fs::path& file,
                   const WriteGroup& group,
                   const std::vector<TensorEntry>& entries,
                   const std::vector<TensorData>& mine) {
    check_holders(group, entries, mine);
    fs::path partial = file;
    partial += ".tmp";
    const bool is_first = rank_in(group) == 0;
    // Plain opens first: their reasons are clearer than those of MPI-IO, and
    // a folder that ranks do not share is found.
    run_agreed(group, [&] {
        if (is_first) {
            open_file(partial, O_CREAT | O_TRUNC | O_RDWR);
        }
    });
    try {
        run_agreed(group, [&] {
            open_file(partial, O_RDWR);
            if (is_first) {
                reserve_space(partial, entries);
            }
        });
        write_hdf5(partial, group, entries, mine);
        run_agreed(group, [&] { sync_path(partial); });
    } catch (...) {
        if (is_first) {
            ::unlink(partial.c_str());
        }
        throw;
    }
    run_agreed(group, [&] {
        if (is_first) {
            std::error_code failed;
            fs::rename(partial, file, failed);
            if (failed) {
                throw Error(fmt::format("cannot rename '{}' to '{}': {}",
                                        partial.string(),
                                        file.string(),
                                        failed.message()));
            }
            sync_path(fs::absolute(file).parent_path());
        }
    });
}

}  // namespace fusionllm
