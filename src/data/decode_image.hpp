#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fusionllm::detail {

//! Rows of pixels of interleaved channels (H, W, C).
struct Pixels {
    std::int64_t height = 0;
    std::int64_t width = 0;
    std::int64_t channels = 0;
    std::vector<std::uint8_t> bytes;
};

/*!
 * The pixels of a PNG or JPEG file in 3 channels (red, green, blue) or 1
 * (grey), whichever it has itself; what is transparent is black. `name` is for
 * messages. Throws `InputError` for other files, damaged ones, more than 2^26
 * pixels and JPEG in inks (CMYK).
 */
Pixels decode_image(std::span<const std::byte> file,
                    std::int64_t channels,
                    const std::string& name);

/*!
 * Scaled so that it just covers height x width, of which the middle is taken,
 * as planes (C, H, W). When it is made smaller, a pixel is the mean of those
 * that fall on it, weighted by a triangle.
 */
void fit_image(const Pixels& image,
               std::int64_t height,
               std::int64_t width,
               std::span<std::uint8_t> planes);

}  // namespace fusionllm::detail
