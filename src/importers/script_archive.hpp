#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fusionllm/importers/weight_source.hpp"
#include "fusionllm/importers/zip_archive.hpp"
#include "fusionllm/util/pickle.hpp"

#include "script_source.hpp"
#include "unpickle.hpp"

namespace fusionllm::detail {

//! A tensor of the model by its own name, "h.0.c_fc.weight".
struct ScriptTensor {
    PickledTensor tensor;
    bool is_parameter = false;
    bool is_registered = false;  //!< as parameter or buffer of its module
};

/*!
 * An archive of torch.jit.save: the modules of the model with their tensors and
 * the text of their methods. Read when it is made, but for the tensors' values.
 * Throws `InputError`.
 */
class ScriptArchive {
public:
    explicit ScriptArchive(const std::filesystem::path& file);

    //! The model.
    PickleRef root() const { return pickle_.root(); }
    //! All tensors of the model by name, parameters before buffers of a module.
    const std::vector<std::pair<std::string, ScriptTensor>>& tensors() const {
        return tensors_;
    }
    //! By tensor name; constants are "CONSTANTS.c0" and so on.
    const std::map<std::string, WeightLocation>& locations() const {
        return locations_;
    }

    //! Null for a name "__torch__.Net" that has no class.
    const ScriptClass* find_class(const std::string& name) const;
    //! Of "__torch__.f"; null if there is none.
    const ScriptFunction* find_function(const std::string& name) const;
    //! What the model was given when it was traced, if that was stored.
    std::optional<std::string> find_extra(const std::string& name) const;

private:
    void read_code();
    void read_constants();
    void add_module(PickleRef object, const std::string& path, int depth);
    WeightLocation locate(const std::string& name,
                          const std::string& folder,
                          const StoredTensor& tensor) const;

    ZipArchive zip_;
    std::string data_;  // the pickles look into them
    Pickle pickle_;
    std::map<std::string, ScriptFile> files_;  // by "__torch__.a.b"
    std::vector<std::pair<std::string, ScriptTensor>> tensors_;
    std::map<std::string, WeightLocation> locations_;
};

//! The attributes of a module; null if the value is none.
const PickleDict* find_attributes(PickleRef value);

}  // namespace fusionllm::detail
