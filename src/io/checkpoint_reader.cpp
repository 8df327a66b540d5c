#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file.hpp"

#include "hdf5.hpp"

namespace fusionllm {

using detail::hdf5_call;
using detail::Hdf5Handle;
using detail::Hdf5Quiet;

struct CheckpointReader::Files {
    std::map<std::string, Hdf5Handle> by_name;
};

namespace {

namespace fs = std::filesystem;

Hdf5Handle open_file(const fs::path& file) {
    try {
        return {hdf5_call(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                          "open the tensors",
                          file),
                H5Fclose};
    } catch (const Error& error) {
        throw InputError(fmt::format(
            "{}; the file is damaged, take another checkpoint", error.what()));
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
            files_->by_name.emplace(name, open_file(folder_ / name));
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
    try {
        return detail::read_tensor(files_->by_name.at(entry->second).get(),
                                   name,
                                   folder_ / entry->second);
    } catch (const InputError&) {
        throw;
    } catch (const Error& error) {
        throw InputError(fmt::format(
            "{}; the file is damaged, take another checkpoint", error.what()));
    }
}

}  // namespace fusionllm
