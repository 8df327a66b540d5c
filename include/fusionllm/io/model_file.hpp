#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fusionllm/io/tensor_entry.hpp"

namespace fusionllm {

/*
 * A model file is one HDF5 file: "/graph", "/shared_names",
 * "/state_dict_names", "/counters" and "/notes", texts as bytes, one item a
 * line; and
 * "/weights/NAME", the tensors, row-major. Its attribute "format" is
 * "fusionllm model 1".
 */

//! Everything of a model file but the tensors.
struct ModelFileTexts {
    std::string graph;  //!< text form
    //! Second names of shared parameters, with the graph's name.
    std::map<std::string, std::string> shared_names;
    //! All names that PyTorch's state dict had.
    std::vector<std::string> state_dict_names;
    //! Buffers that count micro-batches, and what each of these adds.
    std::map<std::string, std::int64_t> counters;
    std::vector<std::string> notes;

    friend bool operator==(const ModelFileTexts&,
                           const ModelFileTexts&) = default;
};

/*!
 * Write a model file, tensor by tensor: `load` is asked for each of the
 * entries in their order. The file is complete or as before. Throws `Error` if
 * it cannot be written, `InputError` for a name that HDF5 cannot have.
 */
void write_model_file(
    const std::filesystem::path& file,
    const ModelFileTexts& texts,
    const std::vector<TensorEntry>& entries,
    const std::function<HostTensor(const std::string&)>& load);

//! Reads a model file, tensor by tensor.
class ModelFileReader {
public:
    //! Throws `InputError` if the file is none, or of another version.
    explicit ModelFileReader(std::filesystem::path file);
    ~ModelFileReader();
    ModelFileReader(const ModelFileReader&) = delete;
    ModelFileReader& operator=(const ModelFileReader&) = delete;

    ModelFileTexts texts() const;
    bool has(const std::string& name) const;
    //! Throws `InputError` naming the tensor and the file.
    TensorType type(const std::string& name) const;
    HostTensor read(const std::string& name) const;

private:
    struct Handle;
    std::filesystem::path file_;
    std::unique_ptr<Handle> handle_;
};

}  // namespace fusionllm
