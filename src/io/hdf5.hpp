#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include <hdf5.h>

#include "fusionllm/util/tensor_type.hpp"

namespace fusionllm::detail {

//! Owns one HDF5 id; closes it with the function that belongs to its kind.
class Hdf5Handle {
public:
    using Close = herr_t (*)(hid_t);
    Hdf5Handle() = default;
    Hdf5Handle(hid_t id, Close close) : id_(id), close_(close) {}
    Hdf5Handle(Hdf5Handle&& other) noexcept
        : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
    Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
        std::swap(id_, other.id_);
        std::swap(close_, other.close_);
        return *this;
    }
    ~Hdf5Handle() {
        if (id_ >= 0) {
            close_(id_);
        }
    }

    hid_t get() const { return id_; }
    //! Give the id away, to close it with a check.
    hid_t release() { return std::exchange(id_, -1); }

private:
    hid_t id_ = -1;
    Close close_ = nullptr;
};

//! HDF5 prints nothing by itself while this lives.
class Hdf5Quiet {
public:
    Hdf5Quiet();
    ~Hdf5Quiet();
    Hdf5Quiet(const Hdf5Quiet&) = delete;
    Hdf5Quiet& operator=(const Hdf5Quiet&) = delete;

private:
    H5E_auto2_t print_ = nullptr;
    void* client_ = nullptr;
};

/*!
 * The result of an HDF5 call, unless it is negative: then throw `Error` "cannot
 * `doing` in 'FILE'" with the innermost reason on HDF5's error stack.
 */
template <class Result>
Result hdf5_call(Result result,
                 const std::string& doing,
                 const std::filesystem::path& file);
[[noreturn]] void throw_hdf5_error(const std::string& doing,
                                   const std::filesystem::path& file);

template <class Result>
Result hdf5_call(Result result,
                 const std::string& doing,
                 const std::filesystem::path& file) {
    if (result < 0) {
        throw_hdf5_error(doing, file);
    }
    return result;
}

//! Type in the file, and in memory too: bytes are copied, never converted.
Hdf5Handle make_file_type(DType dtype);

/*!
 * Make the dataset, with its groups (collective if the file is parallel).
 *
 * Contiguous, its space taken at once and not filled. Types that HDF5 does not
 * have (bf16, bool) are unsigned integers with an attribute "dtype".
 */
Hdf5Handle create_dataset(hid_t file_id,
                          const std::string& name,
                          const TensorType& type,
                          const std::filesystem::path& file);

/*!
 * Write the whole dataset from this rank alone, at most `max_bytes` a call
 * (or one row, if that is more): MPI-IO counts bytes in an int.
 */
void write_dataset(hid_t dataset,
                   const std::string& name,
                   const TensorType& type,
                   std::span<const std::byte> bytes,
                   std::size_t max_bytes,
                   const std::filesystem::path& file);

//! Element type and sizes of a dataset; throws `Error` for any other kind.
TensorType read_dataset_type(hid_t dataset,
                             const std::string& name,
                             const std::filesystem::path& file);

/*!
 * The whole dataset. Throws `InputError` if its bytes cannot be in the file,
 * before memory is taken for them; `Error` if it cannot be read.
 */
HostTensor read_tensor(hid_t file_id,
                       const std::string& name,
                       const std::filesystem::path& file);

//! Of a checkpoint's file: lines of a tensor's CRC-32C, a blank and its name.
constexpr const char* checksums_name = "checksums";

}  // namespace fusionllm::detail
