#include <algorithm>
#include <cmath>

#include "fusionllm/util/error.hpp"

#include "decode_image.hpp"

namespace fusionllm::detail {
namespace {

//! What one target pixel takes of a row or column of the source.
struct Taps {
    std::size_t first = 0;
    std::vector<float> weights;  // add up to 1
};

//! Of `target` pixels that lie over the middle `source / scale` of the source.
std::vector<Taps> make_taps(std::int64_t source,
                            std::int64_t target,
                            double scale) {
    const double step = 1.0 / scale;
    const double reach = std::max(1.0, step);
    const double begin =
        (static_cast<double>(source) - static_cast<double>(target) * step) / 2;
    std::vector<Taps> all;
    for (std::int64_t i = 0; i < target; ++i) {
        const double middle = begin + (static_cast<double>(i) + 0.5) * step;
        const auto low = std::max<std::int64_t>(
            0, static_cast<std::int64_t>(std::floor(middle - reach)));
        const auto high = std::min<std::int64_t>(
            source, static_cast<std::int64_t>(std::ceil(middle + reach)));
        Taps taps{static_cast<std::size_t>(low), {}};
        double sum = 0;
        for (std::int64_t x = low; x < high; ++x) {
            const double away =
                std::abs(static_cast<double>(x) + 0.5 - middle) / reach;
            taps.weights.push_back(
                static_cast<float>(std::max(0.0, 1.0 - away)));
            sum += taps.weights.back();
        }
        for (float& weight : taps.weights) {
            weight = static_cast<float>(weight / sum);
        }
        all.push_back(std::move(taps));
    }
    return all;
}

//! One channel of the image, as wide as the target: (H of the source, W).
std::vector<float> fit_rows(const Pixels& image,
                            std::size_t channel,
                            const std::vector<Taps>& columns) {
    const auto channels = static_cast<std::size_t>(image.channels);
    const auto width = static_cast<std::size_t>(image.width);
    std::vector<float> rows;
    rows.reserve(static_cast<std::size_t>(image.height) * columns.size());
    for (std::int64_t y = 0; y < image.height; ++y) {
        const std::uint8_t* row =
            image.bytes.data() + static_cast<std::size_t>(y) * width * channels;
        for (const Taps& taps : columns) {
            float sum = 0;
            for (std::size_t i = 0; i < taps.weights.size(); ++i) {
                sum += taps.weights[i] *
                       row[(taps.first + i) * channels + channel];
            }
            rows.push_back(sum);
        }
    }
    return rows;
}

}  // namespace

void fit_image(const Pixels& image,
               std::int64_t height,
               std::int64_t width,
               std::span<std::uint8_t> planes) {
    FUSIONLLM_EXPECTS(planes.size() == static_cast<std::size_t>(
                                           image.channels * height * width));
    const double scale = std::max(
        static_cast<double>(height) / static_cast<double>(image.height),
        static_cast<double>(width) / static_cast<double>(image.width));
    const auto columns = make_taps(image.width, width, scale);
    const auto rows = make_taps(image.height, height, scale);
    std::uint8_t* place = planes.data();
    for (std::int64_t channel = 0; channel < image.channels; ++channel) {
        const auto fitted =
            fit_rows(image, static_cast<std::size_t>(channel), columns);
        for (const Taps& taps : rows) {
            for (std::size_t x = 0; x < columns.size(); ++x) {
                float sum = 0;
                for (std::size_t i = 0; i < taps.weights.size(); ++i) {
                    sum += taps.weights[i] *
                           fitted[(taps.first + i) * columns.size() + x];
                }
                *place++ = static_cast<std::uint8_t>(
                    std::clamp(std::lround(sum), 0L, 255L));
            }
        }
    }
}

}  // namespace fusionllm::detail
