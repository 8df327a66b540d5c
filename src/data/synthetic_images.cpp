#include <algorithm>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/random.hpp"

#include "image_dataset.hpp"

namespace fusionllm {
namespace {

constexpr std::size_t num_images = std::size_t{1} << 20;
constexpr std::int64_t num_blocks = 4;  // a side
constexpr int half_noise = 64;
constexpr std::int64_t most_classes = 65536;
constexpr std::int64_t most_side = 4096;

std::int64_t below(std::uint32_t random, std::int64_t limit) {
    return static_cast<std::int64_t>(
        (std::uint64_t{random} * static_cast<std::uint64_t>(limit)) >> 32);
}

class SyntheticSource final : public detail::ImageSource {
public:
    SyntheticSource(std::uint64_t seed, const ImageShape& shape)
        : key_(derive_key(seed, "synthetic images")), shape_(shape) {}

    std::size_t size() const override { return num_images; }
    ImageShape shape() const override { return shape_; }

    std::int64_t label(std::size_t index) const override {
        return below(draw(index).words[0], shape_.classes);
    }

    void copy_pixels(std::size_t index,
                     std::span<std::uint8_t> pixels) const override {
        const auto [classes, C, H, W] = shape_;
        const PhiloxBlock random = draw(index);
        const std::int64_t picture = below(random.words[0], classes);
        const std::int64_t down = below(random.words[1], block(H));
        const std::int64_t right = below(random.words[2], block(W));
        const PhiloxKey noise_key =
            make_philox_key(derive_key(derive_key(key_, "noise"), index));
        std::size_t i = 0;
        PhiloxBlock noise{};
        for (std::int64_t c = 0; c < C; ++c) {
            for (std::int64_t y = 0; y < H; ++y) {
                for (std::int64_t x = 0; x < W; ++x, ++i) {
                    if (i % 4 == 0) {
                        noise = philox(
                            {{static_cast<std::uint32_t>(i / 4), 0, 0, 0}},
                            noise_key);
                    }
                    const auto offset = static_cast<int>(
                        below(noise.words[i % 4], 2 * half_noise + 1));
                    const int value =
                        color(picture, c, (y + down) % H, (x + right) % W) +
                        offset - half_noise;
                    pixels[i] =
                        static_cast<std::uint8_t>(std::clamp(value, 0, 255));
                }
            }
        }
    }

    std::uint64_t content_hash() const override {
        std::uint64_t hash = key_;
        for (const std::int64_t size :
             {shape_.classes, shape_.channels, shape_.height, shape_.width}) {
            hash = derive_key(hash, static_cast<std::uint64_t>(size));
        }
        return hash;
    }

private:
    static std::int64_t block(std::int64_t side) {
        return (side + num_blocks - 1) / num_blocks;
    }

    PhiloxBlock draw(std::size_t index) const {
        return philox({{static_cast<std::uint32_t>(index), 0, 0, 0}},
                      make_philox_key(key_));
    }

    //! Of the picture of a class at a place.
    int color(std::int64_t picture,
              std::int64_t channel,
              std::int64_t y,
              std::int64_t x) const {
        const std::int64_t place =
            (channel * num_blocks + y / block(shape_.height)) * num_blocks +
            x / block(shape_.width);
        const PhiloxBlock random = philox({{static_cast<std::uint32_t>(place),
                                            static_cast<std::uint32_t>(picture),
                                            1,
                                            0}},
                                          make_philox_key(key_));
        return static_cast<int>(random.words[0] >> 24);
    }

    std::uint64_t key_;
    ImageShape shape_;
};

void check_size(const char* what, std::int64_t size, std::int64_t most) {
    FUSIONLLM_VALIDATE(size >= 1 && size <= most,
                       "made-up images cannot have {} {}; give 1 to {}",
                       size,
                       what,
                       most);
}

}  // namespace

DatasetSplit make_synthetic_image_dataset(std::uint64_t seed,
                                          const ImageShape& shape,
                                          const ImageOptions& options,
                                          double validation_fraction) {
    check_size("classes", shape.classes, most_classes);
    check_size("channels", shape.channels, most_side);
    check_size("rows", shape.height, most_side);
    check_size("columns", shape.width, most_side);
    return detail::make_image_split(
        std::make_shared<SyntheticSource>(seed, shape),
        seed,
        options,
        validation_fraction);
}

}  // namespace fusionllm
