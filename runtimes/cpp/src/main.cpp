// The command edgekit-run. Exit codes are edgekit's: 0 done, 2 wrong command line, 3 self-test failed, 4 bad bundle or
// picture, 5 the engine failed.

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <map>

#include "bench.h"
#include "bundle.h"
#include "edgekit.h"
#include "error.h"
#include "files.h"
#include "self_test.h"

namespace {

using edgekit::Error;
using edgekit::Json;

constexpr char USAGE[] =
    "Usage:\n"
    "  edgekit-run run BUNDLE PICTURE... [--model KIND] [--threads N]    answers as JSON, one line a picture\n"
    "  edgekit-run self-test BUNDLE [--model KIND] [--threads N]         holds the bundle against its golden vectors\n"
    "  edgekit-run bench BUNDLE [--model KIND] [--threads N] [--warmup N] [--repeats N]\n"
    "  edgekit-run infer BUNDLE INPUT.npy OUT [--model KIND] [--threads N]  raw outputs into the folder OUT\n"
    "  edgekit-run --version\n"
    "KIND is int8, fp32, or a role such as int8.nb; without it the manifest's default runs.\n"
    "Pictures are PNG or JPEG.\n";

constexpr int FAILED = 3;

struct Asked {
    std::vector<std::string> words;
    std::string model;
    std::map<std::string, int> numbers = {{"--threads", 1}, {"--warmup", 20}, {"--repeats", 100}};
};

Error misused(const std::string& why) { return Error("EK200", why + "\n" + USAGE); }

Asked parsed(int count, char** arguments) {
    Asked asked;
    for (int i = 1; i < count; ++i) {
        const std::string word = arguments[i];
        if (word.rfind("--", 0) != 0) {
            asked.words.push_back(word);
            continue;
        }
        const bool is_number = asked.numbers.count(word) > 0;
        if (!is_number && word != "--model") throw misused("There is no option " + word + ".");
        if (++i == count) throw misused(word + " needs a value.");
        const std::string value = arguments[i];
        if (word == "--model") {
            asked.model = value;
            continue;
        }
        int& number = asked.numbers[word];
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        const int least = word == "--warmup" ? 0 : 1;
        if (error != std::errc() || end != value.data() + value.size() || number < least || number > 1'000'000)
            throw misused(word + " " + value + ": a whole number from " + std::to_string(least) + " on, please.");
    }
    return asked;
}

void print(const Json& json, int indent) { std::cout << json.dump(indent, ' ', false, Json::error_handler_t::replace) << "\n"; }

edgekit::Model opened(const Asked& asked) {
    auto bundles = edgekit::open_bundle(asked.words[1]);
    if (bundles.size() != 1) throw misused(asked.words[1] + " is a combined bundle: name one of its folders.");
    return edgekit::Model(std::move(bundles[0]), asked.model, asked.numbers.at("--threads"));
}

int run(const Asked& asked) {
    if (asked.words.size() < 3) throw misused("run needs a bundle and a picture.");
    auto model = opened(asked);
    for (auto picture = asked.words.begin() + 2; picture != asked.words.end(); ++picture) {
        const auto pixels = edgekit::decode_picture(edgekit::read_file(*picture), *picture);
        Json line = {{"picture", *picture}, {"width", pixels.width}, {"height", pixels.height}, {"model", model.role()}};
        line.update(model.answer(pixels));
        print(line, -1);
    }
    return 0;
}

int self_test(const Asked& asked) {
    if (asked.words.size() != 2) throw misused("self-test needs one bundle.");
    const Json result = edgekit::self_test(asked.words[1], asked.model, asked.numbers.at("--threads"));
    print(result, 1);
    return result["verdict"] == "passed" ? 0 : FAILED;
}

int bench(const Asked& asked) {
    if (asked.words.size() != 2) throw misused("bench needs one bundle.");
    auto model = opened(asked);
    print(edgekit::bench(model, asked.numbers.at("--threads"), asked.numbers.at("--warmup"), asked.numbers.at("--repeats")), 1);
    return 0;
}

int infer(const Asked& asked) {
    if (asked.words.size() != 4) throw misused("infer needs a bundle, an input and a folder.");
    auto model = opened(asked);
    const auto input = edgekit::parse_npy(edgekit::read_file(asked.words[2]), asked.words[2]);
    std::filesystem::create_directories(asked.words[3]);
    for (const auto& [name, tensor] : model.engine().run(input)) {
        std::string file = name;
        std::replace(file.begin(), file.end(), '/', '_');
        edgekit::write_file(std::filesystem::path(asked.words[3]) / (file + ".npy"), edgekit::npy_bytes(tensor));
    }
    return 0;
}

int command(int count, char** arguments) {
    if (count == 2 && std::string(arguments[1]) == "--version") {
        std::cout << edgekit_version() << "\n";
        return 0;
    }
    const Asked asked = parsed(count, arguments);
    const std::map<std::string, int (*)(const Asked&)> commands = {
        {"run", run}, {"self-test", self_test}, {"bench", bench}, {"infer", infer}};
    const auto found = asked.words.empty() ? commands.end() : commands.find(asked.words[0]);
    if (found == commands.end()) throw misused("What shall be done?");
    return found->second(asked);
}

}  // namespace

int main(int count, char** arguments) {
    try {
        return command(count, arguments);
    } catch (const Error& error) {
        const std::string code = error.code() == "EK200" ? "" : " " + error.code();
        std::cerr << "error" << code << ": " << error.what() << "\n";
        return error.exit_code();
    } catch (const std::exception& error) {
        std::cerr << "error: a bug in edgekit-run: " << error.what() << "\n";
        return 1;
    }
}
