#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "fusionllm/data/images.hpp"

namespace fusionllm::detail {

//! Images by number, as bytes.
class ImageSource {
public:
    virtual ~ImageSource() = default;
    virtual std::size_t size() const = 0;
    virtual ImageShape shape() const = 0;
    virtual std::int64_t label(std::size_t index) const = 0;
    //! Planes of rows (C, H, W).
    virtual void copy_pixels(std::size_t index,
                             std::span<std::uint8_t> pixels) const = 0;
    virtual std::uint64_t content_hash() const = 0;
};

//! The images of a source, augmented for training, and the last ones as they
//! are for validation.
DatasetSplit make_image_split(std::shared_ptr<const ImageSource> source,
                              std::uint64_t seed,
                              const ImageOptions& options,
                              double validation_fraction);

}  // namespace fusionllm::detail
