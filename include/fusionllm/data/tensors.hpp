#pragma once

#include <vector>

#include "fusionllm/data/text.hpp"
#include "fusionllm/util/stored_rows.hpp"

namespace fusionllm {

/*!
 * Own tensors: sample i is row i of each, in the order given, which is that of
 * the graph's inputs. The last `validation_fraction` of the rows is validation.
 *
 * Nothing but the sample that is asked for is in memory. The content hash looks
 * at the types and at 64 samples spread over all, not at every one. Throws
 * `InputError` if there is no tensor, none to train on, or they have different
 * numbers of rows.
 */
DatasetSplit make_tensor_dataset(std::vector<StoredRows> tensors,
                                 double validation_fraction);

}  // namespace fusionllm
