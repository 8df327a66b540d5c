#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "fusionllm/graph/op_graph.hpp"
#include "fusionllm/importers/weight_source.hpp"

namespace fusionllm {

//! A model that came from PyTorch, without any PyTorch in it.
struct ImportedModel {
    OpGraph graph;
    WeightSource weights;
    //! Second names of shared parameters, with the name that the graph uses:
    //! {"lm_head.weight", "wte.weight"}.
    std::map<std::string, std::string> shared_names;
    //! All names of PyTorch's state dict: parameters under all their names, and
    //! the buffers that belong to it.
    std::vector<std::string> state_dict_names;
    //! Buffers that count micro-batches (num_batches_tracked), and what each
    //! micro-batch adds. The graph does not: who writes the model back does.
    std::map<std::string, std::int64_t> counters;
    //! Sentences that the user should see.
    std::vector<std::string> notes;
};

/*!
 * Read an archive of torch.export.save (PyTorch 2.5 or later, both layouts).
 *
 * Parameters and buffers have the model's own names, and so have ops, after
 * their module and PyTorch's name of the value ("h.0.c_fc.linear_2"). Sizes are
 * those of the example inputs, which are the micro-batch. The loss is the
 * exported loss, else the first output that is one f32 number; `output` is the
 * first other one. Parameters that require no gradient, and constants, become
 * buffers. All inputs are plain inputs, none a label.
 *
 * The graph is pure: ops that change an activation in place become those that
 * do not; counters of batch norms are left to `counters`; batch norms update
 * their buffers. Dropout becomes our mask, and operators that LibTorch 1.13
 * lacks become others, whatever LibTorch this is, so that all ranks of a run
 * get the same graph.
 *
 * Nothing of the archive is run, and no tensor is read yet. Memory: the graph's
 * JSON, a few times over. Throws `InputError`, with the source line where the
 * archive has it, for what cannot be imported.
 */
ImportedModel import_pt2(const std::filesystem::path& file);

/*!
 * The same of an archive of torch.jit.save that torch.jit.trace made (PyTorch
 * 1.13 or later), for inputs of these types. TorchScript stores no sizes: if
 * `inputs` is empty they are what the archive's extra file "inputs" says,
 * "f32[8,3,32,32] i64[8]".
 *
 * The text of the methods is parsed and followed here; the archive is not given
 * to LibTorch. Sizes of values are found by calling each operator on tensors
 * without memory, or on zeros where it cannot: the time of one micro-batch at
 * most.
 */
ImportedModel import_torchscript(const std::filesystem::path& file,
                                 const std::vector<TensorType>& inputs);

//! The weights of the same archive alone.
WeightSource read_torchscript_weights(const std::filesystem::path& file);

//! The weights of the same archive alone: cheap, for those who have the graph.
WeightSource read_pt2_weights(const std::filesystem::path& file);

}  // namespace fusionllm
