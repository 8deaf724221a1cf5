#include "files.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <system_error>

#include "error.h"

namespace edgekit {

namespace fs = std::filesystem;

std::string told(const std::vector<std::int64_t>& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + ")";
}

std::vector<std::uint8_t> read_file(const fs::path& path) {
    std::error_code status;
    if (!fs::is_regular_file(path, status))
        throw Error("EK401", path.string() + " is not there or is no file.");
    std::ifstream stream(path, std::ios::binary | std::ios::ate);
    const auto size = stream ? static_cast<std::streamoff>(stream.tellg()) : -1;
    std::vector<std::uint8_t> data(size > 0 ? static_cast<std::size_t>(size) : 0);
    stream.seekg(0);
    if (size < 0 || (size > 0 && !stream.read(reinterpret_cast<char*>(data.data()), size)))
        throw Error("EK401", path.string() + " cannot be read: " + std::strerror(errno) + ".");
    return data;
}

void write_file(const fs::path& path, const std::vector<std::uint8_t>& data) {
    std::ofstream stream(path, std::ios::binary);
    stream.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
    stream.close();
    if (!stream) throw Error("EK106", path.string() + " cannot be written: " + std::strerror(errno) + ".");
}

namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<std::uint32_t, 64> K = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t turned(std::uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

void take_block(std::array<std::uint32_t, 8>& state, const std::uint8_t* block) {
    std::array<std::uint32_t, 64> w{};
    for (std::size_t t = 0; t < 16; ++t)
        w[t] = static_cast<std::uint32_t>(block[4 * t]) << 24 | static_cast<std::uint32_t>(block[4 * t + 1]) << 16 |
               static_cast<std::uint32_t>(block[4 * t + 2]) << 8 | static_cast<std::uint32_t>(block[4 * t + 3]);
    for (std::size_t t = 16; t < 64; ++t) {
        const std::uint32_t a = w[t - 15], b = w[t - 2];
        w[t] = w[t - 16] + w[t - 7] + (turned(a, 7) ^ turned(a, 18) ^ (a >> 3)) +
               (turned(b, 17) ^ turned(b, 19) ^ (b >> 10));
    }
    auto s = state;
    for (std::size_t t = 0; t < 64; ++t) {
        const std::uint32_t first = s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) +
                                    ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[t] + w[t];
        const std::uint32_t second = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) +
                                     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s = {first + second, s[0], s[1], s[2], s[3] + first, s[4], s[5], s[6]};
    }
    for (std::size_t i = 0; i < 8; ++i) state[i] += s[i];
}

}  // namespace

std::string sha256(const std::vector<std::uint8_t>& data) {
    std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const std::size_t whole = data.size() / 64 * 64;
    for (std::size_t at = 0; at < whole; at += 64) take_block(state, data.data() + at);
    std::vector<std::uint8_t> rest(data.begin() + static_cast<std::ptrdiff_t>(whole), data.end());
    rest.push_back(0x80);
    while (rest.size() % 64 != 56) rest.push_back(0);
    const std::uint64_t bits = static_cast<std::uint64_t>(data.size()) * 8;
    for (int shift = 56; shift >= 0; shift -= 8) rest.push_back(static_cast<std::uint8_t>(bits >> shift));
    for (std::size_t at = 0; at < rest.size(); at += 64) take_block(state, rest.data() + at);
    std::string hex;
    for (const std::uint32_t word : state)
        for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(word >> shift) & 15];
    return hex;
}

namespace {

constexpr char MAGIC[] = "\x93NUMPY";
constexpr std::size_t MAGIC_SIZE = 6;

// The text of `'key': VALUE` up to `end` (included) in NumPy's header.
std::string field(const std::string& header, const std::string& key, char end, const std::string& name) {
    const auto at = header.find("'" + key + "':");
    const auto from = at == std::string::npos ? at : header.find_first_not_of(' ', at + key.size() + 3);
    const auto to = from == std::string::npos ? from : header.find(end, from + 1);
    if (to == std::string::npos) throw Error("EK409", name + " is no array of NumPy: its header lacks " + key + ".");
    return header.substr(from, to - from + 1);
}

}  // namespace

Tensor parse_npy(const std::vector<std::uint8_t>& data, const std::string& name) {
    if (data.size() < 12 || std::memcmp(data.data(), MAGIC, MAGIC_SIZE) != 0)
        throw Error("EK409", name + " is no array of NumPy.");
    const bool is_long = data[6] >= 2;
    std::size_t length = data[8] | static_cast<std::size_t>(data[9]) << 8;
    if (is_long) length |= static_cast<std::size_t>(data[10]) << 16 | static_cast<std::size_t>(data[11]) << 24;
    const std::size_t start = is_long ? 12 : 10;
    if (data.size() - start < length) throw Error("EK409", name + " is cut off.");
    const std::string header(data.begin() + static_cast<std::ptrdiff_t>(start),
                             data.begin() + static_cast<std::ptrdiff_t>(start + length));
    if (field(header, "descr", '\'', name) != "'<f4'" || field(header, "fortran_order", 'e', name) != "False")
        throw Error("EK409", name + " is no array of float32 in C order.");

    Tensor tensor;
    std::size_t count = 1;
    const std::string shape = field(header, "shape", ')', name);
    for (const char* at = shape.data(); at < shape.data() + shape.size();) {
        if (*at < '0' || *at > '9') {
            ++at;
            continue;
        }
        std::int64_t side = 0;
        const auto [next, error] = std::from_chars(at, shape.data() + shape.size(), side);
        const auto room = data.size() / sizeof(float) / std::max<std::size_t>(count, 1);
        if (error != std::errc() || static_cast<std::uint64_t>(side) > room)
            throw Error("EK409", name + " is cut off: its header says " + shape + ".");
        tensor.shape.push_back(side);
        count *= static_cast<std::size_t>(side);
        at = next;
    }
    const std::size_t bytes = data.size() - start - length;
    if (bytes != count * sizeof(float))
        throw Error("EK409", name + " has " + std::to_string(bytes) + " bytes for the shape " + shape + ".");
    tensor.values.resize(count);
    if (bytes) std::memcpy(tensor.values.data(), data.data() + start + length, bytes);
    return tensor;
}

std::vector<std::uint8_t> npy_bytes(const Tensor& tensor) {
    std::string shape = told(tensor.shape);
    if (tensor.shape.size() == 1) shape.insert(shape.size() - 1, ",");
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }";
    while ((MAGIC_SIZE + 4 + header.size() + 1) % 64) header += ' ';
    header += '\n';
    std::vector<std::uint8_t> data(MAGIC, MAGIC + MAGIC_SIZE);
    data.insert(data.end(), {1, 0, static_cast<std::uint8_t>(header.size()), static_cast<std::uint8_t>(header.size() >> 8)});
    data.insert(data.end(), header.begin(), header.end());
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(tensor.values.data());
    data.insert(data.end(), bytes, bytes + tensor.values.size() * sizeof(float));
    return data;
}

}  // namespace edgekit
