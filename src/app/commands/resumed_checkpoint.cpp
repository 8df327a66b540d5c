#include "app/commands/resumed_checkpoint.hpp"

#include <algorithm>
#include <cstring>
#include <set>

#include "fusionllm/comm/collectives.hpp"
#include "fusionllm/comm/mpi_transport.hpp"
#include "fusionllm/util/error.hpp"

#include "app/json_text.hpp"

namespace fusionllm {
namespace {

constexpr int root = 0;
constexpr std::uint32_t tensor_slot = 19;

CheckpointManifest share_manifest(const mpi::Communicator& world,
                                  const std::filesystem::path& folder) {
    std::string own;
    if (world.rank() == root) {
        own = to_json(load_manifest(folder));
    }
    return parse_manifest(mpi::all_gather_strings(world, own).at(root),
                          folder / "manifest.json");
}

//! Of what lies here and belongs to it; none if that is nothing.
std::unique_ptr<CheckpointReader> open_parts(
    const std::filesystem::path& folder, const CheckpointManifest& manifest) {
    if (!std::filesystem::exists(folder / "manifest.json") ||
        load_manifest(folder).save_id != manifest.save_id) {
        return nullptr;
    }
    return std::make_unique<CheckpointReader>(folder, manifest);
}

void send_tensor(Transport& transport, int to, const HostTensor& tensor) {
    std::string bytes(tensor.bytes.size(), '\0');
    std::memcpy(bytes.data(), tensor.bytes.data(), bytes.size());
    send_text(transport, to, tensor_slot, to_text(tensor.type));
    send_text(transport, to, tensor_slot, bytes);
}

HostTensor receive_tensor(Transport& transport, int from) {
    HostTensor tensor{
        parse_tensor_type(receive_text(transport, from, tensor_slot)), {}};
    const std::string bytes = receive_text(transport, from, tensor_slot);
    tensor.bytes.resize(bytes.size());
    std::memcpy(tensor.bytes.data(), bytes.data(), bytes.size());
    return tensor;
}

}  // namespace

ResumedCheckpoint::ResumedCheckpoint(const mpi::Communicator& world,
                                     const std::vector<int>& group_of_rank,
                                     std::filesystem::path folder,
                                     const std::vector<std::string>& needed)
    : folder_(std::move(folder)),
      manifest_(share_manifest(world, folder_)),
      reader_(open_parts(folder_, manifest_)) {
    std::vector<std::string> missing;
    for (const std::string& name : needed) {
        if (manifest_.tensors.contains(name) &&
            !(reader_ && reader_->can_read(name))) {
            missing.push_back(name);
        }
    }
    make(find_transfers(world, missing), world, group_of_rank);
}

std::vector<ResumedCheckpoint::Transfer> ResumedCheckpoint::find_transfers(
    const mpi::Communicator& world,
    const std::vector<std::string>& missing) const {
    std::set<std::string> here;
    for (const auto& [tensor, file] : manifest_.tensors) {
        if (reader_ && reader_->can_read(tensor)) {
            here.insert(file);
        }
    }
    const auto files =
        mpi::all_gather_strings(world, pack_texts({here.begin(), here.end()}));
    const auto wanted = mpi::all_gather_strings(world, pack_texts(missing));
    std::map<std::string, int> rank_with;  // the lowest
    for (int rank = world.size() - 1; rank >= 0; --rank) {
        for (const std::string& file : unpack_texts(files[rank])) {
            rank_with[file] = rank;
        }
    }
    std::vector<Transfer> transfers;
    for (int rank = 0; rank < world.size(); ++rank) {
        for (const std::string& tensor : unpack_texts(wanted[rank])) {
            const std::string& file = manifest_.tensors.at(tensor);
            const auto from = rank_with.find(file);
            FUSIONLLM_VALIDATE(
                from != rank_with.end(),
                "rank {} needs the file '{}' of the checkpoint '{}', but no "
                "rank's disk has it, or only that of another run; put it "
                "there, or move the folder away on rank 0's disk to resume "
                "from the checkpoint before",
                rank,
                file,
                folder_.string());
            transfers.push_back({tensor, from->second, rank});
        }
    }
    return transfers;
}

void ResumedCheckpoint::make(const std::vector<Transfer>& transfers,
                             const mpi::Communicator& world,
                             const std::vector<int>& group_of_rank) {
    if (transfers.empty()) {
        return;
    }
    std::set<std::pair<int, int>> pairs;
    for (const Transfer& transfer : transfers) {
        const int from = group_of_rank[transfer.from];
        const int to = group_of_rank[transfer.to];
        if (from != to) {
            pairs.emplace(std::min(from, to), std::max(from, to));
        }
    }
    MpiTransport transport(world,
                           {group_of_rank, {pairs.begin(), pairs.end()}});
    for (const Transfer& transfer : transfers) {
        if (transfer.from == world.rank()) {
            send_tensor(transport, transfer.to, reader_->read(transfer.tensor));
        } else if (transfer.to == world.rank()) {
            received_[transfer.tensor] =
                receive_tensor(transport, transfer.from);
        }
    }
}

std::optional<HostTensor> ResumedCheckpoint::load(
    const std::string& name) const {
    if (const auto found = received_.find(name); found != received_.end()) {
        return found->second;
    }
    if (!manifest_.tensors.contains(name)) {
        return std::nullopt;
    }
    FUSIONLLM_EXPECTS(reader_ && reader_->can_read(name));
    return reader_->read(name);
}

void ResumedCheckpoint::check_data(std::uint64_t hash) const {
    FUSIONLLM_VALIDATE(
        manifest_.data_hash == hash,
        "the data is not what checkpoint '{}' was made with (content hash "
        "{:016x}, then {:016x}); restore the files, or start anew with "
        "--overwrite",
        folder_.string(),
        hash,
        manifest_.data_hash);
}

void ResumedCheckpoint::close() {
    reader_.reset();
    received_.clear();
}

}  // namespace fusionllm
