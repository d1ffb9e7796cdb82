#include "runtime/trainer.h"

#include <cstring>

#include "kernels/fixed_point.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "artifacts are used in place");

namespace tbft {

template <typename T>
T* Trainer::in_arena(uint32_t tensor) const {
  if (tensor == kNone) return nullptr;
  return reinterpret_cast<T*>(bases_.of(artifact_->tensor(tensor)));
}

template <typename T>
const T* Trainer::in_const(uint32_t tensor) const {
  if (tensor == kNone) return nullptr;
  return reinterpret_cast<const T*>(artifact_->constant(artifact_->tensor(tensor)));
}

void Trainer::bind(const Artifact* artifact, const RegionBases& bases) {
  artifact_ = artifact;
  bases_ = bases;
}

void Trainer::set_learning_rate(LearningRate rate) {
  rate_ = {static_cast<int32_t>(rate.mantissa), rate.exponent};
}

void Trainer::reset_weights() {
  for (uint32_t k = 0; k < artifact_->trained_count(); ++k) {
    const TrainedRecord r = artifact_->trained(k);
    if (r.weights != kNone) {
      memcpy(in_arena<uint8_t>(r.weights), in_const<uint8_t>(r.initial_weights),
             artifact_->tensor(r.weights).bytes);
    }
    memcpy(in_arena<uint8_t>(r.bias), in_const<uint8_t>(r.initial_bias),
           artifact_->tensor(r.bias).bytes);
  }
}

void Trainer::clear_accumulators() {
  for (uint32_t k = 0; k < artifact_->trained_count(); ++k) {
    const TrainedRecord r = artifact_->trained(k);
    int16_t* exponents = in_arena<int16_t>(r.row_exponents);
    for (uint32_t i = 0; exponents != nullptr && i < 2 * r.rows; ++i) exponents[i] = kEmptyExponent;
  }
}

Trainer::Node Trainer::node(uint32_t k) const {
  const TrainedRecord r = artifact_->trained(k);
  Node n;
  n.number = k;
  n.rows = r.rows;
  n.row_length = r.kind == TrainedKind::kAffine ? 0 : r.row_length;
  n.depthwise = r.kind == TrainedKind::kDepthwise;
  n.weights = in_arena<int8_t>(r.weights);
  n.bias = in_arena<int32_t>(r.bias);
  n.rho_weights = in_const<NormalizedPair>(r.rho_weights);
  n.rho_bias = in_const<NormalizedPair>(r.rho_bias);
  n.weight_accumulator = in_arena<int16_t>(r.weight_accumulator);
  n.bias_accumulator = in_arena<int32_t>(r.bias_accumulator);
  n.weight_exponents = in_arena<int16_t>(r.row_exponents);
  n.bias_exponents = n.weight_exponents == nullptr ? nullptr : n.weight_exponents + r.rows;
  n.weight_step = {rate_, random_key(seed_, step_, 2 * k)};
  n.bias_step = {rate_, random_key(seed_, step_, 2 * k + 1)};
  return n;
}

namespace {

RowIndex row_index(const Trainer::Node& node, uint32_t row) {
  return node.depthwise ? RowIndex{row, node.rows} : RowIndex{row * node.row_length, 1};
}

}  // namespace

void Trainer::take_row(const Node& node, uint32_t row, const int32_t* weights, int32_t bias,
                       int32_t exponent, Work* work) {
  if (observer_ != nullptr) {
    if (node.row_length != 0)
      observer_->on_row(2 * node.number, row, weights, node.row_length, exponent);
    observer_->on_row(2 * node.number + 1, row, &bias, 1, exponent);
  }
  if (node.bias_accumulator != nullptr) {
    if (node.row_length != 0) {
      accumulate_row(weights, exponent, node.row_length,
                     node.weight_accumulator + size_t{row} * node.row_length,
                     node.weight_exponents + row);
    }
    accumulate_bias(bias, exponent, node.bias_accumulator + row, node.bias_exponents + row);
    work->sums += node.row_length + 1;
    return;
  }
  if (node.row_length != 0) {
    sgd_row_s8(node.weight_step, node.rho_weights[row], weights, exponent, node.row_length,
               row_index(node, row), node.weights);
  }
  sgd_bias(node.bias_step, node.rho_bias[row], bias, exponent, row, node.bias + row);
  work->updates += node.row_length + 1;
}

uint32_t Trainer::update_row(const Node& node, uint32_t row) {
  uint32_t updated = 0;
  if (node.row_length != 0 && node.weight_exponents[row] != kEmptyExponent) {
    apply_row_s8(rate_, node.rho_weights[row], node.row_length, row_index(node, row),
                 node.weight_accumulator + size_t{row} * node.row_length,
                 node.weight_exponents + row, node.weights);
    updated += node.row_length;
  }
  if (node.bias_exponents[row] != kEmptyExponent) {
    sgd_bias(node.bias_step, node.rho_bias[row], node.bias_accumulator[row],
             node.bias_exponents[row], row, node.bias + row);
    node.bias_exponents[row] = kEmptyExponent;
    updated += 1;
  }
  return updated;
}

Work Trainer::update() {
  Work work;
  for (uint32_t k = 0; k < artifact_->trained_count(); ++k) {
    const Node n = node(k);
    for (uint32_t row = 0; row < n.rows; ++row) work.updates += update_row(n, row);
  }
  ++step_;
  return work;
}

TrainedTensor Trainer::tensor(uint32_t number) const {
  const TrainedRecord r = artifact_->trained(number / 2);
  TrainedTensor t;
  t.block = r.block;
  t.kind = static_cast<uint32_t>(r.kind);
  t.is_bias = number % 2 == 1;
  const uint32_t index = t.is_bias ? r.bias : r.weights;
  if (index == kNone) return t;
  t.rows = r.rows;
  t.row_length = t.is_bias ? 1 : r.row_length;
  t.bytes = Span<uint8_t>(in_arena<uint8_t>(index), artifact_->tensor(index).bytes);
  return t;
}

AccumulatorView Trainer::accumulator(uint32_t number) const {
  const Node n = node(number / 2);
  AccumulatorView view;
  if (n.bias_accumulator == nullptr) return view;
  if (number % 2 == 1) return {nullptr, n.bias_accumulator, n.bias_exponents, n.rows, 1};
  if (n.row_length == 0) return view;
  return {n.weight_accumulator, nullptr, n.weight_exponents, n.rows, n.row_length};
}

}  // namespace tbft
