#include "port/pcap_port.h"

#include <sys/stat.h>

#include <cerrno>

namespace vrouter {

namespace {

bool same_file(std::FILE* open_file, const std::string& path) {
  struct stat a;
  struct stat b;
  return fstat(fileno(open_file), &a) == 0 && stat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

// Anything but a regular file could block a read or a write.
bool regular_or_absent(const std::string& path) {
  struct stat s;
  return stat(path.c_str(), &s) != 0 || S_ISREG(s.st_mode);
}

void explain_failure(std::string* detail, const std::string& path, const Status& status,
                     int system_error) {
  if (detail == nullptr) return;
  *detail = path + ": " + status_text(status.code);
  if (status.field[0] != '\0') *detail += std::string(" (") + status.field + ")";
  if (system_error != 0) *detail += std::string(": ") + std::strerror(system_error);
}

}  // namespace

std::unique_ptr<PcapPort> PcapPort::open(const std::string& read_path,
                                         const std::string& write_path, Status* status,
                                         std::string* detail) {
  std::unique_ptr<PcapPort> port(new PcapPort());
  errno = 0;
  *status = Status::done();
  if (!read_path.empty()) {
    *status = regular_or_absent(read_path) ? port->reader_.open(read_path)
                                           : Status::fail(StatusCode::BadFile, "read_path");
    if (!status->ok()) {
      explain_failure(detail, read_path, *status, status->code == StatusCode::NotFound ? errno : 0);
      return nullptr;
    }
    port->reading_ = true;
  }
  if (!write_path.empty()) {
    if (port->reading_ && same_file(port->reader_.file(), write_path)) {
      *status = Status::fail(StatusCode::Conflict, "write_path");
    } else if (!regular_or_absent(write_path)) {
      *status = Status::fail(StatusCode::BadFile, "write_path");
    } else {
      *status = port->writer_.open(write_path);
    }
    if (!status->ok()) {
      explain_failure(detail, write_path, *status, errno);
      return nullptr;
    }
    port->writing_ = true;
  }
  return port;
}

void PcapPort::pace(uint64_t origin_ns) {
  paced_ = true;
  origin_ns_ = origin_ns;
}

bool PcapPort::peek() {
  if (pending_ != nullptr) return true;
  if (!reading_) return false;
  const bool have = reader_.next(&pending_, &pending_length_, &pending_time_ns_);
  if (!have) pending_ = nullptr;
  rx_errors = reader_.errors();
  return have;
}

uint64_t PcapPort::next_time_ns() { return peek() ? pending_time_ns_ : ~uint64_t{0}; }

bool PcapPort::done() { return !peek(); }

uint32_t PcapPort::rx_burst(PacketPool& pool, Packet** out, uint32_t max) {
  uint32_t taken = 0;
  for (uint32_t seen = 0; seen < max && peek(); ++seen) {
    // A frame from before the origin is due at once.
    if (paced_ && pending_time_ns_ > origin_ns_ && pending_time_ns_ - origin_ns_ > now_ns_) break;
    Packet* packet = pending_length_ <= pool.buffer_bytes() ? pool.allocate() : nullptr;
    if (packet != nullptr) {
      std::memcpy(packet->data(), pending_, pending_length_);
      packet->append(pending_length_);
      out[taken++] = packet;
    } else {
      ++rx_discards;
    }
    pending_ = nullptr;
  }
  return taken;
}

uint32_t PcapPort::tx_burst(Packet* const* packets, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const Packet& packet = *packets[i];
    if (!fits(packet) || (writing_ && !writer_.write(packet.data(), packet.length, now_ns_))) {
      ++tx_errors;
      return i;
    }
  }
  return count;
}

Status PcapPort::close_output() { return writer_.close(); }

}  // namespace vrouter
