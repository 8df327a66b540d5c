#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/hash.hpp"

#include "file_bytes.hpp"
#include "image_dataset.hpp"
#include "token_stream.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t most_pixels = std::int64_t{1} << 28;  // of an image

//! A mapped file and what its header says.
struct IdxFile {
    fs::path path;
    std::shared_ptr<const detail::FileBytes> file;
    std::vector<std::int64_t> sizes;
    std::span<const std::byte> values;
};

std::int64_t read_big_endian(std::span<const std::byte> bytes) {
    std::int64_t number = 0;
    for (const std::byte byte : bytes) {
        number = number << 8 | std::to_integer<std::int64_t>(byte);
    }
    return number;
}

IdxFile read_idx(const fs::path& path) {
    IdxFile idx{path, std::make_shared<const detail::FileBytes>(path), {}, {}};
    const auto bytes = idx.file->bytes();
    const auto at = [&](std::size_t i) {
        return i < bytes.size() ? std::to_integer<int>(bytes[i]) : -1;
    };
    FUSIONLLM_VALIDATE(at(0) != 0x1f || at(1) != 0x8b,
                       "'{}' is compressed; unpack it with gunzip first",
                       path.string());
    const std::size_t num_sizes =
        at(3) < 0 ? 0 : static_cast<std::size_t>(at(3));
    const std::size_t header_bytes = 4 + 4 * num_sizes;
    FUSIONLLM_VALIDATE(
        at(0) == 0 && at(1) == 0 && at(2) == 8 &&
            (num_sizes == 1 || num_sizes == 3 || num_sizes == 4) &&
            bytes.size() >= header_bytes,
        "'{}' is no IDX file of images or labels in bytes (it must begin with "
        "00 00 08 and 03 or 01); name files such as MNIST's",
        path.string());
    std::int64_t num_values = 1;
    for (std::size_t i = 0; i < num_sizes; ++i) {
        idx.sizes.push_back(read_big_endian(bytes.subspan(4 + 4 * i, 4)));
        const std::int64_t size = idx.sizes.back();
        // Not more than there are bytes, so that no product is too large.
        const bool is_fitting =
            num_values >= 0 &&
            (size == 0 ||
             num_values <= static_cast<std::int64_t>(bytes.size()) / size);
        num_values = is_fitting ? num_values * size : -1;
    }
    idx.values = bytes.subspan(header_bytes);
    FUSIONLLM_VALIDATE(
        num_values >= 0 &&
            idx.values.size() == static_cast<std::size_t>(num_values),
        "the header of '{}' does not fit the {} bytes that follow it; it was "
        "cut off or damaged: get it again",
        path.string(),
        idx.values.size());
    return idx;
}

ImageShape shape_of(const IdxFile& images) {
    const auto& sizes = images.sizes;
    const std::size_t last = sizes.size() - 1;
    const ImageShape shape{
        256, last == 3 ? sizes[1] : 1, sizes[last - 1], sizes[last]};
    FUSIONLLM_VALIDATE(
        shape.channels > 0 && shape.height > 0 && shape.width > 0 &&
            shape.channels * shape.height <= most_pixels / shape.width,
        "the images of '{}' have {} x {} x {} pixels; give some that have any, "
        "and no more than {}",
        images.path.string(),
        shape.channels,
        shape.height,
        shape.width,
        most_pixels);
    return shape;
}

class IdxSource final : public detail::ImageSource {
public:
    IdxSource(std::vector<IdxFile> images, std::vector<IdxFile> labels)
        : images_(std::move(images)), labels_(std::move(labels)) {
        shape_ = shape_of(images_.front());
        detail::TokenStream all;
        for (std::size_t i = 0; i < images_.size(); ++i) {
            check_pair(images_[i], labels_[i]);
            begins_.push_back(size_);
            size_ += labels_[i].values.size();
            all.append({images_[i].values, 1, images_[i].file});
            all.append({labels_[i].values, 1, labels_[i].file});
        }
        hash_ = all.hash(hash_text("idx"));
        std::uint8_t largest = 0;
        for (const IdxFile& labels : labels_) {
            for (const std::byte label : labels.values) {
                largest =
                    std::max(largest, std::to_integer<std::uint8_t>(label));
            }
        }
        shape_.classes = largest + 1;
    }

    std::size_t size() const override { return size_; }
    ImageShape shape() const override { return shape_; }
    std::int64_t label(std::size_t index) const override {
        const auto [file, number] = find(index);
        return std::to_integer<std::int64_t>(labels_[file].values[number]);
    }
    void copy_pixels(std::size_t index,
                     std::span<std::uint8_t> pixels) const override {
        const auto [file, number] = find(index);
        const auto image =
            images_[file].values.subspan(number * pixels.size(), pixels.size());
        std::memcpy(pixels.data(), image.data(), image.size());
    }
    std::uint64_t content_hash() const override { return hash_; }

private:
    void check_pair(const IdxFile& images, const IdxFile& labels) const {
        FUSIONLLM_VALIDATE(images.sizes.front() == labels.sizes.front(),
                           "'{}' has {} images, but '{}' has {} labels; name "
                           "the files of images and those of labels in the "
                           "same order",
                           images.path.string(),
                           images.sizes.front(),
                           labels.path.string(),
                           labels.sizes.front());
        FUSIONLLM_VALIDATE(shape_of(images) == shape_,
                           "the images of '{}' have another size than those "
                           "of '{}'; name files of one size",
                           images.path.string(),
                           images_.front().path.string());
    }

    //! The file, and the number in it.
    std::pair<std::size_t, std::size_t> find(std::size_t index) const {
        const auto after = std::ranges::upper_bound(begins_, index);
        const auto file = static_cast<std::size_t>(after - begins_.begin()) - 1;
        return {file, index - begins_[file]};
    }

    std::vector<IdxFile> images_;
    std::vector<IdxFile> labels_;
    std::vector<std::size_t> begins_;
    std::size_t size_ = 0;
    ImageShape shape_;
    std::uint64_t hash_ = 0;
};

}  // namespace

DatasetSplit make_idx_dataset(const std::vector<fs::path>& paths,
                              std::uint64_t seed,
                              const ImageOptions& options,
                              double validation_fraction) {
    std::vector<IdxFile> images;
    std::vector<IdxFile> labels;
    for (const fs::path& path : paths) {
        IdxFile file = read_idx(path);
        (file.sizes.size() == 1 ? labels : images).push_back(std::move(file));
    }
    FUSIONLLM_VALIDATE(
        !images.empty() && images.size() == labels.size(),
        "there are {} IDX files of images and {} of labels; give as many of "
        "both, at least one",
        images.size(),
        labels.size());
    return detail::make_image_split(
        std::make_shared<IdxSource>(std::move(images), std::move(labels)),
        seed,
        options,
        validation_fraction);
}

}  // namespace fusionllm
