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

CheckpointManifest read_manifest(const fs::path& folder) {
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

Hdf5Handle open_file(const fs::path& file) {
    FUSIONLLM_VALIDATE(fs::is_regular_file(file),
                       "the checkpoint's manifest names the file '{}', which "
                       "is missing; take another checkpoint",
                       file.string());
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

HostTensor read_tensor(hid_t file_id,
                       const std::string& name,
                       const fs::path& file) {
    const std::string doing = "read the tensor '" + name + "'";
    const Hdf5Handle dataset(
        hdf5_call(H5Dopen2(file_id, name.c_str(), H5P_DEFAULT), doing, file),
        H5Dclose);
    HostTensor tensor{detail::read_dataset_type(dataset.get(), name, file), {}};
    // Before memory is taken for sizes that are not to be believed.
    FUSIONLLM_VALIDATE(
        H5Dget_storage_size(dataset.get()) == num_bytes(tensor.type) &&
            num_bytes(tensor.type) <= fs::file_size(file),
        "cannot {} in '{}': the file holds other than the {} bytes of {}",
        doing,
        file.string(),
        num_bytes(tensor.type),
        to_text(tensor.type));
    tensor.bytes.resize(num_bytes(tensor.type));
    const Hdf5Handle type = detail::make_file_type(tensor.type.dtype);
    if (!tensor.bytes.empty()) {
        hdf5_call(H5Dread(dataset.get(),
                          type.get(),
                          H5S_ALL,
                          H5S_ALL,
                          H5P_DEFAULT,
                          tensor.bytes.data()),
                  doing,
                  file);
    }
    return tensor;
}

}  // namespace

CheckpointReader::CheckpointReader(fs::path folder)
    : folder_(std::move(folder)),
      manifest_(read_manifest(folder_)),
      files_(std::make_unique<Files>()) {
    const Hdf5Quiet quiet;
    for (const auto& [tensor, name] : manifest_.tensors) {
        if (!files_->by_name.contains(name)) {
            files_->by_name.emplace(name, open_file(folder_ / name));
        }
    }
}

CheckpointReader::~CheckpointReader() = default;

bool CheckpointReader::has(const std::string& name) const {
    return manifest_.tensors.contains(name);
}

HostTensor CheckpointReader::read(const std::string& name) const {
    const auto entry = manifest_.tensors.find(name);
    FUSIONLLM_VALIDATE(entry != manifest_.tensors.end(),
                       "the checkpoint '{}' has no tensor '{}'",
                       folder_.string(),
                       name);
    const Hdf5Quiet quiet;
    try {
        return read_tensor(files_->by_name.at(entry->second).get(),
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
