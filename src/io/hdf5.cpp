#include "hdf5.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "fusionllm/util/error.hpp"

namespace fusionllm::detail {
namespace {

constexpr std::array all_dtypes{DType::f32,
                                DType::f64,
                                DType::f16,
                                DType::bf16,
                                DType::i64,
                                DType::i32,
                                DType::i16,
                                DType::i8,
                                DType::u8,
                                DType::boolean,
                                DType::c64,
                                DType::c128};
static_assert(all_dtypes.size() == num_dtypes);
constexpr const char* dtype_attribute = "dtype";

//! HDF5 has no such type of its own: it needs the attribute.
bool is_foreign(DType dtype) {
    return dtype == DType::bf16 || dtype == DType::boolean;
}

hid_t predefined_type(DType dtype) {
    switch (dtype) {
        case DType::f32:
            return H5T_IEEE_F32LE;
        case DType::f64:
            return H5T_IEEE_F64LE;
        case DType::i64:
            return H5T_STD_I64LE;
        case DType::i32:
            return H5T_STD_I32LE;
        case DType::i16:
            return H5T_STD_I16LE;
        case DType::i8:
            return H5T_STD_I8LE;
        case DType::bf16:
            return H5T_STD_U16LE;
        default:
            return H5T_STD_U8LE;
    }
}

//! IEEE 754 binary16: sign bit 15, exponent 5 bits at 10, mantissa 10 at 0.
Hdf5Handle make_half_type() {
    Hdf5Handle half(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
    H5Tset_fields(half.get(), 15, 10, 5, 0, 10);
    H5Tset_size(half.get(), 2);
    H5Tset_ebias(half.get(), 15);
    return half;
}

//! As h5py has it: a pair of the members "r" and "i".
Hdf5Handle make_complex_type(DType dtype) {
    const hid_t part = dtype == DType::c64 ? H5T_IEEE_F32LE : H5T_IEEE_F64LE;
    const std::size_t bytes = H5Tget_size(part);
    Hdf5Handle pair(H5Tcreate(H5T_COMPOUND, 2 * bytes), H5Tclose);
    H5Tinsert(pair.get(), "r", 0, part);
    H5Tinsert(pair.get(), "i", bytes, part);
    return pair;
}

Hdf5Handle make_space(const TensorType& type) {
    if (type.sizes.empty()) {
        return {H5Screate(H5S_SCALAR), H5Sclose};
    }
    const std::vector<hsize_t> sizes(type.sizes.begin(), type.sizes.end());
    return {
        H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr),
        H5Sclose};
}

Hdf5Handle make_text_type(std::size_t length) {
    Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), length);
    return type;
}

void write_dtype_attribute(hid_t dataset,
                           DType dtype,
                           const std::filesystem::path& file) {
    const std::string text(to_text(dtype));
    const Hdf5Handle type = make_text_type(text.size());
    const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Hdf5Handle attribute(H5Acreate2(dataset,
                                          dtype_attribute,
                                          type.get(),
                                          space.get(),
                                          H5P_DEFAULT,
                                          H5P_DEFAULT),
                               H5Aclose);
    hdf5_call(H5Awrite(attribute.get(), type.get(), text.data()),
              "write the attribute 'dtype'",
              file);
}

DType read_dtype_attribute(hid_t dataset,
                           const std::string& doing,
                           const std::filesystem::path& file) {
    const Hdf5Handle attribute(H5Aopen(dataset, dtype_attribute, H5P_DEFAULT),
                               H5Aclose);
    const Hdf5Handle stored(H5Aget_type(attribute.get()), H5Tclose);
    if (H5Tget_class(stored.get()) != H5T_STRING ||
        H5Tis_variable_str(stored.get()) != 0) {
        throw_hdf5_error(doing, file);
    }
    std::string text(H5Tget_size(stored.get()), '\0');
    hdf5_call(H5Aread(attribute.get(), stored.get(), text.data()), doing, file);
    text.resize(std::min(text.size(), text.find('\0')));
    return parse_dtype(text);
}

//! The first axis that can be split; 0 if there is none.
std::size_t first_long_axis(const TensorType& type) {
    const auto found = std::find_if(type.sizes.begin(),
                                    type.sizes.end(),
                                    [](auto size) { return size > 1; });
    return found == type.sizes.end() ? 0 : found - type.sizes.begin();
}

//! Select [row, row + num_rows) of an axis whose earlier axes have size 1.
void select_rows(hid_t space,
                 const TensorType& type,
                 std::size_t axis,
                 hsize_t row,
                 hsize_t num_rows) {
    if (type.sizes.empty()) {
        return;
    }
    std::vector<hsize_t> start(type.sizes.size(), 0);
    std::vector<hsize_t> count(type.sizes.begin(), type.sizes.end());
    start[axis] = row;
    count[axis] = num_rows;
    H5Sselect_hyperslab(
        space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr);
}

//! The dtype that is stored under this HDF5 type, without an attribute.
std::optional<DType> find_plain_dtype(hid_t stored) {
    for (const DType dtype : all_dtypes) {
        if (!is_foreign(dtype) &&
            H5Tequal(stored, make_file_type(dtype).get()) > 0) {
            return dtype;
        }
    }
    return std::nullopt;
}

//! The last (innermost) entry of the stack that has a description.
herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* reason) {
    if (error->desc != nullptr && *error->desc != '\0') {
        *static_cast<std::string*>(reason) = error->desc;
    }
    return 0;
}

}  // namespace

