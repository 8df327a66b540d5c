#pragma once

#include <optional>
#include <string_view>

#include "fusionllm/util/pickle.hpp"

#include "stored_tensor.hpp"

namespace fusionllm::detail {

//! What a pickle of PyTorch's tensors may name: how it writes tensors,
//! parameters and ordered dicts.
PickleRules tensor_pickle_rules();

struct PickledTensor {
    StoredTensor tensor;
    bool requires_grad = false;
};

//! The tensor or parameter that the value stands for; none if it is something
//! else. Throws `InputError` for one that is not written as PyTorch does.
std::optional<PickledTensor> find_tensor(PickleRef value);

/*!
 * The tensors of a pickled state dict (`data.pkl` of an archive of torch.save),
 * in its order; values that are no tensors are left out. Nothing of it is ever
 * run. Throws `InputError`.
 */
StoredTensors unpickle_tensors(std::string_view bytes);

}  // namespace fusionllm::detail
