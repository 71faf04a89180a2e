// Captures through the engine: what they see, what they lose, when they end.
#include "worker/capture.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/bytes.h"
#include "base/checksum.h"
#include "port/memory_port.h"
#include "worker/engine.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

struct Caught {
  CaptureRecord record;
  Bytes frame;
  std::string text;
};

std::vector<Caught> read_all(CaptureRing& ring, uint64_t max = ~0ull) {
  Bytes bytes;
  ring.read(bytes, max);
  std::vector<Caught> out;
  for (size_t at = 0; at < bytes.size();) {
    Caught one;
    std::memcpy(&one.record, &bytes[at], sizeof one.record);
    const uint8_t* frame = &bytes[at] + sizeof one.record;
    one.frame.assign(frame, frame + one.record.captured);
    one.text.assign(reinterpret_cast<const char*>(frame) + one.record.captured, one.record.text);
    at += sizeof one.record + one.record.captured + one.record.text;
    out.push_back(one);
  }
  return out;
}

// UDP 10.0.0.1:sport -> 10.0.0.2:7
Bytes udp(uint16_t source_port, uint32_t payload = 18, uint8_t ttl = 64) {
  Bytes f(14 + 20 + 8 + payload);
  std::copy(kGatewayMac.bytes.begin(), kGatewayMac.bytes.end(), f.begin());
  f[6] = 2;
  f[11] = 1;
  store_be16(&f[12], 0x0800);
  f[14] = 0x45;
  store_be16(&f[16], static_cast<uint16_t>(28 + payload));
  f[22] = ttl;
  f[23] = 17;
  store_be32(&f[26], 0x0a000001);
  store_be32(&f[30], 0x0a000002);
  store_be16(&f[24], checksum(&f[14], 20));
  store_be16(&f[34], source_port);
  store_be16(&f[36], 7);
  store_be16(&f[38], static_cast<uint16_t>(8 + payload));
  return f;
}

// Two tenants of VRF 1 with policy, so that packets make flows.
struct Router1 {
  Router1() {
    for (uint32_t i = 0; i < 2; ++i) {
      auto port = std::make_unique<MemoryPort>(1500);
      ports[i] = port.get();
      ids[i] = engine.add_port(std::move(port));
    }
    engine.hold([&] {
      Router& router = engine.router();
      router.exchange(RouterSpec{});
      VrfSpec vrf;
      vrf.vrf = 1;
      vrf.name = "red";
      router.exchange(VrfId{1}, vrf);
      for (uint32_t i = 0; i < 2; ++i) {
        VifSpec vif;
        vif.vif = i + 1;
        vif.name = "tenant";
        vif.type = static_cast<uint8_t>(VifType::Virtual);
        vif.port = ids[i].value;
        vif.mac = kGatewayMac;
        vif.vrf = 1;
        vif.flags = kVifPolicy | kVifL3;
        vif.mtu = 1500;
        vif.next_hop = i + 1;
        vif.ipv4 = Address::from_v4(0x0a000001 + i);
        router.exchange(VifId{i + 1}, vif);
        NextHopObject object;
        object.kind = NextHopKind::Interface;
        object.interface.next_hop = i + 1;
        object.interface.vrf = 1;
        object.interface.vif = i + 1;
        object.interface.flags = kNhPolicy;
        object.interface.destination_mac = Mac{{2, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)}};
        object.interface.source_mac = kGatewayMac;
        router.exchange(NextHopId{i + 1}, object);
        RouteSpec route;
        route.vrf = 1;
        route.prefix = {Address::from_v4(0x0a000001 + i), 32};
        route.next_hop = i + 1;
        route.label = kNoLabel;
        router.exchange(VrfId{1}, route.prefix, route);
      }
      ++router.generation;
    });
  }
  static EngineOptions small() {
    EngineOptions options;
    options.flow_entries = 1024;
    options.buffers = 512;
    return options;
  }
  void send(const Bytes& frame) {
    ASSERT_TRUE(ports[0]->inject(frame.data(), static_cast<uint32_t>(frame.size())));
  }
  void step(uint64_t ms = 1) { engine.step(now += ms * 1'000'000); }
  std::vector<Caught> caught(uint32_t id) { return read_all(engine.capture(id)->ring); }

  Engine engine{small()};
  MemoryPort* ports[2];
  PortId ids[2];
  uint64_t now = 0;
};