Hdf5Quiet::Hdf5Quiet() {
    H5Eget_auto2(H5E_DEFAULT, &print_, &client_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Quiet::~Hdf5Quiet() {
    H5Eset_auto2(H5E_DEFAULT, print_, client_);
}

void throw_hdf5_error(const std::string& doing,
                      const std::filesystem::path& file) {
    std::string reason = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, &reason);
    H5Eclear2(H5E_DEFAULT);
    throw Error(fmt::format(
        "cannot {} in '{}': {} (says HDF5)", doing, file.string(), reason));
}

Hdf5Handle make_file_type(DType dtype) {
    if (dtype == DType::f16) {
        return make_half_type();
    }
    if (is_complex(dtype)) {
        return make_complex_type(dtype);
    }
    return {H5Tcopy(predefined_type(dtype)), H5Tclose};
}

Hdf5Handle create_dataset(hid_t file_id,
                          const std::string& name,
                          const TensorType& type,
                          const std::filesystem::path& file) {
    const Hdf5Handle stored = make_file_type(type.dtype);
    const Hdf5Handle space = make_space(type);
    const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    const Hdf5Handle options(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.get(), 1);
    H5Pset_layout(options.get(), H5D_CONTIGUOUS);
    H5Pset_alloc_time(options.get(), H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(options.get(), H5D_FILL_TIME_NEVER);
    Hdf5Handle dataset(hdf5_call(H5Dcreate2(file_id,
                                            name.c_str(),
                                            stored.get(),
                                            space.get(),
                                            links.get(),
                                            options.get(),
                                            H5P_DEFAULT),
                                 "create the tensor '" + name + "'",
                                 file),
                       H5Dclose);
    if (is_foreign(type.dtype)) {
        write_dtype_attribute(dataset.get(), type.dtype, file);
    }
    return dataset;
}

void write_dataset(hid_t dataset,
                   const std::string& name,
                   const TensorType& type,
                   std::span<const std::byte> bytes,
                   std::size_t max_bytes,
                   const std::filesystem::path& file) {
    FUSIONLLM_EXPECTS(bytes.size() == num_bytes(type));
    if (bytes.empty()) {
        return;
    }
    const Hdf5Handle stored = make_file_type(type.dtype);
    const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
    const std::size_t axis = first_long_axis(type);
    const hsize_t rows = type.sizes.empty() ? 1 : type.sizes[axis];
    const hsize_t row_bytes = bytes.size() / rows;
    const hsize_t step =
        std::clamp<hsize_t>(max_bytes / row_bytes, hsize_t{1}, rows);
    for (hsize_t row = 0; row < rows; row += step) {
        const hsize_t taken = std::min(step, rows - row);
        const hsize_t elements = taken * row_bytes / size_bytes(type.dtype);
        const Hdf5Handle source(H5Screate_simple(1, &elements, nullptr),
                                H5Sclose);
        select_rows(space.get(), type, axis, row, taken);
        hdf5_call(H5Dwrite(dataset,
                           stored.get(),
                           source.get(),
                           space.get(),
                           H5P_DEFAULT,
                           bytes.data() + row * row_bytes),
                  "write the tensor '" + name + "'",
                  file);
    }
}

TensorType read_dataset_type(hid_t dataset,
                             const std::string& name,
                             const std::filesystem::path& file) {
    const std::string doing = "read the type of the tensor '" + name + "'";
    const Hdf5Handle space(hdf5_call(H5Dget_space(dataset), doing, file),
                           H5Sclose);
    const Hdf5Handle stored(hdf5_call(H5Dget_type(dataset), doing, file),
                            H5Tclose);
    std::vector<hsize_t> sizes(
        hdf5_call(H5Sget_simple_extent_ndims(space.get()), doing, file));
    hdf5_call(H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr),
              doing,
              file);
    const auto dtype = H5Aexists(dataset, dtype_attribute) > 0
                           ? read_dtype_attribute(dataset, doing, file)
                           : find_plain_dtype(stored.get());
    if (!dtype || H5Tequal(stored.get(), make_file_type(*dtype).get()) <= 0) {
        throw Error(fmt::format(
            "cannot {} in '{}': its elements are of no type that is known here",
            doing,
            file.string()));
    }
    TensorType type{*dtype, {}};
    type.sizes.assign(sizes.begin(), sizes.end());
    return type;
}

HostTensor read_tensor(hid_t file_id,
                       const std::string& name,
                       const std::filesystem::path& file) {
    const std::string doing = "read the tensor '" + name + "'";
    const Hdf5Handle dataset(
        hdf5_call(H5Dopen2(file_id, name.c_str(), H5P_DEFAULT), doing, file),
        H5Dclose);
    HostTensor tensor{read_dataset_type(dataset.get(), name, file), {}};
    // Before memory is taken for sizes that are not to be believed.
    FUSIONLLM_VALIDATE(
        H5Dget_storage_size(dataset.get()) == num_bytes(tensor.type) &&
            num_bytes(tensor.type) <= std::filesystem::file_size(file),
        "cannot {} in '{}': the file holds other than the {} bytes of {}",
        doing,
        file.string(),
        num_bytes(tensor.type),
        to_text(tensor.type));
    tensor.bytes.resize(num_bytes(tensor.type));
    const Hdf5Handle type = make_file_type(tensor.type.dtype);
    if (!tensor.bytes.empty()) {
        hdf5_call(H5Dread(dataset.get(),
                          type.get(),
                          H5S_ALL,
                          H5S_ALL,
                          H5P_DEFAULT,
                          tensor.bytes.data()),
                  doing,
                  file);
    }
    return tensor;
}

}  // namespace fusionllm::detail
