#include "files.h"

#include <gtest/gtest.h>

#include "error.h"
#include "nb.h"

using namespace edgekit;

namespace {

std::vector<std::uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::string code_of(const std::vector<std::uint8_t>& npy) {
    try {
        parse_npy(npy, "it");
    } catch (const Error& error) {
        return error.code();
    }
    return "";
}

// FIPS 180-4's examples, and the lengths around a block's end.
TEST(Sha256, IsThatOfTheStandard) {
    EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(sha256(bytes("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256(bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(sha256(std::vector<std::uint8_t>(1'000'000, 'a')),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Npy, GoesThereAndBack) {
    const Tensor tensor{{2, 1, 3}, {1, 2, 3, 4, 5, -6.5F}};
    const Tensor again = parse_npy(npy_bytes(tensor), "it");
    EXPECT_EQ(again.shape, tensor.shape);
    EXPECT_EQ(again.values, tensor.values);
    const Tensor line{{3}, {1, 2, 3}};
    EXPECT_EQ(parse_npy(npy_bytes(line), "it").shape, line.shape);
}

TEST(Npy, RefusesWhatItIsNot) {
    auto good = npy_bytes({{2, 2}, {1, 2, 3, 4}});
    EXPECT_EQ(code_of(bytes("no array")), "EK409");
    auto cut = good;
    cut.pop_back();
    EXPECT_EQ(code_of(cut), "EK409");
    std::string text(good.begin(), good.end());
    const auto with = [&](const std::string& from, const std::string& to) {
        std::string changed = text;
        changed.replace(changed.find(from), from.size(), to);
        return code_of(bytes(changed));
    };
    EXPECT_EQ(with("<f4", "<f8"), "EK409");
    EXPECT_EQ(with("False", "True "), "EK409");
    EXPECT_EQ(with("(2, 2)", "(2, 3)"), "EK409");
    EXPECT_EQ(with("(2, 2)", "(9999999999999999999, 2)"), "EK409");
    EXPECT_EQ(with("shape", "shade"), "EK409");
}

TEST(Nb, NamesTheVersionOfItsOpt) {
    const std::string header("\x02\x00v2.13-rc\0\0\0\0\0\0\0\0\xff\xff", 20);
    EXPECT_EQ(nb_version(bytes(header), "it"), "v2.13-rc");
    EXPECT_THROW(nb_version(bytes(header.substr(0, 12)), "it"), Error);
    EXPECT_THROW(nb_version(bytes(std::string(2, '\0') + std::string(40, 'v')), "it"), Error);
}

TEST(Nb, RefusesAnotherVersionAndNamesBoth) {
    EXPECT_NO_THROW(check_nb_version("v2.13-rc", "v2.13-rc", "it"));
    try {
        check_nb_version("v2.12", "v2.13-rc", "it");
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), "EK502");
        EXPECT_NE(std::string(error.what()).find("v2.12"), std::string::npos);
        EXPECT_NE(std::string(error.what()).find("v2.13-rc"), std::string::npos);
    }
}

}  // namespace
