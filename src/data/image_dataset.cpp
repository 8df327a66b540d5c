#include "image_dataset.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "token_sample.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::int64_t most_padding = 1024;

//! How an image is looked at: the window of it, and from which side.
struct View {
    std::int64_t top = 0;  // of the window, from the image's; may be below 0
    std::int64_t left = 0;
    bool is_mirrored = false;
};

//! At least 0, at most `most`.
std::int64_t scale(std::uint32_t random, std::int64_t most) {
    return static_cast<std::int64_t>(
        (std::uint64_t{random} * static_cast<std::uint64_t>(most + 1)) >> 32);
}

View draw_view(std::uint64_t key,
               std::size_t index,
               std::uint64_t epoch,
               const ImageOptions& options) {
    const std::uint64_t number = index;
    const PhiloxBlock random =
        philox({{static_cast<std::uint32_t>(number),
                 static_cast<std::uint32_t>(number >> 32),
                 static_cast<std::uint32_t>(epoch),
                 static_cast<std::uint32_t>(epoch >> 32)}},
               make_philox_key(key));
    const std::int64_t padding = options.crop_padding;
    return {scale(random.words[0], 2 * padding) - padding,
            scale(random.words[1], 2 * padding) - padding,
            options.is_flipped && random.words[2] >> 31 == 1};
}

//! What a byte of each channel becomes.
using Values = std::vector<std::array<float, 256>>;

Values make_values(const ImageOptions& options, std::int64_t channels) {
    const auto at = [](const std::vector<double>& numbers,
                       std::size_t channel,
                       double otherwise) {
        return numbers.empty()       ? otherwise
               : numbers.size() == 1 ? numbers.front()
                                     : numbers[channel];
    };
    Values values(static_cast<std::size_t>(channels));
    for (std::size_t channel = 0; channel < values.size(); ++channel) {
        const double mean = at(options.mean, channel, 0.0);
        const double deviation = at(options.deviation, channel, 1.0);
        for (int byte = 0; byte < 256; ++byte) {
            values[channel][static_cast<std::size_t>(byte)] =
                static_cast<float>((byte / 255.0 - mean) / deviation);
        }
    }
    return values;
}

//! What of the source a dataset has.
struct Part {
    std::size_t begin = 0;
    std::size_t size = 0;
};

class ImageDataset final : public Dataset {
public:
    ImageDataset(std::shared_ptr<const ImageSource> source,
                 Part part,
                 std::uint64_t seed,
                 const ImageOptions& options,
                 std::uint64_t content_hash)
        : source_(std::move(source)),
          shape_(source_->shape()),
          part_(part),
          key_(derive_key(seed, "augmentation")),
          options_(options),
          values_(make_values(options, shape_.channels)),
          content_hash_(content_hash) {}

    std::size_t size() const override { return part_.size; }

    std::vector<HostTensor> get(std::size_t index) const override {
        return get_in_epoch(index, 0);
    }

    std::vector<HostTensor> get_in_epoch(std::size_t index,
                                         std::uint64_t epoch) const override {
        FUSIONLLM_EXPECTS(index < part_.size);
        const std::size_t number = part_.begin + index;
        const std::int64_t label = source_->label(number);
        HostTensor labels{{DType::i64, {}},
                          std::vector<std::byte>(sizeof label)};
        std::memcpy(labels.bytes.data(), &label, sizeof label);
        std::vector<HostTensor> sample;
        sample.push_back(
            make_image(number, draw_view(key_, number, epoch, options_)));
        sample.push_back(std::move(labels));
        return sample;
    }

    std::uint64_t content_hash() const override { return content_hash_; }

private:
    HostTensor make_image(std::size_t number, const View& view) const {
        const auto [classes, C, H, W] = shape_;
        const TensorType type{DType::f32, {C, H, W}};
        std::vector<std::uint8_t> pixels(
            static_cast<std::size_t>(num_elements(type)));
        source_->copy_pixels(number, pixels);
        HostTensor image{type, std::vector<std::byte>(num_bytes(type))};
        std::byte* place = image.bytes.data();
        for (std::int64_t c = 0; c < C; ++c) {
            for (std::int64_t y = view.top; y < view.top + H; ++y) {
                for (std::int64_t i = 0; i < W; ++i) {
                    const std::int64_t x =
                        view.left + (view.is_mirrored ? W - 1 - i : i);
                    const bool is_inside = y >= 0 && y < H && x >= 0 && x < W;
                    const std::uint8_t byte =
                        is_inside ? pixels[static_cast<std::size_t>(
                                        (c * H + y) * W + x)]
                                  : std::uint8_t{0};
                    const float value =
                        values_[static_cast<std::size_t>(c)][byte];
                    std::memcpy(place, &value, sizeof value);
                    place += sizeof value;
                }
            }
        }
        return image;
    }

    std::shared_ptr<const ImageSource> source_;
    ImageShape shape_;
    Part part_;
    std::uint64_t key_;
    ImageOptions options_;
    Values values_;
    std::uint64_t content_hash_;
};

void check_channels(const std::vector<double>& numbers,
                    std::string_view what,
                    std::int64_t channels) {
    FUSIONLLM_VALIDATE(
        numbers.size() <= 1 ||
            numbers.size() == static_cast<std::size_t>(channels),
        "there are {} numbers for the {} of pixels, but the images have {} "
        "channels; give one for each, or one for all",
        numbers.size(),
        what,
        channels);
    for (const double number : numbers) {
        FUSIONLLM_VALIDATE(std::isfinite(number),
                           "the {} of pixels is {}; give a finite number",
                           what,
                           number);
    }
}

void check_options(const ImageOptions& options, std::int64_t channels) {
    check_channels(options.mean, "mean", channels);
    check_channels(options.deviation, "deviation", channels);
    for (const double deviation : options.deviation) {
        FUSIONLLM_VALIDATE(deviation > 0.0,
                           "the deviation of pixels is {}, by which they are "
                           "divided; give a number above 0",
                           deviation);
    }
    FUSIONLLM_VALIDATE(
        options.crop_padding >= 0 && options.crop_padding <= most_padding,
        "the padding of random crops is {} pixels; give 0 to {}",
        options.crop_padding,
        most_padding);
}

ImageOptions without_augmentation(ImageOptions options) {
    options.crop_padding = 0;
    options.is_flipped = false;
    return options;
}

}  // namespace

DatasetSplit make_image_split(std::shared_ptr<const ImageSource> source,
                              std::uint64_t seed,
                              const ImageOptions& options,
                              double validation_fraction) {
    check_fraction(validation_fraction);
    check_options(options, source->shape().channels);
    const auto held_out = static_cast<std::size_t>(
        std::floor(static_cast<double>(source->size()) * validation_fraction));
    const std::size_t kept = source->size() - held_out;
    FUSIONLLM_VALIDATE(kept > 0,
                       "there are no images to train on; give files that have "
                       "some");
    const std::uint64_t hash =
        derive_key(source->content_hash(), std::uint64_t{held_out});
    DatasetSplit split;
    split.classes = source->shape().classes;
    split.train = std::make_shared<ImageDataset>(
        source, Part{0, kept}, seed, options, hash);
    if (held_out > 0) {
        split.validation =
            std::make_shared<ImageDataset>(source,
                                           Part{kept, held_out},
                                           seed,
                                           without_augmentation(options),
                                           derive_key(hash, "validation"));
    }
    return split;
}

}  // namespace fusionllm::detail
