#include "runtime/checkpoint.h"

#include <cstring>

#include "runtime/bytes.h"
#include "runtime/crc32.h"

namespace tbft {
namespace {

constexpr uint32_t kVersion = 2;
// Version 1 had shifts where there are gains now (docs/numerics.md): its weights count, they do
// not.
constexpr uint32_t kShiftsVersion = 1;
constexpr uint32_t kHeaderCrcAt = 92;

uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

// The payload as one stream of bytes: shift states, then the trained tensors one after another.
class Payload {
 public:
  explicit Payload(Engine* engine) : engine_(engine) {}

  uint32_t bytes() const {
    return static_cast<uint32_t>(engine_->shift_states().size()) + engine_->info().trained_bytes;
  }

  // Copy the next `size` bytes out of the engine, or into it; false past the end.
  bool take(uint8_t* data, uint32_t size) { return move(data, size, false); }
  bool put(uint8_t* data, uint32_t size) { return move(data, size, true); }

 private:
  bool move(uint8_t* data, uint32_t size, bool into_engine) {
    while (size != 0) {
      const Span<uint8_t> piece = current();
      if (piece.empty()) return false;
      const uint32_t n = size < piece.size() ? size : static_cast<uint32_t>(piece.size());
      if (into_engine) {
        memcpy(piece.data(), data, n);
      } else {
        memcpy(data, piece.data(), n);
      }
      data += n;
      size -= n;
      offset_ += n;
    }
    return true;
  }

  // What is left of the part that the position is in.
  Span<uint8_t> current() {
    for (; part_ <= engine_->info().trained_tensors; ++part_, offset_ = 0) {
      const Span<uint8_t> whole =
          part_ == 0 ? engine_->shift_states() : engine_->trained_tensor(part_ - 1).bytes;
      if (offset_ < whole.size()) return whole.subspan(offset_, whole.size() - offset_);
    }
    return {};
  }

