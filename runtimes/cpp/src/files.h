#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tensor.h"

namespace edgekit {

// Raises EK401 when the file cannot be read.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path);

// Raises EK106 when the file cannot be written.
void write_file(const std::filesystem::path& path, const std::vector<std::uint8_t>& data);

// Lower-case hex SHA-256 (FIPS 180-4).
std::string sha256(const std::vector<std::uint8_t>& data);

// A little-endian float32 array in C order, NumPy's format 1.0 to 3.0. Raises EK409 for anything else.
Tensor parse_npy(const std::vector<std::uint8_t>& data, const std::string& name);
std::vector<std::uint8_t> npy_bytes(const Tensor& tensor);

}  // namespace edgekit
