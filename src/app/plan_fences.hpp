#pragma once

#include <string>
#include <vector>

#include "app/job.hpp"

namespace fusionllm {

//! One direction of a planned fence, of a micro-batch.
struct FenceWay {
    std::string codec;  //!< "top-k of 3277, int4"
    double bytes = 0;   //!< of its message, header included
    double error = 0;   //!< relative, as it is assumed
};

//! A fence, what it is to do and what that is to bring; nothing is measured.
struct PlannedFence {
    std::size_t cut = 0;
    ValueId value{0};
    std::string name;  //!< of the value
    std::string link;  //!< "" inside a stage
    std::string codec;
    double element_ratio = 1;
    double byte_ratio = 1;   //!< of both directions' payloads
    double dense_bytes = 0;  //!< of a message
    FenceWay forward;
    FenceWay backward;
    //! Both directions alone on the link, without anything else; 0 inside a
    //! stage.
    double dense_transfer_s = 0;
    double transfer_s = 0;
    double codec_s = 0;  //!< encoding and decoding, both directions
};

std::vector<PlannedFence> report_fences(const Job& job, const Plan& plan);

//! A table of all fences; "" without any.
std::string describe_fences(const std::vector<PlannedFence>& fences);

}  // namespace fusionllm
