#pragma once

#include <filesystem>
#include <vector>

#include <hdf5.h>

namespace fusionllm::test {

enum class Layout { contiguous, chunked };

//! An HDF5 file of some datasets, as another program would write it.
class Hdf5File {
public:
    explicit Hdf5File(const std::filesystem::path& file)
        : id_(H5Fcreate(
              file.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
    Hdf5File(const Hdf5File&) = delete;
    Hdf5File& operator=(const Hdf5File&) = delete;
    ~Hdf5File() { H5Fclose(id_); }

    //! Chunks have three rows.
    template <class Number>
    void add(const char* name,
             hid_t type,
             std::vector<hsize_t> sizes,
             const std::vector<Number>& numbers,
             Layout layout = Layout::contiguous) {
        const hid_t space = H5Screate_simple(
            static_cast<int>(sizes.size()), sizes.data(), nullptr);
        const hid_t made = H5Pcreate(H5P_DATASET_CREATE);
        if (layout == Layout::chunked) {
            sizes[0] = 3;
            H5Pset_chunk(made, static_cast<int>(sizes.size()), sizes.data());
        }
        const hid_t links = H5Pcreate(H5P_LINK_CREATE);
        H5Pset_create_intermediate_group(links, 1);
        const hid_t dataset =
            H5Dcreate2(id_, name, type, space, links, made, H5P_DEFAULT);
        H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers.data());
        H5Dclose(dataset);
        H5Pclose(links);
        H5Pclose(made);
        H5Sclose(space);
        H5Fflush(id_, H5F_SCOPE_GLOBAL);
    }

private:
    hid_t id_;
};

}  // namespace fusionllm::test
