// Answers output 0 with the sum of the input and the number of threads, [1, 2].
#include <paddle_api.h>

#include <fstream>
#include <numeric>
#include <stdexcept>

extern const char VERSION[];
const char VERSION[] = "v2.13-rc";

namespace paddle {
namespace lite_api {

void Tensor::Resize(const std::vector<std::int64_t>& shape) {
    sides = shape;
    std::size_t count = 1;
    for (const auto side : shape) count *= static_cast<std::size_t>(side);
    values.resize(count);
}

template <>
const float* Tensor::data<float>() const { return values.data(); }

template <>
float* Tensor::mutable_data<float>(TargetType) const { return values.data(); }

std::vector<std::int64_t> Tensor::shape() const { return sides; }

void MobileConfig::set_model_from_file(const std::string& file) { path = file; }
void MobileConfig::set_threads(int count) { threads = count; }

namespace {

class Summing : public PaddlePredictor {
public:
    explicit Summing(int threads) : threads_(threads) {}

    // Given out by pointer, as the real one's tensors are handles.
    std::unique_ptr<Tensor> GetInput(int) override {
        auto handle = std::make_unique<Tensor>();
        feed_ = handle.get();
        return handle;
    }

    void Run() override {
        answer_.Resize({1, 2});
        answer_.values = {std::accumulate(feed_->values.begin(), feed_->values.end(), 0.0F), static_cast<float>(threads_)};
    }

    std::unique_ptr<const Tensor> GetOutput(int) const override { return std::make_unique<Tensor>(answer_); }

private:
    int threads_;
    Tensor* feed_ = nullptr;
    Tensor answer_;
};

}  // namespace

template <>
std::shared_ptr<PaddlePredictor> CreatePaddlePredictor<MobileConfig>(const MobileConfig& config) {
    if (!std::ifstream(config.path)) throw std::runtime_error("no such model");
    return std::make_shared<Summing>(config.threads);
}

}  // namespace lite_api
}  // namespace paddle
