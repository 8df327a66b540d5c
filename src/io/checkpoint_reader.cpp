#include <charconv>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"
#include "fusionllm/util/hash.hpp"
#include "fusionllm/util/text.hpp"

#include "hdf5.hpp"

namespace fusionllm {

using detail::hdf5_call;
using detail::Hdf5Handle;
using detail::Hdf5Quiet;

struct CheckpointReader::Files {
    std::map<std::string, Hdf5Handle> by_name;
    std::map<std::string, std::uint32_t> checksums;  // by tensor
};

namespace {

namespace fs = std::filesystem;

constexpr const char* advice =
    "the file is damaged; take another checkpoint (to resume from the one "
    "before, move this one's folder away)";

//! What HDF5 cannot read is damaged.
template <class Read>
auto read_or_advise(const Read& read) {
    try {
        return read();
    } catch (const InputError&) {
        throw;
    } catch (const Error& error) {
        throw InputError(fmt::format("{}; {}", error.what(), advice));
    }
}

Hdf5Handle open_file(const fs::path& file) {
    return {hdf5_call(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                      "open the tensors",
                      file),
            H5Fclose};
}

//! None in files of before there were checksums.
void read_checksums(hid_t id,
                    const fs::path& file,
                    std::map<std::string, std::uint32_t>& checksums) {
    if (H5Lexists(id, detail::checksums_name, H5P_DEFAULT) <= 0) {
        return;
    }
    const HostTensor stored =
        detail::read_tensor(id, detail::checksums_name, file);
    const std::string text(reinterpret_cast<const char*>(stored.bytes.data()),
                           stored.bytes.size());
    for (const std::string& line : split(text, '\n')) {
        std::uint32_t checksum = 0;
        const char* const begin = line.data();
        const auto read =
            std::from_chars(begin, begin + line.size(), checksum, 16);
        if (read.ec == std::errc{} && read.ptr - begin == 8 &&
            line.size() > 9) {
            checksums[line.substr(9)] = checksum;
        }
    }
}

}  // namespace

CheckpointManifest load_manifest(const fs::path& folder) {
    FUSIONLLM_VALIDATE(fs::is_directory(folder),
                       "the checkpoint '{}' is not a folder; give one named "
                       "step-N",
                       folder.string());
    const fs::path file = folder / "manifest.json";
    FUSIONLLM_VALIDATE(fs::is_regular_file(file),
                       "'{}' is not a complete checkpoint: it has no "
                       "manifest.json; give a folder named step-N",
                       folder.string());
    return parse_manifest(read_file(file), file);
}

CheckpointReader::CheckpointReader(fs::path folder)
    : CheckpointReader(folder, load_manifest(folder)) {
    for (const auto& [tensor, name] : manifest_.tensors) {
        FUSIONLLM_VALIDATE(files_->by_name.contains(name),
                           "the checkpoint's manifest names the file '{}', "
                           "which is missing; if sites keep disks of their "
                           "own, copy the files of all of them into that "
                           "folder, else take another checkpoint",
                           (folder_ / name).string());
    }
}

CheckpointReader::CheckpointReader(fs::path folder, CheckpointManifest manifest)
    : folder_(std::move(folder)),
      manifest_(std::move(manifest)),
      files_(std::make_unique<Files>()) {
    const Hdf5Quiet quiet;
    for (const auto& [tensor, name] : manifest_.tensors) {
        if (!files_->by_name.contains(name) &&
            fs::is_regular_file(folder_ / name)) {
            read_or_advise([&] {
                const fs::path file = folder_ / name;
                Hdf5Handle opened = open_file(file);
                read_checksums(opened.get(), file, files_->checksums);
                files_->by_name.emplace(name, std::move(opened));
            });
        }
    }
}

CheckpointReader::~CheckpointReader() = default;

bool CheckpointReader::has(const std::string& name) const {
    return manifest_.tensors.contains(name);
}

bool CheckpointReader::can_read(const std::string& name) const {
    const auto entry = manifest_.tensors.find(name);
    return entry != manifest_.tensors.end() &&
           files_->by_name.contains(entry->second);
}

HostTensor CheckpointReader::read(const std::string& name) const {
    const auto entry = manifest_.tensors.find(name);
    FUSIONLLM_VALIDATE(entry != manifest_.tensors.end(),
                       "the checkpoint '{}' has no tensor '{}'",
                       folder_.string(),
                       name);
    FUSIONLLM_EXPECTS(files_->by_name.contains(entry->second));
    const Hdf5Quiet quiet;
    return read_or_advise([&] {
        const fs::path file = folder_ / entry->second;
        HostTensor tensor = detail::read_tensor(
            files_->by_name.at(entry->second).get(), name, file);
        const auto& checksums = files_->checksums;
        const auto checksum = checksums.find(name);
        FUSIONLLM_VALIDATE(
            checksums.empty() || (checksum != checksums.end() &&
                                  checksum->second == crc32c(tensor.bytes)),
            "the tensor '{}' of '{}' does not have its checksum; {}",
            name,
            file.string(),
            advice);
        return tensor;
    });
}

}  // namespace fusionllm
