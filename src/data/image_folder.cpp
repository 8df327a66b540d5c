#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"
#include "fusionllm/util/random.hpp"

#include "decode_image.hpp"
#include "file_bytes.hpp"
#include "image_dataset.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

struct ImageFile {
    fs::path path;
    std::string class_name;
    std::string name;  // below the folder, with the class
    std::uintmax_t num_bytes = 0;
};

bool is_image_name(const fs::path& path) {
    std::string extension = path.extension().string();
    std::ranges::transform(extension, extension.begin(), [](unsigned char c) {
        return static_cast<char>(std::tolower(c));
    });
    return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

bool is_hidden(const fs::path& path) {
    return path.filename().string().starts_with('.');
}

void add_class(const fs::path& folder,
               const fs::path& root,
               std::vector<ImageFile>& files) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        if (entry.is_regular_file() && is_image_name(entry.path()) &&
            !is_hidden(entry.path())) {
            files.push_back(
                {entry.path(),
                 folder.filename().string(),
                 entry.path().lexically_relative(root).generic_string(),
                 entry.file_size()});
        }
    }
}

std::vector<ImageFile> find_images(const std::vector<fs::path>& roots) {
    std::vector<ImageFile> files;
    for (const fs::path& root : roots) {
        FUSIONLLM_VALIDATE(fs::is_directory(root),
                           "'{}' is no folder; name one that has a folder of "
                           "images for each class",
                           root.string());
        for (const auto& entry : fs::directory_iterator(root)) {
            if (entry.is_directory() && !is_hidden(entry.path())) {
                add_class(entry.path(), root, files);
            }
        }
    }
    FUSIONLLM_VALIDATE(!files.empty(),
                       "there is no .png, .jpg or .jpeg file in the folders of "
                       "'{}'; put the images of each class into a folder of "
                       "its own there",
                       roots.empty() ? "" : roots.front().string());
    return files;
}

class FolderSource final : public detail::ImageSource {
public:
    FolderSource(std::vector<ImageFile> files, const ImageShape& shape)
        : files_(std::move(files)), shape_(shape) {
        // Mixed, so that the last ones, which are validation, have all
        // classes; by their names alone, so that all ranks agree.
        std::ranges::sort(files_, {}, [](const ImageFile& file) {
            return std::tuple(derive_key(hash_text("image_folder"), file.name),
                              file.name,
                              file.path);
        });
        std::set<std::string> names;
        for (const ImageFile& file : files_) {
            names.insert(file.class_name);
            hash_ = derive_key(derive_key(hash_, file.name), file.num_bytes);
        }
        FUSIONLLM_VALIDATE(
            static_cast<std::int64_t>(names.size()) <= shape.classes,
            "there are {} folders of classes, but the model has {} classes; "
            "set classes in [model] to {}",
            names.size(),
            shape.classes,
            names.size());
        for (const std::string& name : names) {
            labels_.emplace(name, static_cast<std::int64_t>(labels_.size()));
        }
    }

    std::size_t size() const override { return files_.size(); }
    ImageShape shape() const override { return shape_; }
    std::int64_t label(std::size_t index) const override {
        return labels_.at(files_[index].class_name);
    }
    void copy_pixels(std::size_t index,
                     std::span<std::uint8_t> pixels) const override {
        const fs::path& path = files_[index].path;
        const detail::FileBytes file(path);
        detail::fit_image(
            detail::decode_image(file.bytes(), shape_.channels, path.string()),
            shape_.height,
            shape_.width,
            pixels);
    }
    std::uint64_t content_hash() const override { return hash_; }

private:
    std::vector<ImageFile> files_;
    ImageShape shape_;
    std::map<std::string, std::int64_t> labels_;
    std::uint64_t hash_ = hash_text("image_folder");
};

}  // namespace

DatasetSplit make_image_folder_dataset(const std::vector<fs::path>& paths,
                                       std::uint64_t seed,
                                       const ImageShape& shape,
                                       const ImageOptions& options,
                                       double validation_fraction) {
    FUSIONLLM_VALIDATE(shape.channels == 1 || shape.channels == 3,
                       "images of files have 3 channels or 1, but the model "
                       "takes {}; give it tensors, by kind = \"hdf5\" in "
                       "[data]",
                       shape.channels);
    return detail::make_image_split(
        std::make_shared<FolderSource>(find_images(paths), shape),
        seed,
        options,
        validation_fraction);
}

}  // namespace fusionllm
