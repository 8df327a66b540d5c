#include "decode_image.hpp"

#include <algorithm>
#include <memory>
#include <string_view>

#include <png.h>
#include <turbojpeg.h>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::int64_t most_pixels = std::int64_t{1} << 26;

bool begins_with(std::span<const std::byte> file, std::string_view signature) {
    return file.size() >= signature.size() &&
           std::ranges::equal(file.first(signature.size()),
                              std::as_bytes(std::span(signature)));
}

[[noreturn]] void fail(const std::string& name, std::string_view why) {
    throw InputError(fmt::format(
        "the image '{}' cannot be read: {}; leave it out, or get it again",
        name,
        why));
}

Pixels make_pixels(std::int64_t height,
                   std::int64_t width,
                   std::int64_t channels,
                   const std::string& name) {
    if (height <= 0 || width <= 0) {
        fail(name, "it has no pixels");
    }
    FUSIONLLM_VALIDATE(
        height <= most_pixels / width,
        "the image '{}' is said to have {} x {} pixels; the most that is read "
        "is {}: make it smaller",
        name,
        width,
        height,
        most_pixels);
    return {height,
            width,
            channels,
            std::vector<std::uint8_t>(
                static_cast<std::size_t>(height * width * channels))};
}

//! What libpng holds for an image, freed.
struct PngImage : png_image {
    PngImage() : png_image{} { version = PNG_IMAGE_VERSION; }
    PngImage(const PngImage&) = delete;
    PngImage& operator=(const PngImage&) = delete;
    ~PngImage() { png_image_free(this); }
};

Pixels decode_png(std::span<const std::byte> file,
                  std::int64_t channels,
                  const std::string& name) {
    PngImage image;
    if (png_image_begin_read_from_memory(&image, file.data(), file.size()) ==
        0) {
        fail(name, image.message);
    }
    image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    Pixels pixels = make_pixels(image.height, image.width, channels, name);
    const png_color black{};
    if (png_image_finish_read(
            &image, &black, pixels.bytes.data(), 0, nullptr) == 0) {
        fail(name, image.message);
    }
    return pixels;
}

struct FreeJpeg {
    void operator()(void* handle) const { tjDestroy(handle); }
};

Pixels decode_jpeg(std::span<const std::byte> file,
                   std::int64_t channels,
                   const std::string& name) {
    const std::unique_ptr<void, FreeJpeg> jpeg(tjInitDecompress());
    const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
    int width = 0;
    int height = 0;
    int sampling = 0;
    int colours = 0;
    // Warnings are of bytes that are skipped, which cameras often leave.
    const auto check = [&](int result) {
        const std::string_view why = tjGetErrorStr2(jpeg.get());
        if (result != 0 && (tjGetErrorCode(jpeg.get()) != TJERR_WARNING ||
                            why.find("remature end") != why.npos)) {
            fail(name, why);
        }
    };
    check(tjDecompressHeader3(
        jpeg.get(), bytes, file.size(), &width, &height, &sampling, &colours));
    if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
        fail(name, "its colours are inks (CMYK); convert it to RGB");
    }
    Pixels pixels = make_pixels(height, width, channels, name);
    const int result = tjDecompress2(jpeg.get(),
                                     bytes,
                                     file.size(),
                                     pixels.bytes.data(),
                                     width,
                                     0,
                                     height,
                                     channels == 1 ? TJPF_GRAY : TJPF_RGB,
                                     TJFLAG_LIMITSCANS);
    // Warnings are of bytes that are skipped, which cameras often leave.
    const std::string_view why = tjGetErrorStr2(jpeg.get());
    if (result != 0 && (tjGetErrorCode(jpeg.get()) != TJERR_WARNING ||
                        why.find("remature end") != why.npos)) {
        fail(name, why);
    }
    return pixels;
}

}  // namespace

Pixels decode_image(std::span<const std::byte> file,
                    std::int64_t channels,
                    const std::string& name) {
    FUSIONLLM_EXPECTS(channels == 1 || channels == 3);
    if (begins_with(file, "\x89PNG\r\n\x1a\n")) {
        return decode_png(file, channels, name);
    }
    if (begins_with(file, "\xff\xd8\xff")) {
        return decode_jpeg(file, channels, name);
    }
    fail(name, "it is neither PNG nor JPEG");
}

}  // namespace fusionllm::detail
