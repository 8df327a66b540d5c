#pragma once

#include <string_view>

#include "stored_tensor.hpp"

namespace fusionllm::detail {

/*!
 * The tensors of a pickled state dict (`data.pkl` of an archive of torch.save),
 * in its order; values that are no tensors are left out.
 *
 * A machine for the few instructions that such a file needs. It knows by name
 * how PyTorch writes tensors, parameters and ordered dicts; anything else that
 * the pickle wants to call or import throws `InputError`, so nothing of it is
 * ever run.
 */
StoredTensors unpickle_tensors(std::string_view pickle);

}  // namespace fusionllm::detail
