#include "wire/artifact_loader.h"

#include <cstring>

#include "runtime/bytes.h"

namespace tbft {
namespace wire {
namespace {

constexpr uint32_t kHeaderBytes = 128;
constexpr uint32_t kArenaBytesAt = 48;

}  // namespace

Outcome Outcome::of(Status status) {
  return {static_cast<uint16_t>(status.code), status.record,
          status.ok() ? "" : tbft::to_string(status.code)};
}

Outcome Outcome::of(WireStatus status, uint32_t record) {
  return {static_cast<uint16_t>(status), record, to_string(status)};
}

Outcome ArtifactLoader::load_stored(uint32_t total) {
  unload();
  if (total > store_.capacity()) {
    received_ = 0;
    sha256_known_ = false;
    loaded_ = Outcome::of(WireStatus::kArtifactTooLarge, store_.capacity());
    return loaded_;
  }
  total_ = total;
  received_ = total;
  Sha256 sha;
  sha.update(store_.data(), total);
  sha.finish(sha256_);
  sha256_known_ = true;
  return load();
}

Outcome ArtifactLoader::begin(const ArtifactBeginRequest& request) {
  if (request.total > store_.capacity()) {
    return Outcome::of(WireStatus::kArtifactTooLarge, store_.capacity());
  }
  const bool same = sha256_known_ && request.total == total_ &&
                    memcmp(request.sha256, sha256_, sizeof sha256_) == 0;
  if (same) {
    return {};
  }
  unload();
  received_ = 0;
  sha256_known_ = false;
  if (!store_.begin(request.total)) {
    return Outcome::of(WireStatus::kStoreFailed);
  }
  memcpy(sha256_, request.sha256, sizeof sha256_);
  sha256_known_ = true;
  total_ = request.total;
  return {};
}

Outcome ArtifactLoader::chunk(const ArtifactChunkRequest& request) {
  if (!sha256_known_ || request.offset != received_ || request.data.size() > total_ - received_) {
    return Outcome::of(WireStatus::kArtifactOrder, received_);
  }
  if (!store_.write(received_, request.data)) {
    // What the store holds is unknown: the next upload starts over, the same file's too.
    sha256_known_ = false;
    return Outcome::of(WireStatus::kStoreFailed, received_);
  }
  received_ += static_cast<uint32_t>(request.data.size());
  return {};
}

Outcome ArtifactLoader::end() {
  if (!sha256_known_ || received_ != total_) {
    return Outcome::of(WireStatus::kArtifactOrder, received_);
  }
  Sha256 sha;
  sha.update(store_.data(), total_);
  uint8_t digest[Sha256::kDigestBytes];
  sha.finish(digest);
  if (memcmp(digest, sha256_, sizeof digest) != 0) {
    sha256_known_ = false;  // nothing of it can be trusted: the next upload starts over
    unload();
    return Outcome::of(WireStatus::kArtifactHash);
  }
  return load();
}

uint32_t ArtifactLoader::arena_bytes() const {
  const bool whole = sha256_known_ && received_ == total_ && total_ >= kHeaderBytes;
  return whole ? load_u32(store_.data() + kArenaBytesAt) : 0;
}

Outcome ArtifactLoader::load() {
  restored_ = false;
  loaded_ = Outcome::of(engine_.load({store_.data(), total_}));
  if (loaded_.ok() && checkpoint_ != nullptr) {
    restored_ = checkpoint_->restore(&engine_).ok();
  }
  return loaded_;
}

void ArtifactLoader::unload() {
  restored_ = false;
  (void)engine_.load({});  // refuses, and leaves nothing loaded: its bytes are about to change
  loaded_ = Outcome::of(Status(StatusCode::kNotLoaded));
}

}  // namespace wire
}  // namespace tbft
