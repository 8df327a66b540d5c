#pragma once

#include <utility>

#include <unistd.h>

namespace fusionllm {

//! Closes the file that the system knows by this number; -1 is none.
class FileDescriptor {
public:
    explicit FileDescriptor(int number) : number_(number) {}
    FileDescriptor(FileDescriptor&& other) noexcept
        : number_(std::exchange(other.number_, -1)) {}
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() {
        if (is_open()) {
            ::close(number_);
        }
    }
    int get() const { return number_; }
    bool is_open() const { return number_ >= 0; }
    //! As close(2): network file systems report a failed write only here.
    int close() { return ::close(std::exchange(number_, -1)); }

private:
    int number_;
};

}  // namespace fusionllm
