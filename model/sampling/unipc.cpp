// SPDX-License-Identifier: Apache-2.0
// UniPC, predicting x0, B(h) variant. Every update is one linear combination of at most five tensors: the scalar
// coefficients are worked out in fp64 and the tensors are combined in fp32.
#include <cmath>
#include <deque>

#include "base/errors.h"
#include "model/sampling/sampler.h"

namespace dualparal {
namespace {

// log signal-to-noise ratio of a flow-matching noise level
double log_snr(double sigma) { return std::log(1 - sigma) - std::log(sigma); }

// Solves the small system R x = b (order <= 3) by Gaussian elimination with pivoting.
std::vector<double> solve(std::vector<std::vector<double>> r, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    for (size_t row = column + 1; row < n; ++row)
      if (std::abs(r[row][column]) > std::abs(r[pivot][column])) pivot = row;
    std::swap(r[column], r[pivot]);
    std::swap(b[column], b[pivot]);
    for (size_t row = column + 1; row < n; ++row) {
      const double factor = r[row][column] / r[column][column];
      for (size_t k = column; k < n; ++k) r[row][k] -= factor * r[column][k];
      b[row] -= factor * b[column];
    }
  }
  for (size_t row = n; row-- > 0;) {
    for (size_t k = row + 1; k < n; ++k) b[row] -= r[row][k] * b[k];
    b[row] /= r[row][row];
  }
  return b;
}

class UniPCSampler final : public Sampler {
 public:
  UniPCSampler(SchedulerConfig config, Schedule schedule)
      : config_(std::move(config)), schedule_(std::move(schedule)) {}

  at::Tensor step(const at::Tensor& prediction, const at::Tensor& latents) override {
    check(step_ < schedule_.steps(), "sampler: all {} steps are taken", schedule_.steps());
    at::Tensor sample = latents.to(at::kFloat);
    // Flow prediction: x0 = sample - sigma * prediction.
    const at::Tensor x0 = at::sub(sample, prediction.to(at::kFloat), schedule_.sigmas[step_]);
    if (step_ > 0 && !corrector_disabled(step_ - 1)) sample = correct(x0);

    x0_history_.push_front(x0);
    if (static_cast<int64_t>(x0_history_.size()) > config_.solver_order) x0_history_.pop_back();
    const int64_t remaining = schedule_.steps() - step_;
    order_ = config_.lower_order_final ? std::min(config_.solver_order, remaining) : config_.solver_order;
    order_ = std::min(order_, step_ + 1);  // no more history than steps taken

    last_sample_ = sample;
    const at::Tensor next = predict(sample);
    ++step_;
    return next;
  }

  SamplerState state() const override {
    SamplerState state{.numbers = {{"steps", step_}, {"order", order_}}};
    if (last_sample_.defined()) state.tensors["last_sample"] = last_sample_;
    for (size_t i = 0; i < x0_history_.size(); ++i) state.tensors[fmt::format("x0_{}", i)] = x0_history_[i];
    return state;
  }

  void set_state(const SamplerState& state) override {
    step_ = taken_steps(state, schedule_);
    const auto tensor = [&](const std::string& name) {
      const auto found = state.tensors.find(name);
      check(found != state.tensors.end(), "sampler: the kept state has no {}", name);
      return found->second;
    };
    const auto order = state.numbers.find("order");
    check(order != state.numbers.end() && order->second >= 1 && order->second <= config_.solver_order,
          "sampler: the kept state is of no UniPC of order {}", config_.solver_order);
    order_ = order->second;
    x0_history_.clear();
    last_sample_ = step_ > 0 ? tensor("last_sample") : at::Tensor();
    for (int64_t i = 0; i < std::min(step_, config_.solver_order); ++i)
      x0_history_.push_back(tensor(fmt::format("x0_{}", i)));
  }

 private:
  // What predictor and corrector share, for a step from noise level `from` to `to` (indices into sigmas):
  // base = decay * sample + gain * x0, and the weights of the differences to older x0.
  struct Update {
    double decay, gain, scale;  // scale = alpha_t * B(h)
    std::vector<double> r;      // positions of older x0, in units of h
    std::vector<std::vector<double>> matrix;
    std::vector<double> b;
  };

  bool corrector_disabled(int64_t step) const {
    return std::find(config_.disable_corrector.begin(), config_.disable_corrector.end(), step) !=
           config_.disable_corrector.end();
  }

