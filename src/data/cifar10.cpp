#include <algorithm>
#include <cstring>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"

#include "file_bytes.hpp"
#include "image_dataset.hpp"
#include "token_stream.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t num_classes = 10;
constexpr std::size_t image_bytes = 3 * 32 * 32;
constexpr std::size_t record_bytes = 1 + image_bytes;  // the label first

std::vector<fs::path> find_bin_files(const fs::path& folder) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.is_regular_file() && entry.path().extension() == ".bin") {
            files.push_back(entry.path());
        }
    }
    std::ranges::sort(files);
    FUSIONLLM_VALIDATE(!files.empty(),
                       "there is no .bin file in the folder '{}'; name that of "
                       "CIFAR-10's binary version",
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
        const auto found = find_bin_files(path);
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

    std::size_t size() const override { return records_.size(); }
    ImageShape shape() const override { return {num_classes, 3, 32, 32}; }
    std::int64_t label(std::size_t index) const override {
        return std::to_integer<std::int64_t>(*records_[index]);
    }
    void copy_pixels(std::size_t index,
                     std::span<std::uint8_t> pixels) const override {
        FUSIONLLM_EXPECTS(pixels.size() == image_bytes);
        std::memcpy(pixels.data(), records_[index] + 1, image_bytes);
    }
    std::uint64_t content_hash() const override { return hash_; }

private:
    void add(const fs::path& path) {
        auto file = std::make_shared<const detail::FileBytes>(path);
        const auto bytes = file->bytes();
        FUSIONLLM_VALIDATE(bytes.size() % record_bytes == 0,
                           "'{}' has {} bytes, but CIFAR-10's binary files "
                           "have {} an image; it is another file, or cut off",
                           path.string(),
                           bytes.size(),
                           record_bytes);
        for (std::size_t at = 0; at < bytes.size(); at += record_bytes) {
            const auto label = std::to_integer<std::int64_t>(bytes[at]);
            FUSIONLLM_VALIDATE(label < num_classes,
                               "image {} of '{}' has the label {}, but "
                               "CIFAR-10 has labels below 10 only; it is "
                               "another file",
                               at / record_bytes,
                               path.string(),
                               label);
            records_.push_back(bytes.data() + at);
        }
        all_.append({bytes, 1, std::move(file)});
    }

    detail::TokenStream all_;  // holds the files
    std::vector<const std::byte*> records_;
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
