#include <memory>
#include <utility>

#include "fusionllm/data/images.hpp"
#include "fusionllm/util/error.hpp"

namespace fusionllm {
namespace {

class RepeatedChannels final : public Dataset {
public:
    RepeatedChannels(std::shared_ptr<const Dataset> images, std::int64_t count)
        : images_(std::move(images)), count_(count) {}

    std::size_t size() const override { return images_->size(); }
    std::vector<HostTensor> get(std::size_t index) const override {
        return repeat(images_->get(index));
    }
    std::vector<HostTensor> get_in_epoch(std::size_t index,
                                         std::uint64_t epoch) const override {
        return repeat(images_->get_in_epoch(index, epoch));
    }
    std::uint64_t content_hash() const override {
        return images_->content_hash();
    }

private:
    std::vector<HostTensor> repeat(std::vector<HostTensor> sample) const {
        HostTensor& image = sample.at(0);
        FUSIONLLM_EXPECTS(image.type.sizes.at(0) == 1);
        const std::vector<std::byte> channel = image.bytes;
        for (std::int64_t i = 1; i < count_; ++i) {
            image.bytes.insert(
                image.bytes.end(), channel.begin(), channel.end());
        }
        image.type.sizes[0] = count_;
        return sample;
    }

    std::shared_ptr<const Dataset> images_;
    std::int64_t count_;
};

}  // namespace

DatasetSplit repeat_channels(DatasetSplit split, std::int64_t count) {
    for (auto* part : {&split.train, &split.validation}) {
        if (*part) {
            *part = std::make_shared<RepeatedChannels>(*part, count);
        }
    }
    return split;
}

}  // namespace fusionllm
