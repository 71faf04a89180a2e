// Capture files byte by byte: what is written here was laid out by hand from the format's drafts,
// not by PcapWriter.
#include "port/pcap_port.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <random>

#include "base/bytes.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

struct Frame {
  Bytes bytes;
  uint64_t time_ns;
  bool operator==(const Frame&) const = default;
};

// Writes integers in the byte order of a file.
class File {
 public:
  explicit File(bool big) : big_(big) {}
  File& u16(uint16_t v) {
    uint8_t b[2];
    big_ ? store_be16(b, v) : store_le16(b, v);
    return raw(b, 2);
  }
  File& u32(uint32_t v) {
    uint8_t b[4];
    big_ ? store_be32(b, v) : store_le32(b, v);
    return raw(b, 4);
  }
  File& raw(const uint8_t* p, size_t n) {
    bytes.insert(bytes.end(), p, p + n);
    return *this;
  }
  File& raw(const Bytes& b) { return raw(b.data(), b.size()); }
  File& zero(size_t n) {
    bytes.insert(bytes.end(), n, 0);
    return *this;
  }
  // classic
  File& header(uint32_t magic, uint32_t snaplen = 65535, uint32_t link = 1, uint16_t version = 2) {
    return u32(magic).u16(version).u16(4).u32(0).u32(0).u32(snaplen).u32(link);
  }
  File& record(uint32_t seconds, uint32_t fraction, const Bytes& frame, uint32_t wire = 0) {
    const uint32_t captured = static_cast<uint32_t>(frame.size());
    return u32(seconds).u32(fraction).u32(captured).u32(wire == 0 ? captured : wire).raw(frame);
  }
  // pcapng
  File& block(uint32_t type, const Bytes& body) {
    const uint32_t padding = (4 - body.size() % 4) % 4;
    const uint32_t total = 12 + static_cast<uint32_t>(body.size()) + padding;
    return u32(type).u32(total).raw(body).zero(padding).u32(total);
  }
  File& section() {
    File body(big_);
    body.u32(0x1a2b3c4d).u16(1).u16(0).u32(~0u).u32(~0u);
    return block(0x0a0d0d0a, body.bytes);
  }
  File& interface(uint16_t link = 1, int resolution = -1, uint32_t snaplen = 0) {
    File body(big_);
    body.u16(link).u16(0).u32(snaplen);
    if (resolution >= 0) {
      const uint8_t value[4] = {static_cast<uint8_t>(resolution), 0, 0, 0};
      body.u16(9).u16(1).raw(value, 4).u16(0).u16(0);
    }
    return block(1, body.bytes);
  }
  File& enhanced(uint32_t id, uint64_t ticks, const Bytes& frame, uint32_t wire = 0) {
    File body(big_);
    const uint32_t captured = static_cast<uint32_t>(frame.size());
    body.u32(id).u32(static_cast<uint32_t>(ticks >> 32)).u32(static_cast<uint32_t>(ticks));
    body.u32(captured).u32(wire == 0 ? captured : wire).raw(frame);
    return block(6, body.bytes);
  }

  Bytes bytes;

 private:
  bool big_;
};

class PcapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = ::testing::TempDir() + "pcap_test_XXXXXX";
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override {
    for (const char* name : {"in", "out"}) unlink(path(name).c_str());
    rmdir(directory_.c_str());
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string write(const Bytes& content) const {
    std::FILE* f = std::fopen(path("in").c_str(), "wb");
    if (!content.empty()) std::fwrite(content.data(), 1, content.size(), f);
    std::fclose(f);
    return path("in");
  }
  static Bytes slurp(const std::string& name) {
    Bytes all;
    std::FILE* f = std::fopen(name.c_str(), "rb");
    if (f == nullptr) return all;
    for (int c; (c = std::fgetc(f)) != EOF;) all.push_back(static_cast<uint8_t>(c));
    std::fclose(f);
    return all;
  }
  struct Read {
    Status status;
    std::vector<Frame> frames;
    uint64_t errors = 0;
  };
  Read read(const Bytes& content) const {
    Read r;
    PcapReader reader;
    r.status = reader.open(write(content));
    if (!r.status.ok()) return r;
    const uint8_t* frame;
    uint32_t length;
    uint64_t time_ns;
    while (reader.next(&frame, &length, &time_ns))
      r.frames.push_back({Bytes(frame, frame + length), time_ns});
    EXPECT_TRUE(reader.done());
    EXPECT_FALSE(reader.next(&frame, &length, &time_ns)) << "the end stays the end";
    r.errors = reader.errors();
    return r;
  }
  std::string directory_;
};

