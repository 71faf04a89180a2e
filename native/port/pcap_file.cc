#include "port/pcap_file.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/bytes.h"

namespace vrouter {

namespace {

constexpr uint32_t kMicroseconds = 0xa1b2c3d4;
constexpr uint32_t kNanoseconds = 0xa1b23c4d;
constexpr uint32_t kSectionHeader = 0x0a0d0d0a;  // the same in both byte orders
constexpr uint32_t kByteOrder = 0x1a2b3c4d;
constexpr uint32_t kInterfaceBlock = 1;
constexpr uint32_t kPacketBlock = 2;  // obsolete
constexpr uint32_t kSimplePacketBlock = 3;
constexpr uint32_t kEnhancedPacketBlock = 6;
constexpr uint16_t kTimestampResolution = 9;  // if_tsresol
constexpr uint32_t kEthernet = 1;             // LINKTYPE_ETHERNET
constexpr uint64_t kSecond = 1'000'000'000;
constexpr size_t kFileBuffer = 1 << 18;

uint32_t padded(uint32_t length) { return (length + 3) & ~3u; }

// ticks of 1 / per_second to nanoseconds; wraps past the year 2554, as the type does.
uint64_t to_ns(uint64_t ticks, uint64_t per_second) {
  const uint64_t seconds = ticks / per_second;
  const uint64_t rest = ticks % per_second;
  return seconds * kSecond +
         static_cast<uint64_t>(static_cast<unsigned __int128>(rest) * kSecond / per_second);
}

}  // namespace

PcapReader::~PcapReader() {
  if (file_ != nullptr) std::fclose(file_);
}

uint32_t PcapReader::u32(const uint8_t* p) const {
  return big_endian_ ? load_be32(p) : load_le32(p);
}
uint16_t PcapReader::u16(const uint8_t* p) const {
  return big_endian_ ? load_be16(p) : load_le16(p);
}

bool PcapReader::read(void* to, uint32_t bytes) { return std::fread(to, 1, bytes, file_) == bytes; }

// Reads rather than seeks: past the end is then noticed here.
bool PcapReader::skip(uint64_t bytes) {
  uint8_t sink[4096];
  while (bytes != 0) {
    const uint32_t part = static_cast<uint32_t>(std::min<uint64_t>(bytes, sizeof sink));
    if (!read(sink, part)) return false;
    bytes -= part;
  }
  return true;
}

bool PcapReader::lost() {
  ++errors_;
  done_ = true;
  return false;
}

Status PcapReader::open(const std::string& path) {
  file_ = std::fopen(path.c_str(), "rb");
  if (file_ == nullptr) return Status::fail(StatusCode::NotFound, "read_path");
  std::setvbuf(file_, nullptr, _IOFBF, kFileBuffer);
  frame_.reset(new (std::nothrow) uint8_t[kMaxFrame]);
  if (!frame_) return Status::fail(StatusCode::NoMemory, "read_path");
  uint8_t magic[4];
  if (!read(magic, sizeof magic)) return Status::fail(StatusCode::BadFile, "magic");
  if (load_be32(magic) != kSectionHeader) return open_classic(magic);
  next_generation_ = true;
  if (!read_section_header()) return Status::fail(StatusCode::BadFile, "section_header");
  return Status::done();
}

Status PcapReader::open_classic(const uint8_t* magic) {
  const uint32_t big = load_be32(magic);
  const uint32_t little = load_le32(magic);
  big_endian_ = big == kMicroseconds || big == kNanoseconds;
  const uint32_t value = big_endian_ ? big : little;
  if (value != kMicroseconds && value != kNanoseconds) {
    return Status::fail(StatusCode::BadFile, "magic");
  }
  nanoseconds_ = value == kNanoseconds;
  uint8_t header[20];  // version 2+2, zone 4, accuracy 4, snapshot length 4, link type 4
  if (!read(header, sizeof header)) return Status::fail(StatusCode::BadFile, "header");
  if (u16(header) != 2) return Status::fail(StatusCode::BadFile, "version");
  snaplen_ = u32(header + 12);
  // The bits above the link type say that frames carry a frame check sequence: we would forward it.
  if (u32(header + 16) != kEthernet) return Status::fail(StatusCode::BadFile, "link_type");
  return Status::done();
}

bool PcapReader::next(const uint8_t** frame, uint32_t* length, uint64_t* time_ns) {
  if (file_ == nullptr || done_) return false;
  if (!(next_generation_ ? next_block(length, time_ns) : next_classic(length, time_ns)))
    return false;
  *frame = frame_.get();
  return true;
}

bool PcapReader::next_classic(uint32_t* length, uint64_t* time_ns) {
  for (;;) {
    uint8_t header[16];  // seconds, fraction, captured length, length on the wire
    const size_t have = std::fread(header, 1, sizeof header, file_);
    if (have != sizeof header) {
      if (have != 0 || std::ferror(file_) != 0) return lost();
      done_ = true;
      return false;
    }
    const uint32_t captured = u32(header + 8);
    const uint32_t wire = u32(header + 12);
    // Longer than any capture: the framing is gone, what follows is not a record.
    if (captured > kMaxFrame) return lost();
    if (!read(frame_.get(), captured)) return lost();
    if (captured == 0 || captured != wire || (snaplen_ != 0 && captured > snaplen_)) {
      ++errors_;  // cut by the capture, or a record that contradicts itself
      continue;
    }
    *length = captured;
    *time_ns = u32(header) * kSecond + u32(header + 4) * (nanoseconds_ ? 1ull : 1000ull);
    return true;
  }
}

// ------------------------------------------------------------------------------------------ pcapng

// Behind the block type: total length, byte order, version, section length, options, total length.
bool PcapReader::read_section_header() {
  uint8_t header[20];
  if (!read(header, sizeof header)) return false;
  if (load_be32(header + 4) == kByteOrder) {
    big_endian_ = true;
  } else if (load_le32(header + 4) == kByteOrder) {
    big_endian_ = false;
  } else {
    return false;
  }
  const uint32_t total = u32(header);
  if (total < 28 || total % 4 != 0 || total > kMaxBlock || u16(header + 8) != 1) return false;
  interfaces_.clear();
  uint8_t trailer[4];
  return skip(total - 28) && read(trailer, sizeof trailer) && u32(trailer) == total;
}

bool PcapReader::next_block(uint32_t* length, uint64_t* time_ns) {
  for (;;) {
    uint8_t header[8];
    const size_t have = std::fread(header, 1, 4, file_);
    if (have != 4) {
      if (have != 0 || std::ferror(file_) != 0) return lost();
      done_ = true;
      return false;
    }
    if (load_be32(header) == kSectionHeader) {
      if (!read_section_header()) return lost();
      continue;
    }
    if (!read(header + 4, 4)) return lost();
    const uint32_t total = u32(header + 4);
    if (total < 12 || total % 4 != 0 || total > kMaxBlock) return lost();
    const uint32_t body = total - 12;
    bool have_frame = false;
    bool sound = true;
    switch (u32(header)) {
      case kInterfaceBlock:
        sound = read_interface(body);
        break;
      case kEnhancedPacketBlock:
        sound = read_packet(body, length, time_ns, &have_frame);
        break;
      case kSimplePacketBlock:
        sound = read_simple_packet(body, length, time_ns, &have_frame);
        break;
      case kPacketBlock:
        ++errors_;  // a frame we do not read must not pass unnoticed
        sound = skip(body);
        break;
      default:
        sound = skip(body);
    }
    uint8_t trailer[4];
    if (!sound || !read(trailer, sizeof trailer) || u32(trailer) != total) return lost();
    if (have_frame) return true;
  }
}

bool PcapReader::read_interface(uint32_t body) {
  uint8_t header[8];  // link type 2, reserved 2, snapshot length 4, options
  if (body < sizeof header || interfaces_.size() == kMaxInterfaces) return false;
  if (!read(header, sizeof header)) return false;
  body -= sizeof header;
  Interface interface;
  interface.ethernet = u16(header) == kEthernet;
  interface.snaplen = u32(header + 4);
  while (body >= 4) {
    uint8_t option[4];
    if (!read(option, sizeof option)) return false;
    body -= 4;
    const uint16_t code = u16(option);
    const uint32_t size = padded(u16(option + 2));
    if (size > body) return false;
    if (code == kTimestampResolution && size == 4) {
      uint8_t value[4];
      if (!read(value, sizeof value)) return false;
      // Top bit: a power of 2, else of 10. Finer than 2^-63 or 10^-19 does not fit; coarsest is 1
      // s.
      const uint32_t power = value[0] & 0x7f;
      if (power > ((value[0] & 0x80) != 0 ? 63u : 19u)) return false;
      interface.ticks_per_second = 1;
      for (uint32_t i = 0; i < power; ++i) {
        interface.ticks_per_second *= (value[0] & 0x80) != 0 ? 2 : 10;
      }
    } else if (!skip(size)) {
      return false;
    }
    body -= size;
    if (code == 0) break;
  }
  interfaces_.push_back(interface);
  return skip(body);
}

bool PcapReader::read_packet(uint32_t body, uint32_t* length, uint64_t* time_ns, bool* have) {
  uint8_t header[20];  // interface, time high, time low, captured length, length on the wire
  if (body < sizeof header || !read(header, sizeof header)) return false;
  body -= sizeof header;
  const uint32_t id = u32(header);
  const uint32_t captured = u32(header + 12);
  const uint32_t wire = u32(header + 16);
  if (captured > body || padded(captured) > body) return false;
  if (id >= interfaces_.size() || !interfaces_[id].ethernet || captured == 0 || captured != wire ||
      captured > kMaxFrame) {
    ++errors_;
    return skip(body);
  }
  if (!read(frame_.get(), captured)) return false;
  const uint64_t ticks = uint64_t{u32(header + 4)} << 32 | u32(header + 8);
  *length = captured;
  *time_ns = to_ns(ticks, interfaces_[id].ticks_per_second);
  *have = true;
  return skip(body - captured);
}

// No time and no interface: the first one's, and time 0.
bool PcapReader::read_simple_packet(uint32_t body, uint32_t* length, uint64_t* time_ns,
                                    bool* have) {
  uint8_t header[4];
  if (body < sizeof header || !read(header, sizeof header)) return false;
  body -= sizeof header;
  const uint32_t wire = u32(header);
  if (interfaces_.empty() || !interfaces_[0].ethernet || wire == 0 || wire > kMaxFrame ||
      (interfaces_[0].snaplen != 0 && wire > interfaces_[0].snaplen) || wire > body) {
    ++errors_;
    return skip(body);
  }
  if (!read(frame_.get(), wire)) return false;
  *length = wire;
  *time_ns = 0;
  *have = true;
  return skip(body - wire);
}

// ------------------------------------------------------------------------------------------ writer

PcapWriter::~PcapWriter() { close(); }

Status PcapWriter::open(const std::string& path) {
  file_ = std::fopen(path.c_str(), "wb");
  if (file_ == nullptr) return Status::fail(StatusCode::BadFile, "write_path");
  std::setvbuf(file_, nullptr, _IOFBF, kFileBuffer);
  uint8_t header[24] = {};
  store_le32(header, kNanoseconds);
  store_le16(header + 4, 2);
  store_le16(header + 6, 4);
  store_le32(header + 16, PcapReader::kMaxFrame);
  store_le32(header + 20, kEthernet);
  failed_ = std::fwrite(header, 1, sizeof header, file_) != sizeof header;
  return failed_ ? Status::fail(StatusCode::BadFile, "write_path") : Status::done();
}

bool PcapWriter::write(const uint8_t* frame, uint32_t length, uint64_t time_ns) {
  if (file_ == nullptr || failed_) return false;
  uint8_t header[16];
  store_le32(header, static_cast<uint32_t>(time_ns / kSecond));
  store_le32(header + 4, static_cast<uint32_t>(time_ns % kSecond));
  store_le32(header + 8, length);
  store_le32(header + 12, length);
  // A record cut in the middle would make all that follows unreadable: the first failure is final.
  failed_ = std::fwrite(header, 1, sizeof header, file_) != sizeof header ||
            std::fwrite(frame, 1, length, file_) != length;
  return !failed_;
}

Status PcapWriter::close() {
  if (file_ == nullptr) return Status::done();
  failed_ |= std::fclose(file_) != 0;
  file_ = nullptr;
  return failed_ ? Status::fail(StatusCode::BadFile, "write_path") : Status::done();
}

}  // namespace vrouter
