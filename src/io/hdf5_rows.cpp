#include "fusionllm/io/hdf5_rows.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/text.hpp"

#include "hdf5.hpp"

namespace fusionllm {
namespace {

namespace fs = std::filesystem;
using detail::hdf5_call;
using detail::Hdf5Handle;
using detail::Hdf5Quiet;

constexpr std::size_t most_cached_bytes = std::size_t{64} << 20;
constexpr std::size_t most_named = 10;
constexpr hsize_t most_rows = hsize_t{1} << 48;

//! An open dataset; handles close in the reverse order.
struct OpenRows {
    fs::path path;
    std::string name;
    Hdf5Handle file;
    Hdf5Handle dataset;
    Hdf5Handle space;
    Hdf5Handle element;  // in memory
    std::vector<hsize_t> sizes;
};

enum class ElementKind { integer, fraction, truth, complex, other };

ElementKind kind_of(hid_t stored) {
    switch (H5Tget_class(stored)) {
        case H5T_INTEGER:
            return ElementKind::integer;
        case H5T_FLOAT:
            return ElementKind::fraction;
        case H5T_ENUM:  // h5py's bool: FALSE and TRUE of one byte
            return H5Tget_size(stored) == 1 && H5Tget_nmembers(stored) == 2
                       ? ElementKind::truth
                       : ElementKind::other;
        case H5T_COMPOUND:  // h5py's complex numbers
            return H5Tget_nmembers(stored) == 2 &&
                           H5Tget_member_index(stored, "r") >= 0 &&
                           H5Tget_member_index(stored, "i") >= 0
                       ? ElementKind::complex
                       : ElementKind::other;
        default:
            return ElementKind::other;
    }
}

bool becomes(ElementKind kind, DType dtype) {
    switch (kind) {
        case ElementKind::integer:
            return !is_differentiable(dtype) && dtype != DType::boolean;
        case ElementKind::fraction:
            return is_floating_point(dtype) && dtype != DType::bf16;
        case ElementKind::truth:
            return dtype == DType::boolean;
        case ElementKind::complex:
            return is_complex(dtype);
        default:
            return false;
    }
}

std::string_view describe(ElementKind kind) {
    switch (kind) {
        case ElementKind::integer:
            return "integers";
        case ElementKind::fraction:
            return "numbers with a fraction";
        case ElementKind::truth:
            return "truth values";
        case ElementKind::complex:
            return "complex numbers";
        default:
            return "other things than numbers";
    }
}

herr_t add_dataset(hid_t, const char* name, const H5O_info_t* info, void* all) {
    auto& names = *static_cast<std::vector<std::string>*>(all);
    if (info->type == H5O_TYPE_DATASET) {
        names.emplace_back(name);
    }
    return names.size() <= most_named ? 0 : 1;
}

std::string list_datasets(hid_t file, const std::string& wanted) {
    std::vector<std::string> names;
    H5Ovisit2(file,
              H5_INDEX_NAME,
              H5_ITER_NATIVE,
              add_dataset,
              &names,
              H5O_INFO_BASIC);
    if (names.empty()) {
        return "it has none";
    }
    const std::string hint = did_you_mean(wanted, names);
    const bool is_all = names.size() <= most_named;
    names.resize(std::min(names.size(), most_named));
    return fmt::format("it has '{}'{}{}",
                       fmt::join(names, "', '"),
                       is_all ? "" : " and more",
                       hint);
}

//! Two chunks at least, so that neighbours stay while others are read.
Hdf5Handle make_access(hid_t dataset) {
    const Hdf5Handle made(H5Dget_create_plist(dataset), H5Pclose);
    const Hdf5Handle stored(H5Dget_type(dataset), H5Tclose);
    Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
    std::array<hsize_t, H5S_MAX_RANK> sizes{};
    const int rank = H5Pget_layout(made.get()) == H5D_CHUNKED
                         ? H5Pget_chunk(made.get(), H5S_MAX_RANK, sizes.data())
                         : 0;
    if (rank > 0) {
        // A chunk is below 4 GiB.
        std::size_t bytes = H5Tget_size(stored.get());
        for (int i = 0; i < rank; ++i) {
            bytes *= sizes[static_cast<std::size_t>(i)];
        }
        constexpr std::size_t num_slots = 12421;  // a prime, as HDF5 asks for
        H5Pset_chunk_cache(access.get(),
                           num_slots,
                           std::max(2 * bytes, most_cached_bytes),
                           1.0);
    }
    return access;
}

Hdf5Handle open_file(const fs::path& path) {
    FUSIONLLM_VALIDATE(is_hdf5_file(path),
                       "'{}' is no HDF5 file, or cannot be read; name one that "
                       "h5py or another program wrote",
                       path.string());
    return {hdf5_call(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                      "open the datasets",
                      path),
            H5Fclose};
}

Hdf5Handle open_dataset(hid_t file,
                        const std::string& name,
                        const fs::path& path) {
    const Hdf5Handle first(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
    FUSIONLLM_VALIDATE(first.get() >= 0,
                       "'{}' has no dataset '{}'; {}",
                       path.string(),
                       name,
                       list_datasets(file, name));
    const Hdf5Handle access = make_access(first.get());
    return {hdf5_call(H5Dopen2(file, name.c_str(), access.get()),
                      "open the dataset '" + name + "'",
                      path),
            H5Dclose};
}

std::vector<hsize_t> read_sizes(const OpenRows& rows) {
    const int rank = H5Sget_simple_extent_ndims(rows.space.get());
    FUSIONLLM_VALIDATE(rank > 0,
                       "the dataset '{}' of '{}' has no axis, so it has no "
                       "samples; its first axis must be the samples",
                       rows.name,
                       rows.path.string());
    std::vector<hsize_t> sizes(static_cast<std::size_t>(rank));
    H5Sget_simple_extent_dims(rows.space.get(), sizes.data(), nullptr);
    hsize_t elements = 1;
    for (const hsize_t size : sizes) {
        FUSIONLLM_VALIDATE(
            size <= most_rows && elements <= most_rows / (size + 1),
            "the dataset '{}' of '{}' is said to have more than 2^48 elements; "
            "the file is damaged",
            rows.name,
            rows.path.string());
        elements *= size;
    }
    return sizes;
}

void check_elements(const OpenRows& rows, DType dtype) {
    const Hdf5Handle stored(H5Dget_type(rows.dataset.get()), H5Tclose);
    // bf16, which HDF5 has not, is written as integers that say so.
    const bool is_marked = H5Aexists(rows.dataset.get(), "dtype") > 0;
    const ElementKind kind =
        is_marked ? ElementKind::other : kind_of(stored.get());
    FUSIONLLM_VALIDATE(becomes(kind, dtype),
                       "the dataset '{}' of '{}' holds {}, but {} is wanted; "
                       "convert it, e.g. with numpy's astype",
                       rows.name,
                       rows.path.string(),
                       describe(kind),
                       to_text(dtype));
}

void read_range(const OpenRows& rows,
                std::size_t first,
                std::size_t row_bytes,
                std::span<std::byte> into) {
    if (into.empty()) {
        return;
    }
    std::vector<hsize_t> begin(rows.sizes.size(), 0);
    std::vector<hsize_t> count = rows.sizes;
    begin[0] = first;
    count[0] = into.size() / row_bytes;
    FUSIONLLM_EXPECTS(begin[0] + count[0] <= rows.sizes[0]);
    const Hdf5Quiet quiet;
    const Hdf5Handle target(
        H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr),
        H5Sclose);
    const std::string doing = "read the dataset '" + rows.name + "'";
    hdf5_call(H5Sselect_hyperslab(rows.space.get(),
                                  H5S_SELECT_SET,
                                  begin.data(),
                                  nullptr,
                                  count.data(),
                                  nullptr),
              doing,
              rows.path);
    hdf5_call(H5Dread(rows.dataset.get(),
                      rows.element.get(),
                      target.get(),
                      rows.space.get(),
                      H5P_DEFAULT,
                      into.data()),
              doing,
              rows.path);
}

Hdf5Handle make_memory_type(hid_t dataset, DType dtype) {
    return dtype == DType::boolean ? Hdf5Handle(H5Dget_type(dataset), H5Tclose)
                                   : detail::make_file_type(dtype);
}

OpenRows open_rows(const fs::path& path, const std::string& name, DType dtype) {
    OpenRows rows{path, name, open_file(path), {}, {}, {}, {}};
    rows.dataset = open_dataset(rows.file.get(), name, path);
    rows.space = {hdf5_call(H5Dget_space(rows.dataset.get()),
                            "read the sizes of '" + name + "'",
                            path),
                  H5Sclose};
    rows.sizes = read_sizes(rows);
    check_elements(rows, dtype);
    rows.element = make_memory_type(rows.dataset.get(), dtype);
    return rows;
}

}  // namespace

bool is_hdf5_file(const fs::path& file) {
    constexpr std::string_view signature = "\x89HDF\r\n\x1a\n";
    std::array<char, signature.size()> bytes{};
    std::ifstream stream(file, std::ios::binary);
    return stream.read(bytes.data(), bytes.size()) &&
           std::string_view(bytes.data(), bytes.size()) == signature;
}

StoredRows open_hdf5_rows(const fs::path& file,
                          const std::string& name,
                          DType dtype) {
    const Hdf5Quiet quiet;
    std::shared_ptr<const OpenRows> rows;
    try {
        rows = std::make_shared<OpenRows>(open_rows(file, name, dtype));
    } catch (const InputError&) {
        throw;
    } catch (const Error& error) {
        throw InputError(fmt::format("{}; the file is damaged, make it again",
                                     error.what()));
    }
    StoredRows stored{{dtype, {rows->sizes.begin(), rows->sizes.end()}},
                      fmt::format("'{}' of '{}'", name, file.string()),
                      {}};
    stored.read = [rows, row_bytes = num_bytes(stored.row_type())](
                      std::size_t first, std::span<std::byte> into) {
        read_range(*rows, first, row_bytes, into);
    };
    return stored;
}

}  // namespace fusionllm
