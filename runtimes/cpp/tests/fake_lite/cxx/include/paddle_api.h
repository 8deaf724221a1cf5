// A stand-in for Paddle Lite's header, with the part of its interface that src/engine_lite.cpp calls. No registry has
// the real library: against this the adapter is compiled and its own logic tested, not Paddle Lite.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace paddle {
namespace lite_api {

enum class TargetType { kHost = 1 };

struct Tensor {
    std::vector<std::int64_t> sides;
    mutable std::vector<float> values;

    void Resize(const std::vector<std::int64_t>& shape);
    template <typename T>
    const T* data() const;
    template <typename T>
    T* mutable_data(TargetType type = TargetType::kHost) const;
    std::vector<std::int64_t> shape() const;
};

class PaddlePredictor {
public:
    virtual std::unique_ptr<Tensor> GetInput(int i) = 0;
    virtual std::unique_ptr<const Tensor> GetOutput(int i) const = 0;
    virtual void Run() = 0;
    virtual ~PaddlePredictor() = default;
};

class MobileConfig {
public:
    void set_model_from_file(const std::string& path);
    void set_threads(int threads);

    std::string path;
    int threads = 0;
};

template <typename Config>
std::shared_ptr<PaddlePredictor> CreatePaddlePredictor(const Config& config);

}  // namespace lite_api
}  // namespace paddle