  Engine* engine_;
  uint32_t part_ = 0;
  size_t offset_ = 0;
};

}  // namespace

uint32_t Checkpoint::slot_bytes() const {
  const uint32_t unit = flash_->erase_bytes();
  return flash_->size_bytes() / kSlots / unit * unit;
}

uint64_t Checkpoint::needed_bytes(Engine* engine) const {
  const uint64_t payload = round_up(Payload(engine).bytes(), kHeaderBytes);
  return kSlots * round_up(kHeaderBytes + payload, flash_->erase_bytes());
}

bool Checkpoint::geometry_fits(Engine* engine) const {
  const uint32_t unit = flash_->program_bytes();
  return unit != 0 && kHeaderBytes % unit == 0 && flash_->erase_bytes() != 0 &&
         needed_bytes(engine) <= uint64_t{kSlots} * slot_bytes();
}

Status Checkpoint::payload_crc(uint32_t slot, uint32_t bytes, uint32_t* crc) {
  *crc = 0;
  for (uint32_t done = 0; done < bytes;) {
    const uint32_t n = bytes - done < kHeaderBytes ? bytes - done : kHeaderBytes;
    if (!flash_->read(slot * slot_bytes() + kHeaderBytes + done, buffer_, n))
      return StatusCode::kFlashRead;
    *crc = crc32(*crc, buffer_, n);
    done += n;
  }
  return {};
}

Status Checkpoint::read_slot(Engine* engine, uint32_t slot, Header* header, bool* whole) {
  *whole = false;
  if (!flash_->read(slot * slot_bytes(), buffer_, kHeaderBytes)) return StatusCode::kFlashRead;
  header->version = load_u16(buffer_ + 4);
  const bool known = header->version == kVersion || header->version == kShiftsVersion;
  if (memcmp(buffer_, "TBFW", 4) != 0 || !known ||
      load_u32(buffer_ + kHeaderCrcAt) != crc32(0, buffer_, kHeaderCrcAt) ||
      memcmp(buffer_ + 32, engine->info().model_hash, 32) != 0) {
    return {};
  }
  header->sequence = load_u32(buffer_ + 8);
  header->payload_bytes = load_u32(buffer_ + 12);
  header->payload_crc = load_u32(buffer_ + 16);
  header->step = load_u32(buffer_ + 20);
  if (header->payload_bytes != Payload(engine).bytes()) return {};
  uint32_t crc = 0;
  const Status status = payload_crc(slot, header->payload_bytes, &crc);
  *whole = status.ok() && crc == header->payload_crc;
  return status;
}

// A slot that cannot be read is an error only when the other one does not help.
Status Checkpoint::newest(Engine* engine, uint32_t* slot, Header* header, bool* found,
                          bool readable[kSlots]) {
  *found = false;
  Status failure;
  for (uint32_t i = 0; i < kSlots; ++i) {
    Header candidate;
    bool whole = false;
    const Status status = read_slot(engine, i, &candidate, &whole);
    readable[i] = status.ok();
    if (!status.ok()) failure = status;
    // Serial number arithmetic: the counter may wrap.
    if (whole && (!*found || static_cast<int32_t>(candidate.sequence - header->sequence) > 0)) {
      *slot = i;
      *header = candidate;
      *found = true;
    }
  }
  return *found ? Status() : failure;
}

Status Checkpoint::write_payload(Engine* engine, uint32_t slot, Header* header) {
  Payload payload(engine);
  header->payload_bytes = payload.bytes();
  header->payload_crc = 0;
  for (uint32_t done = 0; done < header->payload_bytes; done += kHeaderBytes) {
    const uint32_t left = header->payload_bytes - done;
    const uint32_t n = left < kHeaderBytes ? left : kHeaderBytes;
    memset(buffer_, 0xff, sizeof buffer_);
    if (!payload.take(buffer_, n)) return StatusCode::kOutOfRange;
    header->payload_crc = crc32(header->payload_crc, buffer_, n);
    const uint32_t padded = static_cast<uint32_t>(round_up(n, flash_->program_bytes()));
    if (!flash_->program(slot * slot_bytes() + kHeaderBytes + done, buffer_, padded)) {
      return StatusCode::kFlashProgram;
    }
  }
  uint32_t crc = 0;
  const Status status = payload_crc(slot, header->payload_bytes, &crc);
  if (!status.ok()) return status;
  return crc == header->payload_crc ? Status() : Status(StatusCode::kFlashVerify);
}

Status Checkpoint::write_header(Engine* engine, uint32_t slot, const Header& header) {
  memset(buffer_, 0xff, sizeof buffer_);
  memcpy(buffer_, "TBFW", 4);
  store_u16(buffer_ + 4, kVersion);
  store_u16(buffer_ + 6, kHeaderBytes);
  store_u32(buffer_ + 8, header.sequence);
  store_u32(buffer_ + 12, header.payload_bytes);
  store_u32(buffer_ + 16, header.payload_crc);
  store_u32(buffer_ + 20, header.step);
  store_u32(buffer_ + 24, static_cast<uint32_t>(engine->shift_states().size()));
  store_u32(buffer_ + 28, 0);
  memcpy(buffer_ + 32, engine->info().model_hash, 32);
  memset(buffer_ + 64, 0, kHeaderCrcAt - 64);
  store_u32(buffer_ + kHeaderCrcAt, crc32(0, buffer_, kHeaderCrcAt));
  if (!flash_->program(slot * slot_bytes(), buffer_, kHeaderBytes))
    return StatusCode::kFlashProgram;
  return {};
}

Status Checkpoint::commit(Engine* engine) {
  if (!engine->loaded()) return StatusCode::kNotLoaded;
  if (engine->info().trained_tensors == 0) return StatusCode::kWrongMode;
  if (!geometry_fits(engine)) return StatusCode::kFlashGeometry;
  const PhaseScope phase(listener_, Phase::kCommit);
  uint32_t slot = 0;
  Header header;
  bool found = false;
  bool readable[kSlots] = {};
  Status status = newest(engine, &slot, &header, &found, readable);
  if (!readable[0] && !readable[1]) return status;
  slot = found ? 1 - slot : (readable[0] ? 0 : 1);
  // Nothing is known of the other slot: should it become readable again, its sequence number might
  // be the higher one.
  const bool erase_other = !found && !readable[1 - slot];
  header.sequence = found ? header.sequence + 1 : 1;
  header.step = engine->step();
  const uint32_t used = static_cast<uint32_t>(needed_bytes(engine) / kSlots);
  if (!flash_->erase(slot * slot_bytes(), used)) return StatusCode::kFlashErase;
  status = write_payload(engine, slot, &header);
  // The header makes the slot count, so it comes last.
  if (status.ok()) status = write_header(engine, slot, header);
  if (!status.ok()) return status;
  bool whole = false;
  Header written;
  status = read_slot(engine, slot, &written, &whole);
  if (!status.ok()) return status;
  if (!whole || written.sequence != header.sequence) return StatusCode::kFlashVerify;
  if (erase_other && !flash_->erase((1 - slot) * slot_bytes(), used)) {
    return StatusCode::kFlashErase;
  }
  sequence_ = header.sequence;
  // Remainders of steps are not in the checkpoint: this board goes on as one that restarts does.
  engine->drop_batch();
  return {};
}

Status Checkpoint::load_payload(Engine* engine, uint32_t slot) {
  Payload payload(engine);
  const uint32_t bytes = payload.bytes();
  for (uint32_t done = 0; done < bytes; done += kHeaderBytes) {
    const uint32_t n = bytes - done < kHeaderBytes ? bytes - done : kHeaderBytes;
    if (!flash_->read(slot * slot_bytes() + kHeaderBytes + done, buffer_, n))
      return StatusCode::kFlashRead;
    if (!payload.put(buffer_, n)) return StatusCode::kOutOfRange;
  }
  return {};
}

Status Checkpoint::restore(Engine* engine) {
  if (!engine->loaded()) return StatusCode::kNotLoaded;
  if (engine->info().trained_tensors == 0) return StatusCode::kWrongMode;
  if (!geometry_fits(engine)) return StatusCode::kFlashGeometry;
  uint32_t slot = 0;
  Header header;
  bool found = false;
  bool readable[kSlots] = {};
  Status status = newest(engine, &slot, &header, &found, readable);
  if (!status.ok()) return status;
  if (!found) return StatusCode::kNoCheckpoint;
  engine->drop_batch();
  status = load_payload(engine, slot);
  if (status.ok() && header.version == kShiftsVersion) engine->forget_shift_states();
  if (status.ok() && !engine->trained_state_valid()) status = StatusCode::kBadWeightValue;
  if (!status.ok()) {
    const Status reset = engine->reset_weights();
    return reset.ok() ? status : reset;
  }
  engine->set_step(header.step);
  sequence_ = header.sequence;
  return {};
}

Status Checkpoint::clear() {
  sequence_ = 0;
  if (!flash_->erase(0, kSlots * slot_bytes())) return StatusCode::kFlashErase;
  return {};
}

}  // namespace tbft
