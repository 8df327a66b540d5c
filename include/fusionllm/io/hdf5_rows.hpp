#pragma once

#include <filesystem>
#include <string>

#include "fusionllm/util/stored_rows.hpp"

namespace fusionllm {

//! Whether the file begins as HDF5 files do; false if it cannot be read.
bool is_hdf5_file(const std::filesystem::path& file);

/*!
 * The dataset `name` ("x", "train/x") of an HDF5 file, opened to be read by
 * rows. Elements are converted to `dtype`: integers to integers, numbers
 * with a fraction to f32 or f64, truth values only to bool.
 *
 * The file is opened without MPI and stays open while the rows live; all
 * reading is by the thread that makes the HDF5 calls. Memory: HDF5's cache of
 * chunks, which holds at least two chunks and at most 64 MiB beyond that.
 * Throws `InputError` for a file that is none, a name that is not there (with
 * those that are) and elements that cannot become `dtype`.
 */
StoredRows open_hdf5_rows(const std::filesystem::path& file,
                          const std::string& name,
                          DType dtype);

}  // namespace fusionllm