  Update prepare(int64_t from, int64_t to, int64_t order) const {
    const double sigma_s = schedule_.sigmas[from], sigma_t = schedule_.sigmas[to];
    const double alpha_t = 1 - sigma_t;
    const double lambda_s = log_snr(sigma_s);
    const double h = log_snr(sigma_t) - lambda_s;  // infinite in the last step, to sigma = 0
    const double phi_1 = std::expm1(-h);
    const double b_h = config_.solver_type == "bh1" ? -h : phi_1;
    Update update{sigma_t / sigma_s, -alpha_t * phi_1, alpha_t * b_h, {}, {}, {}};
    for (int64_t i = 1; i < order; ++i) update.r.push_back((log_snr(schedule_.sigmas[from - i]) - lambda_s) / h);
    update.r.push_back(1);
    double phi_k = phi_1 / -h - 1, factorial = 1;
    for (int64_t i = 1; i <= order; ++i) {
      std::vector<double> row;
      for (const double r : update.r) row.push_back(std::pow(r, i - 1));
      update.matrix.push_back(std::move(row));
      update.b.push_back(phi_k * factorial / b_h);
      factorial *= static_cast<double>(i + 1);
      phi_k = phi_k / -h - 1 / factorial;
    }
    return update;
  }

  // decay * sample + gain * m0 - scale * sum(weights[i] * (older x0 - m0) / r[i])
  at::Tensor combine(const Update& update, const at::Tensor& sample, const std::vector<double>& weights) const {
    double m0_coefficient = update.gain;
    at::Tensor result = sample * update.decay;
    for (size_t i = 0; i < weights.size(); ++i) {
      const double coefficient = -update.scale * weights[i] / update.r[i];
      result.add_(x0_history_[i + 1], coefficient);
      m0_coefficient -= coefficient;
    }
    return result.add_(x0_history_[0], m0_coefficient);
  }

  at::Tensor predict(const at::Tensor& sample) const {
    const Update update = prepare(step_, step_ + 1, order_);
    std::vector<double> weights;
    if (order_ == 2) {
      weights = {0.5};
    } else if (order_ > 2) {
      auto matrix = update.matrix;
      matrix.pop_back();
      for (auto& row : matrix) row.pop_back();
      weights = solve(matrix, {update.b.begin(), update.b.end() - 1});
    }
    return combine(update, sample, weights);
  }

  // x0: the prediction at the sample that is to be corrected; the history still ends one step earlier.
  at::Tensor correct(const at::Tensor& x0) const {
    const Update update = prepare(step_ - 1, step_, order_);
    std::vector<double> weights = order_ == 1 ? std::vector<double>{0.5} : solve(update.matrix, update.b);
    const double newest = weights.back();
    weights.pop_back();
    at::Tensor result = combine(update, last_sample_, weights);
    result.add_(x0, -update.scale * newest);
    return result.add_(x0_history_[0], update.scale * newest);
  }

  SchedulerConfig config_;
  Schedule schedule_;
  int64_t step_ = 0;
  int64_t order_ = 1;
  at::Tensor last_sample_;
  std::deque<at::Tensor> x0_history_;  // newest first
};

}  // namespace

Schedule unipc_schedule(const SchedulerConfig& config, int64_t steps) {
  const auto train = static_cast<double>(config.num_train_timesteps);
  const double shift = config.flow_shift;
  Schedule schedule;
  for (int64_t i = 0; i < steps; ++i) {
    const double linear = 1 + (1 / train - 1) * static_cast<double>(i) / static_cast<double>(steps);
    double sigma = shift * linear / (1 + (shift - 1) * linear);
    if (std::abs(sigma - 1) < 1e-6) sigma -= 1e-6;            // keeps the signal-to-noise ratio finite
    schedule.timesteps.push_back(std::trunc(sigma * train));  // whole numbers, as the reference
    schedule.sigmas.push_back(static_cast<float>(sigma));     // fp32, as the reference
  }
  schedule.sigmas.push_back(0);
  return schedule;
}

std::unique_ptr<Sampler> unipc_sampler(const SchedulerConfig& config, const Schedule& schedule) {
  return std::make_unique<UniPCSampler>(config, schedule);
}

}  // namespace dualparal