CaptureSpec everything() {
  CaptureSpec spec;
  spec.bytes = 1u << 16;
  return spec;
}

// ------------------------------------------------------------------------------------------ ring

TEST(CaptureRing, TakesUntilItIsFullAndGivesBackInOrder) {
  CaptureRing ring(1024);
  uint32_t written = 0;
  uint32_t read = 0;
  for (int round = 0; round < 200; ++round) {
    // Lengths that meet the end of the memory at every distance.
    for (uint32_t n = 4 + (round * 7) % 61;; n = 4 + (n * 5) % 97) {
      uint8_t* at = ring.reserve(n);
      if (at == nullptr) break;
      std::memset(at, static_cast<int>(written), n);
      std::memcpy(at, &written, 4);
      ring.publish();
      ++written;
    }
    Bytes out;
    for (;;) {
      out.clear();
      if (ring.read(out, 1) == 0) break;  // one at a time
      uint32_t number = 0;
      std::memcpy(&number, out.data(), 4);
      ASSERT_EQ(number, read);
      for (size_t i = 4; i < out.size(); ++i) ASSERT_EQ(out[i], static_cast<uint8_t>(read));
      ++read;
    }
    ASSERT_EQ(read, written);
  }
  EXPECT_GT(written, 1000u);
  EXPECT_EQ(ring.reserve(1024), nullptr);
}

TEST(CaptureRing, WriterAndReaderRunBesideEachOther) {
  CaptureRing ring(4096);
  constexpr uint32_t kRecords = 200'000;
  uint32_t lost = 0;
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (uint32_t i = 0; i < kRecords; ++i) {
      const uint32_t n = 8 + (i * 13) % 200;
      uint8_t* at = ring.reserve(n);
      if (at == nullptr) {
        ++lost;
        continue;
      }
      std::memset(at, static_cast<int>(i), n);
      std::memcpy(at, &i, 4);
      std::memcpy(at + 4, &n, 4);
      ring.publish();
    }
    done.store(true);
  });
  uint32_t got = 0;
  int64_t last = -1;
  for (bool last_look = false; !last_look;) {
    last_look = done.load();
    Bytes out;
    ring.read(out, ~0ull);
    for (size_t at = 0; at < out.size(); ++got) {
      uint32_t number = 0;
      uint32_t n = 0;
      std::memcpy(&number, &out[at], 4);
      std::memcpy(&n, &out[at + 4], 4);
      ASSERT_GT(int64_t{number}, last);
      last = number;
      ASSERT_LE(at + n, out.size());
      for (size_t i = 8; i < n; ++i) ASSERT_EQ(out[at + i], static_cast<uint8_t>(number));
      at += n;
    }
  }
  writer.join();
  EXPECT_EQ(got + lost, kRecords);
}

// -------------------------------------------------------------------------------------- captures

TEST(Capture, SeesAPacketAsItCameAndAsItLeft) {
  Router1 r;
  ASSERT_TRUE(r.engine.start_capture(7, everything()).ok());
  r.send(udp(1000));
  r.step();
  const std::vector<Caught> caught = r.caught(7);
  ASSERT_EQ(caught.size(), 2u);
  EXPECT_EQ(caught[0].frame, udp(1000));
  EXPECT_EQ(caught[0].record.vif, 1);
  EXPECT_EQ(caught[0].record.way, static_cast<uint8_t>(Way::In));
  EXPECT_EQ(caught[0].record.time_ns, 1'000'000u);
  EXPECT_EQ(caught[1].record.vif, 2);
  EXPECT_EQ(caught[1].record.way, static_cast<uint8_t>(Way::Out));
  EXPECT_EQ(caught[1].frame[22], 63);  // TTL
  Bytes sent;
  ASSERT_TRUE(r.ports[1]->collect(sent));
  EXPECT_EQ(caught[1].frame, sent);
  EXPECT_EQ(caught[1].record.number, 2u);
}

