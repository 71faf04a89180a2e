// Capture files: PcapReader takes Ethernet frames from classic pcap (microseconds or nanoseconds,
// either byte order) and pcapng; PcapWriter makes classic pcap with nanoseconds, little-endian.
// Control-side code but for next() and write(), which only touch a regular file and a buffer.
//
// Invariants
//  * The file is hostile: every length is checked against what is left and against kMaxFrame before
//    it is used, and no length in the file makes memory grow.
//  * A frame the capture cut short is an error, never handed over as if it were whole.
//  * Once a file's framing is lost (a length that cannot be), reading ends: done() and one error.
// Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace vrouter {

class PcapReader {
 public:
  static constexpr uint32_t kMaxFrame = 262144;     // libpcap's largest snapshot length
  static constexpr uint32_t kMaxInterfaces = 1024;  // of one pcapng section
  static constexpr uint32_t kMaxBlock = 16u << 20;  // pcapng block that is skipped over

  PcapReader() = default;
  ~PcapReader();
  PcapReader(const PcapReader&) = delete;
  PcapReader& operator=(const PcapReader&) = delete;

  // NotFound: cannot be read; BadFile: not a capture of Ethernet. The field names what is wrong.
  Status open(const std::string& path);
  // The next whole frame; valid until the next call. false: none left.
  bool next(const uint8_t** frame, uint32_t* length, uint64_t* time_ns);
  bool done() const { return done_; }
  uint64_t errors() const { return errors_; }  // cut, empty or impossible records
  std::FILE* file() const { return file_; }

 private:
  struct Interface {
    bool ethernet = false;
    uint32_t snaplen = 0;  // 0: no limit
    uint64_t ticks_per_second = 1'000'000;
  };

  Status open_classic(const uint8_t* magic);
  bool read(void* to, uint32_t bytes);
  bool skip(uint64_t bytes);
  bool lost();  // framing is gone: one error, the end
  bool next_classic(uint32_t* length, uint64_t* time_ns);
  bool next_block(uint32_t* length, uint64_t* time_ns);
  bool read_section_header();
  bool read_interface(uint32_t body);
  bool read_packet(uint32_t body, uint32_t* length, uint64_t* time_ns, bool* have);
  bool read_simple_packet(uint32_t body, uint32_t* length, uint64_t* time_ns, bool* have);
  uint32_t u32(const uint8_t* p) const;
  uint16_t u16(const uint8_t* p) const;

  std::FILE* file_ = nullptr;
  std::unique_ptr<uint8_t[]> frame_;
  std::vector<Interface> interfaces_;
  bool next_generation_ = false;  // pcapng
  bool big_endian_ = false;
  bool nanoseconds_ = false;
  bool done_ = false;
  uint32_t snaplen_ = 0;
  uint64_t errors_ = 0;
};

class PcapWriter {
 public:
  PcapWriter() = default;
  ~PcapWriter();
  PcapWriter(const PcapWriter&) = delete;
  PcapWriter& operator=(const PcapWriter&) = delete;

  Status open(const std::string& path);  // creates or truncates
  bool write(const uint8_t* frame, uint32_t length, uint64_t time_ns);
  Status close();  // BadFile if any byte did not reach the file
  bool is_open() const { return file_ != nullptr; }

 private:
  std::FILE* file_ = nullptr;
  bool failed_ = false;
};

}  // namespace vrouter
