#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "fusionllm/data/text.hpp"

namespace fusionllm {

//! What is made of an image's bytes.
struct ImageOptions {
    //! Training images get so many zeros on all sides, then a random window of
    //! their own size is taken; 0: none.
    std::int64_t crop_padding = 0;
    bool is_flipped = false;  //!< training images: mirrored, half of the time
    //! Of each channel, of pixels from 0 to 1: x becomes (x - mean) /
    //! deviation. One number is for all channels; empty: 0 and 1.
    std::vector<double> mean;
    std::vector<double> deviation;

    friend bool operator==(const ImageOptions&, const ImageOptions&) = default;
};

//! Classes and sizes of images.
struct ImageShape {
    std::int64_t classes = 10;
    std::int64_t channels = 3;
    std::int64_t height = 32;
    std::int64_t width = 32;

    friend bool operator==(const ImageShape&, const ImageShape&) = default;
};

/*
 * Datasets of "image" f32 (C, H, W) and "labels" i64 (), one number. The last
 * `validation_fraction` of all images is validation, which is not augmented.
 * Crops and flips are a function of the seed, the image and the epoch
 * (`Dataset::get_in_epoch`; `get` is epoch 0). Files are mapped, not loaded.
 * Throw `InputError` for files that are cut off or hold something else, and for
 * options that do not fit the images.
 */

/*!
 * CIFAR-10's binary files: records of a label below 10 and 3 planes (red,
 * green, blue) of 32 x 32 bytes; or those of its Python version, the same in
 * pickles. `paths` are files, or folders whose .bin files, else data_batch_1 to
 * test_batch, are taken in the order of their names.
 */
DatasetSplit make_cifar10_dataset(
    const std::vector<std::filesystem::path>& paths,
    std::uint64_t seed,
    const ImageOptions& options,
    double validation_fraction);

/*!
 * IDX files, as of MNIST: images u8 (N, H, W) or (N, C, H, W) and labels u8
 * (N), not compressed. `paths` are both kinds; the first file of labels belongs
 * to the first one of images, and so on.
 */
DatasetSplit make_idx_dataset(const std::vector<std::filesystem::path>& paths,
                              std::uint64_t seed,
                              const ImageOptions& options,
                              double validation_fraction);

/*!
 * Folders of PNG and JPEG files: each folder in one of `paths` is a class, with
 * all images below it; classes are numbered in the order of their names, over
 * all paths. Images are scaled until they just cover the height and width of
 * `shape`, and their middle is taken; they have its channels, 3 or 1. Their
 * order, and so which are validation, follows from their names.
 *
 * Images are read when they are wanted: a damaged one throws then. The content
 * hash is of names and sizes. Throws `InputError` for more classes than `shape`
 * has.
 */
DatasetSplit make_image_folder_dataset(
    const std::vector<std::filesystem::path>& paths,
    std::uint64_t seed,
    const ImageShape& shape,
    const ImageOptions& options,
    double validation_fraction);

/*!
 * A made-up task that can be learned, 2^20 images without a file: each class
 * has a picture of random blocks, 4 x 4 of them; an image is that of its class,
 * moved by up to a block around the edges, under noise of a quarter of the
 * range.
 */
DatasetSplit make_synthetic_image_dataset(std::uint64_t seed,
                                          const ImageShape& shape,
                                          const ImageOptions& options,
                                          double validation_fraction);

//! Grey images, of one channel, for a model of `count`: the channel so often.
DatasetSplit repeat_channels(DatasetSplit split, std::int64_t count);

}  // namespace fusionllm
