// What can go wrong, with the same codes as edgekit in Python (README, "Exit codes").
#pragma once

#include <stdexcept>
#include <string>

namespace edgekit {

// `code` is EK and three digits; the first of them is the exit code of `edgekit-run`.
class Error : public std::runtime_error {
public:
    Error(std::string code, const std::string& message)
        : std::runtime_error(message), code_(std::move(code)) {}

    const std::string& code() const { return code_; }
    int exit_code() const { return code_[2] - '0'; }

private:
    std::string code_;
};

}  // namespace edgekit
