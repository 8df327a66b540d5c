#pragma once

#include <cstdint>

#include "fusionllm/comm/transport.hpp"
#include "fusionllm/data/text.hpp"

namespace fusionllm {

//! What all ranks must know of the data, though few of them read it.
struct DataFacts {
    std::uint8_t has_data = 0;
    std::uint64_t hash = 0;
    std::uint64_t train_size = 0;
    std::uint64_t validation_size = 0;
};

DataFacts facts_of(const DatasetSplit& data);

/*!
 * Collective: compare what the ranks with data read, and tell all.
 *
 * Throws `InputError` on every rank if two ranks read different data (sites
 * share no disk), naming them.
 */
DataFacts agree_on_data(Transport& transport, const DataFacts& mine);

}  // namespace fusionllm
