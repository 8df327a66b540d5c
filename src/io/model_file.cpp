#include "fusionllm/io/model_file.hpp"

#include <charconv>
#include <cstring>
#include <limits>
#include <span>
#include <string_view>

#include "fusionllm/util/error.hpp"
#include "fusionllm/util/file_beside.hpp"
#include "fusionllm/util/text.hpp"

#include "hdf5.hpp"

namespace fusionllm {

using detail::hdf5_call;
using detail::Hdf5Handle;
using detail::Hdf5Quiet;

struct ModelFileReader::Handle {
    Hdf5Handle file;
};

namespace {

namespace fs = std::filesystem;

constexpr const char* format_attribute = "format";
constexpr std::string_view format_name = "fusionllm model 1";
constexpr std::size_t most_bytes_a_call = std::size_t{1} << 30;

std::string weight_name(const std::string& name) {
    return "weights/" + name;
}

//! HDF5 takes '/' for a group, and "." for the group itself.
void check_name(const std::string& name) {
    FUSIONLLM_VALIDATE(
        !name.empty() && name != "." &&
            name.find_first_of(std::string_view("/\n\t\0", 4)) ==
                std::string::npos,
        "the tensor '{}' cannot be in a model file: its name is empty, a "
        "point, or has '/' or a line's end; rename it in PyTorch",
        name);
}

void write_format(hid_t file_id, const fs::path& file) {
    const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), format_name.size());
    const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    const Hdf5Handle attribute(hdf5_call(H5Acreate2(file_id,
                                                    format_attribute,
                                                    type.get(),
                                                    space.get(),
                                                    H5P_DEFAULT,
                                                    H5P_DEFAULT),
                                         "write the format",
                                         file),
                               H5Aclose);
    hdf5_call(H5Awrite(attribute.get(), type.get(), format_name.data()),
              "write the format",
              file);
}

bool has_format(hid_t file_id) {
    const Hdf5Handle attribute(H5Aopen(file_id, format_attribute, H5P_DEFAULT),
                               H5Aclose);
    if (attribute.get() < 0) {
        return false;
    }
    const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose);
    if (H5Tget_class(type.get()) != H5T_STRING ||
        H5Tis_variable_str(type.get()) != 0 ||
        H5Tget_size(type.get()) != format_name.size()) {
        return false;
    }
    std::string text(format_name.size(), '\0');
    return H5Aread(attribute.get(), type.get(), text.data()) >= 0 &&
           text == format_name;
}

void write_tensor(hid_t file_id,
                  const std::string& name,
                  const HostTensor& tensor,
                  const fs::path& file) {
    const Hdf5Handle dataset =
        detail::create_dataset(file_id, name, tensor.type, file);
    detail::write_dataset(dataset.get(),
                          name,
                          tensor.type,
                          tensor.bytes,
                          most_bytes_a_call,
                          file);
}

void write_text(hid_t file_id,
                const std::string& name,
                const std::string& text,
                const fs::path& file) {
    HostTensor tensor{{DType::u8, {static_cast<std::int64_t>(text.size())}},
                      {}};
    tensor.bytes.resize(text.size());
    std::memcpy(tensor.bytes.data(), text.data(), text.size());
    write_tensor(file_id, name, tensor, file);
}

std::string read_text(hid_t file_id,
                      const std::string& name,
                      const fs::path& file) {
    const HostTensor tensor = detail::read_tensor(file_id, name, file);
    return {reinterpret_cast<const char*>(tensor.bytes.data()),
            tensor.bytes.size()};
}

//! Every item ends with a line's end.
std::string to_lines(const std::vector<std::string>& items) {
    std::string text;
    for (const std::string& item : items) {
        text += item + '\n';
    }
    return text;
}

std::vector<std::string> parse_lines(const std::string& text) {
    std::vector<std::string> items = split(text, '\n');
    if (!items.empty()) {
        items.pop_back();
    }
    return items;
}

std::vector<std::pair<std::string, std::string>> read_pairs(
    hid_t file_id, const std::string& name, const fs::path& file) {
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const std::string& line :
         parse_lines(read_text(file_id, name, file))) {
        auto words = split(line, '\t');
        if (words.size() != 2) {
            throw Error(fmt::format("'{}' has a list of {} that makes no sense",
                                    file.string(),
                                    name));
        }
        pairs.emplace_back(std::move(words[0]), std::move(words[1]));
    }
    return pairs;
}

std::int64_t parse_increment(const std::string& text, const fs::path& file) {
    std::int64_t number = 0;
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, number);
    if (result.ec != std::errc{} || result.ptr != end) {
        throw Error(fmt::format(
            "'{}' counts by '{}', which is no number", file.string(), text));
    }
    return number;
}

