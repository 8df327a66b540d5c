#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fusionllm::detail {

//! Images of one file: label i belongs to the bytes from i * 3072 on.
struct Cifar10Batch {
    std::vector<std::int64_t> labels;
    std::span<const std::byte> pixels;  //!< in the file
};

//! Whether the bytes begin as pickles do; a binary file begins with a label.
bool is_pickle(std::span<const std::byte> file);

/*!
 * A file of CIFAR-10's Python version: a pickled dict of "data", a numpy array
 * u8 (N, 3072), and "labels", a list of N numbers. Nothing of it is run. `name`
 * is for messages. Throws `InputError` for anything else.
 */
Cifar10Batch read_cifar10_pickle(std::span<const std::byte> file,
                                 const std::string& name);

}  // namespace fusionllm::detail
