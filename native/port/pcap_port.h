// PcapPort: receives the frames of one capture file and writes what it sends to another. Either may
// be absent. Makes `replay` deterministic: no clock is read; what is sent is stamped with the time
// of the breath (set_now).
#pragma once
#include <memory>
#include <string>

#include "base/status.h"
#include "port/pcap_file.h"
#include "port/port.h"

namespace vrouter {

class PcapPort : public Port {
 public:
  // Empty path: no input, or what is sent is counted and gone. status may not be null; detail, if
  // given, gets a sentence for people.
  // NotFound or BadFile ("read_path", "write_path", or the file's field at fault), Conflict if both
  // name the same file.
  static std::unique_ptr<PcapPort> open(const std::string& read_path, const std::string& write_path,
                                        Status* status, std::string* detail = nullptr);

  // Without pace(), all frames are due at once. With it, a frame is due when `now` has reached its
  // own time less origin_ns: several inputs then interleave as they did when captured.
  void pace(uint64_t origin_ns);
  // Time of the next frame in the input, by the capture's clock; ~0: none left.
  uint64_t next_time_ns();
  bool done();  // the input is at its end
  // Writes out what is buffered and ends the output; later frames are tx_errors. BadFile if a byte
  // did not reach the file.
  Status close_output();

  uint32_t rx_burst(PacketPool& pool, Packet** out, uint32_t max) override;
  uint32_t tx_burst(Packet* const* packets, uint32_t count) override;
  const char* kind() const override { return "pcap"; }
  uint32_t mtu() const override { return 65535; }
  void set_now(uint64_t now_ns) override { now_ns_ = now_ns; }

 private:
  PcapPort() = default;
  bool peek();  // fills the pending frame; false: none left

  PcapReader reader_;
  PcapWriter writer_;
  bool reading_ = false;
  bool writing_ = false;  // an output was asked for
  bool paced_ = false;
  uint64_t origin_ns_ = 0;
  uint64_t now_ns_ = 0;
  const uint8_t* pending_ = nullptr;
  uint32_t pending_length_ = 0;
  uint64_t pending_time_ns_ = 0;
};

}  // namespace vrouter
