// The scheduler's fine-tuning: from stored samples to committed weights.
#include <cstring>

#include "duty/scheduler.h"

namespace tbft {
namespace duty {

namespace {

void exchange(TuneItem* a, TuneItem* b) {
  const TuneItem held = *a;
  *a = *b;
  *b = held;
}

}  // namespace

// The oldest labels that are new, then the newest used ones. False when there are too few.
bool Scheduler::begin_tuning(uint32_t entry, uint32_t due_s) {
  const Entry& e = settings_.schedule.entries[entry];
  const LogState& state = parts_.store.state();
  // An earlier commit that could not be noted must be, or its samples would be used twice.
  if (!settle_tuning() || facts().new_labelled < e.min_labelled) return false;
  count_ = 0;
  highest_label_ = state.used_labels;
  // Labels come in any order of ids, so they are looked up by number; those whose sample is gone
  // are passed over.
  const auto take = [&](uint32_t number) {
    for (uint32_t i = 0; i < parts_.store.count(); ++i) {
      const StoredSample& stored = parts_.store.sample(i);
      if (stored.label_number != number) continue;
      items_[count_] = {stored.id, static_cast<uint16_t>(count_), stored.label};
      ++count_;
      return;
    }
  };
  uint32_t lowest = UINT32_MAX;
  for (uint32_t i = 0; i < parts_.store.count(); ++i) {
    const uint32_t number = parts_.store.sample(i).label_number;
    if (number != 0 && number < lowest) lowest = number;
  }
  uint32_t n = state.used_labels < lowest ? lowest : state.used_labels + 1;
  for (; n <= state.labels && count_ < e.max_samples; ++n) {
    take(n);
    highest_label_ = n;
  }
  const uint32_t fresh = count_;
  for (n = state.used_labels; n >= lowest && count_ - fresh < e.rehearse; --n) take(n);

  entry_ = entry;
  due_s_ = due_s;
  at_ = 0;
  epoch_ = 0;
  right_ = 0;
  cached_ = count_ <= parts_.engine.info().cache_slots;
  TrainConfig config;
  config.learning_rate = e.rate;
  config.seed = settings_.seed;
  const Status status = parts_.engine.configure(config);
  if (!status.ok()) {
    fail("fine-tuning did not begin", status);
    return false;
  }
  Event begun = event(EventKind::kTuning);
  begun.entry = static_cast<uint8_t>(entry);
  begun.id = state.tunings + 1;
  begun.value = count_;
  tell(begun);
  activity_ = Activity::kLoad;
  return true;
}

// Into the sample cache, where all fit; else only to see that they are whole.
void Scheduler::load_item() {
  const Span<int8_t> input(input_.data(), parts_.engine.info().input_bytes);
  TuneItem& item = items_[at_];
  const StoredSample* stored = parts_.store.find(item.id);
  Status status = StatusCode::kNoSample;
  if (stored != nullptr) {
    const PhaseScope scope(parts_.phases, Phase::kLoad);
    status = parts_.store.read(*stored, input);
  }
  if (!status.ok()) {
    fail("a stored sample is left out of the fine-tuning", status);
    for (uint32_t i = at_; i + 1 < count_; ++i) items_[i] = items_[i + 1];
    --count_;
  } else {
    item.slot = static_cast<uint16_t>(at_);
    if (cached_) status = parts_.engine.cache_sample(at_, input, item.label);
    if (!status.ok()) return drop_tuning("fine-tuning ended early", status);
    ++at_;
  }
  if (at_ < count_) return;
  if (count_ == 0)
    return drop_tuning("no sample was left to fine-tune on", StatusCode::kStoreDamaged);
  begin_epoch();
  activity_ = Activity::kTrain;
}

void Scheduler::begin_epoch() {
  at_ = 0;
  right_ = 0;
  const uint32_t number = parts_.store.state().tunings + 1;
  const uint32_t key = shuffle_key(settings_.seed, number, epoch_);
  for (uint32_t top = count_ - 1; top != 0; --top) {
    exchange(&items_[top], &items_[shuffle_place(key, top)]);
  }
}

void Scheduler::train_item() {
  const Entry& e = settings_.schedule.entries[entry_];
  const uint32_t wanted = parts_.engine.info().mode == UpdateMode::kImmediate ? 1 : e.batch;
  Status status;
  if (at_ % wanted == 0) {
    const uint32_t left = count_ - at_;
    status = parts_.engine.set_learning_rate(divided(e.rate, left < wanted ? left : wanted));
  }
  const TuneItem& item = items_[at_];
  TrainResult result;
  if (status.ok() && cached_) {
    status = parts_.engine.train_sample(item.slot, &result);
  } else if (status.ok()) {
    const Span<int8_t> input(input_.data(), parts_.engine.info().input_bytes);
    const StoredSample* stored = parts_.store.find(item.id);
    status = StatusCode::kNoSample;
    if (stored != nullptr) {
      const PhaseScope scope(parts_.phases, Phase::kLoad);
      status = parts_.store.read(*stored, input);
    }
    if (status.ok()) status = parts_.engine.train_input(input, item.label, &result);
  }
  ++at_;
  if (status.ok() && (at_ % wanted == 0 || at_ == count_)) status = parts_.engine.end_batch();
  if (!status.ok()) return drop_tuning("fine-tuning ended early", status);
  right_ += result.prediction == result.label ? 1 : 0;
  if (at_ < count_) return;
  if (++epoch_ < e.epochs) return begin_epoch();
  activity_ = Activity::kCommit;
}

// First the log says what is about to come, then the weights are committed, then the log says that
// they were. Whoever finds the first without the last compares the weights (settle_tuning).
void Scheduler::commit() {
  uint8_t hash[32];
  Status status = parts_.engine.weights_sha256(hash);
  Record record = stamp(RecordType::kTuned);
  record.entry = static_cast<uint8_t>(entry_);
  record.number = highest_label_;
  record.due = due_s_ + 1;
  record.step = parts_.engine.step();
  memcpy(record.hash, hash, sizeof record.hash);
  if (status.ok()) status = append(record, {});
  if (!status.ok()) return drop_tuning("fine-tuning was not committed", status);
  Event tuned = event(EventKind::kTuned);
  tuned.entry = record.entry;
  tuned.id = parts_.store.state().tunings + 1;
  tuned.code = static_cast<uint16_t>(right_ * 100 / count_);
  tuned.value = count_;
  tell(tuned);
  status = parts_.checkpoint.commit(&parts_.engine);
  if (!status.ok()) return drop_tuning("fine-tuning was not committed", status);
  activity_ = Activity::kPlan;
  if (!settle_tuning()) return;
  Event committed = event(EventKind::kCommitted);
  committed.entry = record.entry;
  committed.id = parts_.store.state().tunings;
  committed.value = parts_.checkpoint.sequence();
  tell(committed);
}

// Back to the last commit; which may turn out to be this one, where flash failed at its very end.
void Scheduler::drop_tuning(const char* what, Status why) {
  activity_ = Activity::kPlan;
  const uint32_t tunings = parts_.store.state().tunings;
  if (why.ok()) {
    if (listener_ != nullptr) listener_->on_text(false, what, why);
    done_[entry_] = done_before_;  // nothing failed: it is still due
  } else {
    fail(what, why);
  }
  const Status status = restore_weights();
  if (!status.ok()) {
    // Without knowing the last commit no training may go on.
    fail("the committed weights could not be read back; duty-cycled operation pauses", status);
    mode_ = Mode::kPaused;
    return;
  }
  (void)settle_tuning();
  Event dropped = event(EventKind::kDropped);
  dropped.entry = static_cast<uint8_t>(entry_);
  dropped.id = tunings + 1;
  if (parts_.store.state().tunings == tunings) tell(dropped);
}

}  // namespace duty
}  // namespace tbft