TEST(Capture, OfOneVifOneWayOneFlow) {
  Router1 r;
  CaptureSpec spec = everything();
  spec.vif = VifId{2};
  ASSERT_TRUE(r.engine.start_capture(1, std::move(spec)).ok());
  spec = everything();
  spec.out = false;
  spec.ends.ends[0].port = 1001;
  spec.ends.count = 1;
  ASSERT_TRUE(r.engine.start_capture(2, std::move(spec)).ok());
  r.send(udp(1000));
  r.send(udp(1001));
  r.step();
  const std::vector<Caught> at_two = r.caught(1);
  ASSERT_EQ(at_two.size(), 2u);
  EXPECT_EQ(at_two[0].record.vif, 2);
  const std::vector<Caught> of_flow = r.caught(2);
  ASSERT_EQ(of_flow.size(), 1u);
  EXPECT_EQ(load_be16(&of_flow[0].frame[34]), 1001);
}

TEST(Capture, CutsAtTheSnapLengthAndTakesOneOfSoMany) {
  Router1 r;
  CaptureSpec spec = everything();
  spec.snap = 50;
  spec.sample = 3;
  spec.out = false;
  ASSERT_TRUE(r.engine.start_capture(1, std::move(spec)).ok());
  for (uint16_t i = 0; i < 10; ++i) r.send(udp(2000 + i, 100));
  r.step();
  const std::vector<Caught> caught = r.caught(1);
  ASSERT_EQ(caught.size(), 4u);
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(caught[i].frame.size(), 50u);
    EXPECT_EQ(caught[i].record.length, 142u);
    EXPECT_EQ(load_be16(&caught[i].frame[34]), 2000 + 3 * i);
  }
}

TEST(Capture, CountsWhatItsReaderIsTooSlowFor) {
  Router1 r;
  ASSERT_TRUE(r.engine.start_capture(1, everything()).ok());
  for (int i = 0; i < 40; ++i) {
    r.send(udp(3000, 1400));
    r.step();
  }
  Capture* capture = r.engine.capture(1);
  const std::vector<Caught> caught = r.caught(1);
  EXPECT_EQ(capture->matched.load(), 80u);
  EXPECT_GT(capture->lost.load(), 20u);
  EXPECT_EQ(caught.size() + capture->lost.load(), 80u);
  r.send(udp(3000, 1400));
  r.step();
  ASSERT_EQ(r.caught(1).size(), 2u);  // goes on as soon as there is room
}

TEST(Capture, FinishesTheChecksumOfTheCopyOnly) {
  PacketPool pool(1, 2048);
  Packet* packet = pool.allocate();
  const Bytes frame = udp(1, 18);
  std::memcpy(packet->data(), frame.data(), frame.size());
  packet->append(static_cast<uint32_t>(frame.size()));
  uint8_t* header = packet->data() + 34;
  // The pseudo header's sum, as a kernel leaves it.
  const uint32_t sum = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 26;
  store_be16(header + 6, static_cast<uint16_t>(sum));
  packet->offload.checksum = true;
  packet->offload.field = 6;
  packet->offload.transport = packet->offset + 34;
  for (const bool super : {false, true}) {
    packet->offload.segmentation = super ? Segmentation::Udp : Segmentation::None;
    Capture capture(1, everything(), 0);
    capture.put(*packet, VifId{1}, Way::Out, 5, {});
    const std::vector<Caught> caught = read_all(capture.ring);
    ASSERT_EQ(caught.size(), 1u);
    EXPECT_EQ(caught[0].record.super, super ? 1 : 0);
    Bytes pseudo(caught[0].frame.begin() + 26, caught[0].frame.end());
    pseudo.insert(pseudo.end(), {0, 17, 0, 26});
    EXPECT_EQ(checksum(pseudo.data(), pseudo.size()), 0);
    EXPECT_EQ(load_be16(header + 6), sum);
  }
  pool.free(packet);
}