void write_texts(hid_t file_id,
                 const ModelFileTexts& texts,
                 const fs::path& file) {
    std::vector<std::string> shared;
    for (const auto& [second, first] : texts.shared_names) {
        check_name(second);
        check_name(first);
        shared.push_back(second + '\t' + first);
    }
    for (const std::string& name : texts.state_dict_names) {
        check_name(name);
    }
    write_text(file_id, "graph", texts.graph, file);
    write_text(file_id, "shared_names", to_lines(shared), file);
    write_text(
        file_id, "state_dict_names", to_lines(texts.state_dict_names), file);
    std::vector<std::string> counters;
    for (const auto& [name, increment] : texts.counters) {
        check_name(name);
        counters.push_back(fmt::format("{}\t{}", name, increment));
    }
    write_text(file_id, "counters", to_lines(counters), file);
    write_text(file_id, "notes", to_lines(texts.notes), file);
}

//! What HDF5 cannot read is the file's fault.
template <class Read>
auto read_or_blame(const Read& read) {
    const Hdf5Quiet quiet;
    try {
        return read();
    } catch (const InputError&) {
        throw;
    } catch (const Error& error) {
        throw InputError(
            fmt::format("{}; the model file is damaged, import the model again",
                        error.what()));
    }
}

}  // namespace

void write_model_file(
    const fs::path& file,
    const ModelFileTexts& texts,
    const std::vector<TensorEntry>& entries,
    const std::function<HostTensor(const std::string&)>& load) {
    const Hdf5Quiet quiet;
    FileBeside beside(file);
    const fs::path& path = beside.path();
    Hdf5Handle out(
        hdf5_call(
            H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
            "make the model file",
            path),
        H5Fclose);
    write_format(out.get(), path);
    write_texts(out.get(), texts, path);
    for (const TensorEntry& entry : entries) {
        check_name(entry.name);
        const HostTensor tensor = load(entry.name);
        FUSIONLLM_EXPECTS(tensor.type == entry.type);
        write_tensor(out.get(), weight_name(entry.name), tensor, path);
    }
    hdf5_call(H5Fclose(out.release()), "finish the model file", path);
    beside.commit();
}

ModelFileReader::ModelFileReader(fs::path file)
    : file_(std::move(file)), handle_(std::make_unique<Handle>()) {
    const Hdf5Quiet quiet;
    FUSIONLLM_VALIDATE(fs::is_regular_file(file_),
                       "there is no model file '{}'",
                       file_.string());
    handle_->file = Hdf5Handle(
        H5Fopen(file_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    FUSIONLLM_VALIDATE(
        handle_->file.get() >= 0 && has_format(handle_->file.get()),
        "'{}' is no model file of this version (\"{}\"); make one with "
        "fusionllm import MODEL -o FILE",
        file_.string(),
        format_name);
}

ModelFileReader::~ModelFileReader() = default;

ModelFileTexts ModelFileReader::texts() const {
    return read_or_blame([&] {
        const hid_t id = handle_->file.get();
        ModelFileTexts texts;
        texts.graph = read_text(id, "graph", file_);
        for (const auto& [second, first] :
             read_pairs(id, "shared_names", file_)) {
            texts.shared_names[second] = first;
        }
        for (const auto& [name, increment] :
             read_pairs(id, "counters", file_)) {
            texts.counters[name] = parse_increment(increment, file_);
        }
        texts.state_dict_names =
            parse_lines(read_text(id, "state_dict_names", file_));
        texts.notes = parse_lines(read_text(id, "notes", file_));
        return texts;
    });
}

bool ModelFileReader::has(const std::string& name) const {
    const Hdf5Quiet quiet;
    return H5Lexists(handle_->file.get(), "weights", H5P_DEFAULT) > 0 &&
           H5Lexists(
               handle_->file.get(), weight_name(name).c_str(), H5P_DEFAULT) > 0;
}

TensorType ModelFileReader::type(const std::string& name) const {
    return read_or_blame([&] {
        const std::string path = weight_name(name);
        const Hdf5Handle dataset(
            hdf5_call(H5Dopen2(handle_->file.get(), path.c_str(), H5P_DEFAULT),
                      "read the tensor '" + name + "'",
                      file_),
            H5Dclose);
        return detail::read_dataset_type(dataset.get(), name, file_);
    });
}

HostTensor ModelFileReader::read(const std::string& name) const {
    return read_or_blame([&] {
        return detail::read_tensor(
            handle_->file.get(), weight_name(name), file_);
    });
}

}  // namespace fusionllm
