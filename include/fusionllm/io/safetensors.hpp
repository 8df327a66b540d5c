#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fusionllm/io/tensor_entry.hpp"

namespace fusionllm {

/*!
 * The tensors of a safetensors file, read one by one when they are wanted.
 *
 * The format: 8 bytes with the length of the header, little-endian; the header,
 * JSON with type, sizes and place of each tensor; the tensors, row-major.
 * Memory: the header. Throws `InputError` for a file that is none.
 */
class SafetensorsReader {
public:
    explicit SafetensorsReader(std::filesystem::path file);

    bool has(const std::string& name) const { return places_.contains(name); }
    //! Ascending.
    std::vector<std::string> names() const;
    //! Throws `InputError` with the nearest right name.
    const TensorType& type(const std::string& name) const;
    HostTensor read(const std::string& name) const;

private:
    struct Place {
        TensorType type;
        std::uint64_t begin = 0;  // in the file
    };
    const Place& place(const std::string& name) const;

    std::filesystem::path file_;
    std::map<std::string, Place> places_;
};

/*!
 * Write a safetensors file, tensor by tensor: `load` is asked for each of the
 * entries in their order. The file is complete or as before.
 *
 * \param metadata texts that readers may show
 */
void write_safetensors(
    const std::filesystem::path& file,
    const std::vector<TensorEntry>& entries,
    const std::map<std::string, std::string>& metadata,
    const std::function<HostTensor(const std::string&)>& load);

}  // namespace fusionllm