TEST(Capture, EndsWhenNobodyReads) {
  Router1 r;
  ASSERT_TRUE(r.engine.start_capture(1, everything()).ok());
  r.send(udp(1));
  r.step(9'000);
  EXPECT_FALSE(r.engine.capture(1)->ended.load());
  r.engine.capture(1)->read_at_ns.store(r.now);
  r.step(9'000);
  EXPECT_FALSE(r.engine.capture(1)->ended.load());
  r.step(2'000);
  EXPECT_TRUE(r.engine.capture(1)->ended.load());
  r.send(udp(2));
  r.step();
  EXPECT_EQ(r.caught(1).size(), 2u);  // what was caught before
  // Its place is another's now.
  for (uint32_t id = 2; id < 2 + kMaxCaptures; ++id) {
    EXPECT_TRUE(r.engine.start_capture(id, everything()).ok()) << id;
  }
  EXPECT_EQ(r.engine.capture(1), nullptr);
}

TEST(Capture, HasLimitsAndOwnIds) {
  Router1 r;
  for (uint32_t id = 0; id < kMaxCaptures; ++id) {
    EXPECT_TRUE(r.engine.start_capture(id, everything()).ok());
  }
  EXPECT_EQ(r.engine.start_capture(99, everything()).code, StatusCode::TableFull);
  EXPECT_TRUE(r.engine.stop_capture(0));
  EXPECT_FALSE(r.engine.stop_capture(0));
  EXPECT_EQ(r.engine.start_capture(1, everything()).code, StatusCode::InUse);
  EXPECT_TRUE(r.engine.start_capture(99, everything()).ok());
}

// ----------------------------------------------------------------------------------------- traces

CaptureSpec traces() {
  CaptureSpec spec = everything();
  spec.bytes = 1u << 20;
  spec.trace = true;
  return spec;
}

TEST(Trace, SaysOfEachPacketWhatItWillFind) {
  Router1 r;
  ASSERT_TRUE(r.engine.start_capture(1, traces()).ok());
  // One burst: the first makes the flow that the second meets.
  r.send(udp(1000));
  r.send(udp(1000));
  r.send(udp(1000, 18, 1));
  r.step();
  const std::vector<Caught> caught = r.caught(1);
  ASSERT_EQ(caught.size(), 3u);
  EXPECT_NE(caught[0].text.find("open_flow\t"), std::string::npos) << caught[0].text;
  EXPECT_NE(caught[0].text.find("out of vif0/2"), std::string::npos);
  EXPECT_EQ(caught[1].text.find("open_flow\t"), std::string::npos) << caught[1].text;
  EXPECT_NE(caught[1].text.find("flows\tfound"), std::string::npos);
  EXPECT_NE(caught[2].text.find("fit\tTTL Exceeded"), std::string::npos) << caught[2].text;
  EXPECT_EQ(caught[0].frame, udp(1000));
}

TEST(Trace, ChangesNothing) {
  Router1 traced;
  Router1 plain;
  ASSERT_TRUE(traced.engine.start_capture(1, traces()).ok());
  for (Router1* r : {&traced, &plain}) {
    for (uint16_t i = 0; i < 100; ++i) r->send(udp(static_cast<uint16_t>(1000 + i % 7), i));
    r->send(udp(1, 18, 1));
    r->send(Bytes(9));
    r->step();
  }
  for (;;) {
    Bytes a;
    Bytes b;
    const bool more = plain.ports[1]->collect(a);
    ASSERT_EQ(traced.ports[1]->collect(b), more);
    ASSERT_EQ(a, b);
    if (!more) break;
  }
  const Counters& a = plain.engine.counters();
  const Counters& b = traced.engine.counters();
  EXPECT_EQ(std::memcmp(a.drops, b.drops, sizeof a.drops), 0);
  EXPECT_EQ(a.forwarded, b.forwarded);
  EXPECT_EQ(a.received, b.received);
  EXPECT_EQ(plain.engine.flows().used(), traced.engine.flows().used());
  EXPECT_EQ(traced.engine.pool().available(), traced.engine.pool().total());
  EXPECT_GT(traced.caught(1).size(), 10u);
}

TEST(Trace, IsBoundedInTime) {
  Router1 r;
  ASSERT_TRUE(r.engine.start_capture(1, traces()).ok());
  uint64_t told = 0;
  for (int i = 0; i < 20; ++i) {
    for (int k = 0; k < 20; ++k) r.send(udp(1000));
    r.step(10);
    told += r.caught(1).size();
  }
  EXPECT_LE(told, kTraceBurst + 2 * kTracesPerSecond / 10);
  EXPECT_GE(told, kTraceBurst);
  EXPECT_EQ(r.engine.capture(1)->matched.load(), 400u);
  EXPECT_EQ(r.engine.capture(1)->lost.load(), 400 - told);
}

// ---------------------------------------------------------------------------------- what is wanted

Bytes in_tunnel(const Bytes& inner_ip, uint16_t port, const Bytes& shim) {
  Bytes f = udp(49152, static_cast<uint32_t>(shim.size() + inner_ip.size()));
  store_be32(&f[26], 0xc0000201);
  store_be32(&f[30], 0xc0000202);
  store_be16(&f[36], port);
  std::copy(shim.begin(), shim.end(), f.begin() + 42);
  std::copy(inner_ip.begin(), inner_ip.end(),
            f.begin() + 42 + static_cast<std::ptrdiff_t>(shim.size()));
  return f;
}

FlowEnds of(const char* address, uint32_t port = kAnyPort) {
  FlowEnds ends;
  ends.count = 1;
  EXPECT_TRUE(Address::parse(address, ends.ends[0].address));
  ends.ends[0].port = port;
  return ends;
}

bool match(const FlowEnds& ends, const Bytes& frame) {
  return ends.match(frame.data(), frame.size());
}

TEST(FlowEnds, EitherEndInEitherOrder) {
  const Bytes f = udp(1000);
  EXPECT_TRUE(match(FlowEnds{}, Bytes(3)));
  EXPECT_TRUE(match(of("10.0.0.1"), f));
  EXPECT_TRUE(match(of("10.0.0.2", 7), f));
  EXPECT_FALSE(match(of("10.0.0.1", 7), f));
  EXPECT_FALSE(match(of("10.0.0.3"), f));
  EXPECT_FALSE(match(of("fd00::1"), f));
  FlowEnds both = of("10.0.0.2", 7);
  both.count = 2;
  EXPECT_TRUE(Address::parse("10.0.0.1", both.ends[1].address));
  EXPECT_TRUE(match(both, f));
  both.ends[1].port = 1001;
  EXPECT_FALSE(match(both, f));
  FlowEnds tcp;
  tcp.protocol = 6;
  EXPECT_FALSE(match(tcp, f));
  tcp.protocol = 17;
  EXPECT_TRUE(match(tcp, f));
  EXPECT_FALSE(match(tcp, Bytes(f.begin(), f.begin() + 20)));
}

TEST(FlowEnds, LooksIntoTunnels) {
  const Bytes frame = udp(1000);
  const Bytes inner(frame.begin() + 14, frame.end());
  const Bytes label = {0x00, 0x01, 0x01, 64};
  const Bytes vni = {8, 0, 0, 0, 0, 0, 5, 0};
  for (const Bytes& f : {in_tunnel(inner, 6635, label), in_tunnel(frame, 6635, label),
                         in_tunnel(frame, 4789, vni), in_tunnel(inner, 4789, vni)}) {
    EXPECT_TRUE(match(of("10.0.0.1", 1000), f));
    EXPECT_TRUE(match(of("192.0.2.1"), f));
    EXPECT_FALSE(match(of("10.0.0.9"), f));
    for (size_t n = 0; n < f.size(); ++n) {  // no length is read past
      Bytes cut(f.begin(), f.begin() + static_cast<std::ptrdiff_t>(n));
      match(of("10.0.0.9"), cut);
    }
  }
  EXPECT_FALSE(match(of("10.0.0.1"), in_tunnel(inner, 9999, label)));
}

TEST(PacketFilter, IsLibpcaps) {
  Bytes program;
  std::string why;
  const FilterFault fault = PacketFilter::compile("udp src port 1000", program, why);
  if (fault == FilterFault::NoLibrary) GTEST_SKIP() << why;
  ASSERT_EQ(fault, FilterFault::None) << why;
  FilterFault loading;
  const auto filter = PacketFilter::load(program, loading, why);
  ASSERT_NE(filter, nullptr) << why;
  EXPECT_TRUE(filter->matches(udp(1000).data(), 60));
  EXPECT_FALSE(filter->matches(udp(1001).data(), 60));
  EXPECT_FALSE(filter->matches(udp(1000).data(), 10));

  EXPECT_EQ(PacketFilter::compile("no such thing", program, why), FilterFault::BadFilter);
  EXPECT_FALSE(why.empty());
  EXPECT_EQ(PacketFilter::load(Bytes{}, loading, why), nullptr);
  EXPECT_EQ(PacketFilter::load(Bytes(8 * (kMaxFilterInstructions + 1)), loading, why), nullptr);
  EXPECT_EQ(PacketFilter::load(Bytes(8, 0xff), loading, why), nullptr);
  // `ja -1` for ever.
  const Bytes loop = {0x05, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x06, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(PacketFilter::load(loop, loading, why), nullptr);
  EXPECT_EQ(loading, FilterFault::BadFilter);
}

}  // namespace
}  // namespace vrouter
