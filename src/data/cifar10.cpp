#include <algorithm>
#include <cstring>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"

#include "cifar10_pickle.hpp"
#include "file_bytes.hpp"
#include "image_dataset.hpp"
#include "token_stream.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t num_classes = 10;
constexpr std::size_t image_bytes = 3 * 32 * 32;
constexpr std::size_t record_bytes = 1 + image_bytes;  // the label first

bool is_of_python(const fs::path& path) {
    const std::string name = path.filename().string();
    return path.extension().empty() &&
           (name.starts_with("data_batch_") || name.starts_with("test_batch"));
}

std::vector<fs::path> find_batches(const fs::path& folder) {
    std::vector<fs::path> binary;
    std::vector<fs::path> of_python;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.is_regular_file() && entry.path().extension() == ".bin") {
            binary.push_back(entry.path());
        } else if (entry.is_regular_file() && is_of_python(entry.path())) {
            of_python.push_back(entry.path());
        }
    }
    auto& files = binary.empty() ? of_python : binary;
    std::ranges::sort(files);
    FUSIONLLM_VALIDATE(!files.empty(),
                       "there is no .bin file in the folder '{}', and no "
                       "data_batch_1; name that of CIFAR-10's binary or Python "
                       "version",
                       folder.string());
    return files;
}

std::vector<fs::path> find_files(const std::vector<fs::path>& paths) {
    FUSIONLLM_VALIDATE(!paths.empty(),
                       "no path to CIFAR-10's files is given; name at least "
                       "one file or folder");
    std::vector<fs::path> files;
    for (const fs::path& path : paths) {
        if (!fs::is_directory(path)) {
            files.push_back(path);
            continue;
        }
        const auto found = find_batches(path);
        files.insert(files.end(), found.begin(), found.end());
    }
    return files;
}

class Cifar10Source final : public detail::ImageSource {
public:
    explicit Cifar10Source(const std::vector<fs::path>& files) {
        for (const fs::path& file : files) {
            add(file);
        }
        hash_ = all_.hash(hash_text("cifar10"));
    }

    std::size_t size() const override { return images_.size(); }
    ImageShape shape() const override { return {num_classes, 3, 32, 32}; }
    std::int64_t label(std::size_t index) const override {
        return images_[index].label;
    }
    void copy_pixels(std::size_t index,
                     std::span<std::uint8_t> pixels) const override {
        FUSIONLLM_EXPECTS(pixels.size() == image_bytes);
        std::memcpy(pixels.data(), images_[index].pixels, image_bytes);
    }
    std::uint64_t content_hash() const override { return hash_; }

private:
    struct Image {
        std::int64_t label;
        const std::byte* pixels;
    };

    void add(const fs::path& path) {
        auto file = std::make_shared<const detail::FileBytes>(path);
        if (detail::is_pickle(file->bytes())) {
            add_pickle(path, std::move(file));
        } else {
            add_records(path, std::move(file));
        }
    }

    void add_records(const fs::path& path,
                     std::shared_ptr<const detail::FileBytes> file) {
        const auto bytes = file->bytes();
        FUSIONLLM_VALIDATE(bytes.size() % record_bytes == 0,
                           "'{}' has {} bytes, but CIFAR-10's binary files "
                           "have {} an image; it is another file, or cut off",
                           path.string(),
                           bytes.size(),
                           record_bytes);
        for (std::size_t at = 0; at < bytes.size(); at += record_bytes) {
            add_image(path,
                      at / record_bytes,
                      std::to_integer<std::int64_t>(bytes[at]),
                      bytes.data() + at + 1);
        }
        all_.append({bytes, 1, std::move(file)});
    }

    void add_pickle(const fs::path& path,
                    std::shared_ptr<const detail::FileBytes> file) {
        auto batch = std::make_shared<const detail::Cifar10Batch>(
            detail::read_cifar10_pickle(file->bytes(), path.string()));
        for (std::size_t i = 0; i < batch->labels.size(); ++i) {
            add_image(path,
                      i,
                      batch->labels[i],
                      batch->pixels.data() + i * image_bytes);
        }
        all_.append({batch->pixels, 1, std::move(file)});
        all_.append({std::as_bytes(std::span(batch->labels)), 1, batch});
    }

    void add_image(const fs::path& path,
                   std::size_t number,
                   std::int64_t label,
                   const std::byte* pixels) {
        FUSIONLLM_VALIDATE(label >= 0 && label < num_classes,
                           "image {} of '{}' has the label {}, but "
                           "CIFAR-10 has labels below 10 only; it is "
                           "another file",
                           number,
                           path.string(),
                           label);
        images_.push_back({label, pixels});
    }

    detail::TokenStream all_;  // holds the files
    std::vector<Image> images_;
    std::uint64_t hash_ = 0;
};

}  // namespace

DatasetSplit make_cifar10_dataset(const std::vector<fs::path>& paths,
                                  std::uint64_t seed,
                                  const ImageOptions& options,
                                  double validation_fraction) {
    return detail::make_image_split(
        std::make_shared<Cifar10Source>(find_files(paths)),
        seed,
        options,
        validation_fraction);
}

}  // namespace fusionllm
