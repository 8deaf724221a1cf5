#include <onnxruntime_c_api.h>

#include <algorithm>

#include "engine.h"
#include "error.h"

namespace edgekit {
namespace {

// The oldest C API with what is called here: any ONNX Runtime since 1.12 will do, whatever the headers are from.
constexpr std::uint32_t API_VERSION = 12;

const OrtApi& api() {
    static const OrtApi* const found = OrtGetApiBase()->GetApi(API_VERSION);
    if (!found) throw Error("EK502", std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() + " is too old.");
    return *found;
}

void check(OrtStatus* status, const std::string& what) {
    if (!status) return;
    const std::string why = api().GetErrorMessage(status);
    api().ReleaseStatus(status);
    throw Error("EK501", what + ": " + why.substr(0, 300));
}

template <typename Handle>
using Owned = std::unique_ptr<Handle, void (*)(Handle*)>;

// `make` fills in a pointer; `release` gives back what it points to.
template <typename Handle, typename Make>
Owned<Handle> owned(Make make, void (*release)(Handle*), const std::string& what) {
    Handle* handle = nullptr;
    check(make(&handle), what);
    return {handle, release};
}

class OnnxEngine : public Engine {
public:
    OnnxEngine(const std::filesystem::path& model, int threads) : name_(model.string()) {
        const std::string failed = "ONNX Runtime cannot load " + name_;
        const auto options = owned<OrtSessionOptions>([](auto** out) { return api().CreateSessionOptions(out); },
                                                      api().ReleaseSessionOptions, failed);
        check(api().SetIntraOpNumThreads(options.get(), threads), failed);
        check(api().SetInterOpNumThreads(options.get(), 1), failed);
        // Without VNNI x86 saturates sums of uint8 x int8 at 16 bits, unless told to be as exact as ARM.
        check(api().AddSessionConfigEntry(options.get(), "session.x64quantprecision", "1"), failed);
        session_ = owned<OrtSession>([&](auto** out) { return api().CreateSession(environment(), name_.c_str(), options.get(), out); },
                                     api().ReleaseSession, failed);
        check(api().GetAllocatorWithDefaultOptions(&allocator_), failed);
        std::size_t inputs = 0, outputs = 0;
        check(api().SessionGetInputCount(session_.get(), &inputs), failed);
        check(api().SessionGetOutputCount(session_.get(), &outputs), failed);
        if (inputs != 1) throw Error("EK409", name_ + " has " + std::to_string(inputs) + " inputs, expected 1.");
        input_ = taken([&](char** out) { return api().SessionGetInputName(session_.get(), 0, allocator_, out); });
        for (std::size_t k = 0; k < outputs; ++k)
            outputs_.push_back(taken([&](char** out) { return api().SessionGetOutputName(session_.get(), k, allocator_, out); }));
    }

    Tensors run(const Tensor& input) override {
        const std::string failed = "ONNX Runtime failed to run " + name_;
        const auto memory = owned<OrtMemoryInfo>(
            [](auto** out) { return api().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, out); },
            api().ReleaseMemoryInfo, failed);
        const auto feed = owned<OrtValue>(
            [&](auto** out) {
                // It is only read, but the interface knows no input that is not written to.
                return api().CreateTensorWithDataAsOrtValue(memory.get(), const_cast<float*>(input.values.data()),
                                                            input.values.size() * sizeof(float), input.shape.data(),
                                                            input.shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, out);
            },
            api().ReleaseValue, failed);
        const char* feed_name = input_.c_str();
        const OrtValue* feeds[] = {feed.get()};
        std::vector<const char*> names;
        for (const std::string& name : outputs_) names.push_back(name.c_str());
        std::vector<OrtValue*> raw(names.size(), nullptr);
        OrtStatus* status = api().Run(session_.get(), nullptr, &feed_name, feeds, 1, names.data(), names.size(), raw.data());
        std::vector<Owned<OrtValue>> values;
        for (OrtValue* value : raw) values.emplace_back(value, api().ReleaseValue);
        check(status, failed);
        Tensors result;
        for (std::size_t k = 0; k < values.size(); ++k) result[outputs_[k]] = tensor(values[k].get(), failed);
        return result;
    }

    std::string version() const override { return std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString(); }

private:
    static OrtEnv* environment() {
        static const auto kept = owned<OrtEnv>(
            [](auto** out) { return api().CreateEnv(ORT_LOGGING_LEVEL_FATAL, "edgekit", out); }, api().ReleaseEnv,
            "ONNX Runtime cannot be started");
        return kept.get();
    }

    template <typename Get>
    std::string taken(Get get) {
        char* name = nullptr;
        check(get(&name), "ONNX Runtime cannot load " + name_);
        const std::string text = name;
        check(api().AllocatorFree(allocator_, name), "ONNX Runtime cannot load " + name_);
        return text;
    }

    static Tensor tensor(OrtValue* value, const std::string& failed) {
        const auto info = owned<OrtTensorTypeAndShapeInfo>([&](auto** out) { return api().GetTensorTypeAndShape(value, out); },
                                                           api().ReleaseTensorTypeAndShapeInfo, failed);
        ONNXTensorElementDataType type{};
        std::size_t dimensions = 0, count = 0;
        check(api().GetTensorElementType(info.get(), &type), failed);
        if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) throw Error("EK409", failed + ": an output is not float32.");
        check(api().GetDimensionsCount(info.get(), &dimensions), failed);
        check(api().GetTensorShapeElementCount(info.get(), &count), failed);
        Tensor result;
        result.shape.resize(dimensions);
        check(api().GetDimensions(info.get(), result.shape.data(), dimensions), failed);
        void* data = nullptr;
        check(api().GetTensorMutableData(value, &data), failed);
        const auto* floats = static_cast<const float*>(data);
        result.values.assign(floats, floats + count);
        return result;
    }

    std::string name_, input_;
    std::vector<std::string> outputs_;
    OrtAllocator* allocator_ = nullptr;  // ONNX Runtime's own, never given back
    Owned<OrtSession> session_{nullptr, nullptr};
};

}  // namespace

std::unique_ptr<Engine> open_onnx(const std::filesystem::path& model, int threads) {
    return std::make_unique<OnnxEngine>(model, threads);
}

}  // namespace edgekit