const Bytes kFrame1(60, 0x11);
const Bytes kFrame2(61, 0x22);
const Bytes kFrame3(63, 0x33);

TEST_F(PcapTest, ReadsAllFourClassicForms) {
  for (const bool big : {false, true}) {
    for (const bool nano : {false, true}) {
      File f(big);
      f.header(nano ? 0xa1b23c4d : 0xa1b2c3d4).record(1, 7, kFrame1).record(2, 999, kFrame2);
      const Read r = read(f.bytes);
      ASSERT_TRUE(r.status.ok());
      const uint64_t unit = nano ? 1 : 1000;
      EXPECT_EQ(r.frames, (std::vector<Frame>{{kFrame1, 1'000'000'000 + 7 * unit},
                                              {kFrame2, 2'000'000'000 + 999 * unit}}));
      EXPECT_EQ(r.errors, 0u);
    }
  }
}

TEST_F(PcapTest, RefusesWhatIsNoEthernetCapture) {
  const auto field = [&](const Bytes& b) {
    const Read r = read(b);
    EXPECT_EQ(r.status.code, StatusCode::BadFile);
    return std::string(r.status.field);
  };
  EXPECT_EQ(field({}), "magic");
  EXPECT_EQ(field({1, 2, 3}), "magic");
  EXPECT_EQ(field(Bytes(24, 0x55)), "magic");
  Bytes cut = File(false).header(0xa1b2c3d4).bytes;
  cut.resize(23);
  EXPECT_EQ(field(cut), "header");
  EXPECT_EQ(field(File(false).header(0xa1b2c3d4, 65535, 101).bytes), "link_type");
  EXPECT_EQ(field(File(true).header(0xa1b2c3d4, 65535, 0x14000001).bytes), "link_type");
  EXPECT_EQ(field(File(false).header(0xa1b2c3d4, 65535, 1, 3).bytes), "version");
  PcapReader reader;
  EXPECT_EQ(reader.open(path("absent")).code, StatusCode::NotFound);
}

TEST_F(PcapTest, CutFramesAreErrorsAndTheRestIsRead) {
  File f(false);
  f.header(0xa1b2c3d4, 64).record(0, 0, kFrame1);
  f.record(0, 1, kFrame2, 1500);  // the capture kept 61 of 1500 bytes
  f.record(0, 2, Bytes(65, 4));   // more than the file's own limit
  f.record(0, 3, Bytes{});        // nothing at all
  f.record(0, 4, kFrame1, 59);    // more captured than there was
  f.record(0, 5, kFrame3);
  const Read r = read(f.bytes);
  EXPECT_EQ(r.frames, (std::vector<Frame>{{kFrame1, 0}, {kFrame3, 5000}}));
  EXPECT_EQ(r.errors, 4u);
}

TEST_F(PcapTest, AFileThatEndsInsideARecordIsOneError) {
  File f(false);
  f.header(0xa1b2c3d4).record(0, 0, kFrame1);
  const size_t whole = f.bytes.size();
  f.record(0, 1, kFrame2);
  for (size_t size = whole; size <= f.bytes.size(); ++size) {
    const Read r = read(Bytes(f.bytes.begin(), f.bytes.begin() + static_cast<ptrdiff_t>(size)));
    const bool last_whole = size == f.bytes.size();
    EXPECT_EQ(r.frames.size(), last_whole ? 2u : 1u) << size;
    EXPECT_EQ(r.errors, size == whole || last_whole ? 0u : 1u) << size;
  }
}

TEST_F(PcapTest, AnImpossibleLengthEndsTheReading) {
  File f(false);
  f.header(0xa1b2c3d4).record(0, 0, kFrame1).u32(0).u32(0).u32(0x7fffffff).u32(0x7fffffff);
  f.raw(kFrame2).record(0, 1, kFrame3);
  const Read r = read(f.bytes);
  EXPECT_EQ(r.frames.size(), 1u);
  EXPECT_EQ(r.errors, 1u);
}

TEST_F(PcapTest, ReadsPcapng) {
  for (const bool big : {false, true}) {
    File f(big);
    f.section().interface().interface(1, 9).interface(1, 0x80 | 20).interface(113);
    f.block(5, Bytes(17, 9));           // statistics: skipped
    f.enhanced(0, 1'500'000, kFrame1);  // microseconds unless said otherwise
    f.enhanced(1, 1'500'000'001, kFrame2);
    f.enhanced(2, (1u << 20) + (1u << 19), kFrame3);  // 2^-20 s
    f.enhanced(3, 0, kFrame1);                        // not Ethernet
    f.enhanced(9, 0, kFrame1);                        // no such interface
    f.enhanced(0, 0, kFrame1, 1500);                  // cut
    f.block(2, Bytes(60, 1));                         // obsolete packet block
    File simple(big);
    f.block(3, simple.u32(61).raw(kFrame2).bytes);
    const Read r = read(f.bytes);
    ASSERT_TRUE(r.status.ok());
    EXPECT_EQ(r.frames, (std::vector<Frame>{{kFrame1, 1'500'000'000},
                                            {kFrame2, 1'500'000'001},
                                            {kFrame3, 1'500'000'000},
                                            {kFrame2, 0}}));
    EXPECT_EQ(r.errors, 4u);
  }
}

TEST_F(PcapTest, ANewSectionForgetsTheInterfacesAndMayTurnTheByteOrder) {
  File f(false);
  f.section().interface().enhanced(0, 1, kFrame1);
  File g(true);
  g.section().enhanced(0, 2, kFrame2).interface().enhanced(0, 3, kFrame3);
  f.raw(g.bytes);
  const Read r = read(f.bytes);
  EXPECT_EQ(r.frames, (std::vector<Frame>{{kFrame1, 1000}, {kFrame3, 3000}}));
  EXPECT_EQ(r.errors, 1u);
}

TEST_F(PcapTest, PcapngWithBrokenFramingEndsTheReading) {
  const auto broken = [&](const std::function<void(File&)>& damage) {
    File f(false);
    f.section().interface().enhanced(0, 1, kFrame1);
    damage(f);
    f.enhanced(0, 2, kFrame2);
    const Read r = read(f.bytes);
    EXPECT_EQ(r.frames.size(), 1u);
    EXPECT_EQ(r.errors, 1u);
  };
  broken([](File& f) { f.u32(6).u32(11); });                 // shorter than a block can be
  broken([](File& f) { f.u32(6).u32(33); });                 // not a multiple of 4
  broken([](File& f) { f.u32(4).u32(0xfffffff0); });         // longer than any block
  broken([](File& f) { f.u32(4).u32(16).u32(0).u32(20); });  // trailer disagrees
  broken([](File& f) { f.u32(6).u32(16).u32(0).u32(16); });  // too short for its type
  broken([](File& f) {                                       // captured more than the block has
    f.u32(6).u32(36).u32(0).u32(0).u32(0).u32(100).u32(100).u32(0).u32(36);
  });
  broken([](File& f) { f.interface(1, 20); });  // 10^-20 s does not fit
  broken([](File& f) { f.u32(0x0a0d0d0a).u32(28).u32(0x12345678).zero(12).u32(28); });
}

// Whatever is in the file: no report from the sanitizers, and reading comes to an end.
TEST_F(PcapTest, AnyBytesAreReadWithoutHarm) {
  File classic(true);
  classic.header(0xa1b23c4d).record(1, 2, kFrame1).record(3, 4, kFrame2).record(5, 6, kFrame3);
  File ng(false);
  ng.section().interface(1, 9).enhanced(0, 1, kFrame1).interface().enhanced(1, 2, kFrame2);
  ng.block(5, Bytes(40, 3)).enhanced(0, 3, kFrame3);
  std::mt19937 random(11);
  for (int i = 0; i < 3000; ++i) {
    Bytes b = i % 2 == 0 ? classic.bytes : ng.bytes;
    for (uint32_t k = 0; k < 1 + random() % 4; ++k) {
      b[random() % b.size()] = random() % 3 == 0 ? 0xff : static_cast<uint8_t>(random());
    }
    if (random() % 4 == 0) b.resize(random() % b.size());
    read(b);
  }
}

TEST_F(PcapTest, WritesNanosecondsLittleEndianByteForByte) {
  PcapWriter writer;
  ASSERT_TRUE(writer.open(path("out")).ok());
  EXPECT_TRUE(writer.write(kFrame1.data(), 60, 3'000'000'007));
  EXPECT_TRUE(writer.write(kFrame2.data(), 61, 0));
  ASSERT_TRUE(writer.close().ok());
  File wanted(false);
  wanted.header(0xa1b23c4d, 262144).record(3, 7, kFrame1).record(0, 0, kFrame2);
  EXPECT_EQ(slurp(path("out")), wanted.bytes);
  EXPECT_FALSE(writer.write(kFrame1.data(), 60, 0)) << "closed";
}

TEST_F(PcapTest, ADiskThatIsFullIsReported) {
  PcapWriter writer;
  if (!writer.open("/dev/full").ok()) return;
  const Bytes big(100000, 1);
  for (int i = 0; i < 10; ++i) writer.write(big.data(), 100000, 0);
  EXPECT_EQ(writer.close().code, StatusCode::BadFile);
}

TEST_F(PcapTest, PortOpensWhatItIsGivenAndNamesWhatItRefuses) {
  Status status;
  std::string detail;
  EXPECT_NE(PcapPort::open("", "", &status), nullptr);
  EXPECT_EQ(PcapPort::open(path("absent"), "", &status, &detail), nullptr);
  EXPECT_EQ(status.code, StatusCode::NotFound);
  EXPECT_NE(detail.find(path("absent")), std::string::npos);
  EXPECT_NE(detail.find("No such file"), std::string::npos);
  write(File(false).header(0xa1b2c3d4).bytes);
  EXPECT_EQ(PcapPort::open(path("in"), path("in"), &status, &detail), nullptr);
  EXPECT_EQ(status.code, StatusCode::Conflict);
  EXPECT_EQ(slurp(path("in")).size(), 24u) << "the input is still there";
  EXPECT_EQ(PcapPort::open(directory_, "", &status), nullptr);
  EXPECT_EQ(status.code, StatusCode::BadFile);
  EXPECT_EQ(PcapPort::open("", path("no/such/directory"), &status, &detail), nullptr);
  EXPECT_STREQ(status.field, "write_path");
  write(Bytes(24, 0x55));
  EXPECT_EQ(PcapPort::open(path("in"), "", &status), nullptr);
  EXPECT_STREQ(status.field, "magic");
}

TEST_F(PcapTest, PortStampsWhatItSendsWithTheBreathsTime) {
  Status status;
  auto port = PcapPort::open("", path("out"), &status);
  ASSERT_NE(port, nullptr);
  PacketPool pool(2, 2048);
  Packet* packet = pool.allocate();
  packet->append(60);
  std::memset(packet->data(), 0x11, 60);
  port->set_now(5);
  EXPECT_EQ(port->tx_burst(&packet, 1), 1u);
  port->set_now(2'000'000'000);
  EXPECT_EQ(port->tx_burst(&packet, 1), 1u);
  EXPECT_TRUE(port->close_output().ok());
  File wanted(false);
  wanted.header(0xa1b23c4d, 262144).record(0, 5, kFrame1).record(2, 0, kFrame1);
  EXPECT_EQ(slurp(path("out")), wanted.bytes);
  EXPECT_EQ(port->tx_burst(&packet, 1), 0u) << "the output is closed";
  EXPECT_EQ(port->tx_errors, 1u);
  pool.free(packet);
}

TEST_F(PcapTest, PacedPortHandsOverWhatIsDue) {
  File f(false);
  f.header(0xa1b23c4d).record(10, 0, kFrame1).record(10, 500, kFrame2).record(11, 0, kFrame3);
  Status status;
  auto port = PcapPort::open(write(f.bytes), "", &status);
  ASSERT_NE(port, nullptr);
  port->pace(10'000'000'000);
  PacketPool pool(8, 2048);
  Packet* out[8];
  const auto due = [&](uint64_t now_ns) {
    port->set_now(now_ns);
    const uint32_t got = port->rx_burst(pool, out, 8);
    for (uint32_t i = 0; i < got; ++i) pool.free(out[i]);
    return got;
  };
  EXPECT_EQ(port->next_time_ns(), 10'000'000'000u);
  EXPECT_EQ(due(0), 1u);
  EXPECT_EQ(due(499), 0u);
  EXPECT_EQ(due(500), 1u);
  EXPECT_EQ(port->next_time_ns(), 11'000'000'000u);
  EXPECT_FALSE(port->done());
  EXPECT_EQ(due(2'000'000'000), 1u);
  EXPECT_TRUE(port->done());
  EXPECT_EQ(port->next_time_ns(), ~uint64_t{0});
}

TEST_F(PcapTest, PortCountsBrokenRecords) {
  File f(false);
  f.header(0xa1b2c3d4).record(0, 0, kFrame1, 100).record(0, 0, kFrame2);
  Status status;
  auto port = PcapPort::open(write(f.bytes), "", &status);
  ASSERT_NE(port, nullptr);
  PacketPool pool(8, 2048);
  Packet* out[8];
  EXPECT_EQ(port->rx_burst(pool, out, 8), 1u);
  EXPECT_EQ(port->rx_errors, 1u);
  pool.free(out[0]);
}

}  // namespace
}  // namespace vrouter
