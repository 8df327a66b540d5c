#include "fusionllm/util/stored_rows.hpp"

#include <algorithm>
#include <utility>

#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

//! Where each part begins, in rows, and the end of all.
std::vector<std::size_t> begins_of(const std::vector<StoredRows>& parts) {
    std::vector<std::size_t> begins{0};
    for (const StoredRows& part : parts) {
        begins.push_back(begins.back() + part.size());
    }
    return begins;
}

void read_parts(const std::vector<StoredRows>& parts,
                const std::vector<std::size_t>& begins,
                std::size_t row_bytes,
                std::size_t first,
                std::span<std::byte> rows) {
    const auto after = std::ranges::upper_bound(begins, first);
    auto i = static_cast<std::size_t>(after - begins.begin()) - 1;
    while (!rows.empty()) {
        FUSIONLLM_EXPECTS(i < parts.size());
        const std::size_t wanted = rows.size() / row_bytes;
        const std::size_t taken = std::min(wanted, begins[i + 1] - first);
        if (taken > 0) {
            parts[i].read(first - begins[i], rows.first(taken * row_bytes));
        }
        rows = rows.subspan(taken * row_bytes);
        first += taken;
        ++i;
    }
}

}  // namespace

StoredRows join_rows(std::vector<StoredRows> parts) {
    FUSIONLLM_EXPECTS(!parts.empty());
    if (parts.size() == 1) {
        return std::move(parts.front());
    }
    const TensorType row = parts.front().row_type();
    for (const StoredRows& part : parts) {
        FUSIONLLM_VALIDATE(part.row_type() == row,
                           "{} has samples of {}, but {} has some of {}; give "
                           "files of one kind",
                           parts.front().name,
                           to_text(row),
                           part.name,
                           to_text(part.row_type()));
    }
    std::vector<std::size_t> begins = begins_of(parts);
    StoredRows all{row, parts.front().name, {}};
    all.type.sizes.insert(all.type.sizes.begin(),
                          static_cast<std::int64_t>(begins.back()));
    all.read = [parts = std::move(parts),
                begins = std::move(begins),
                row_bytes = num_bytes(row)](std::size_t first,
                                            std::span<std::byte> rows) {
        read_parts(parts, begins, row_bytes, first, rows);
    };
    return all;
}

}  // namespace fusionllm
