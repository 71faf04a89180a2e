// Frames bent in one way each, and whether the kernel tier's programs and the express room take them; what both take
// leaves alike.
#include <gtest/gtest.h>

#include <functional>

#include "worker/twin_programs.h"

namespace vrouter::tier_twin {
namespace {

class TierRows : public TwinPrograms {};

struct Row {
  const char* name;
  std::function<void(Bytes&)> bend;
  bool carried = false;
  bool express = false;  // the express room takes it, where the programs need not
};

void resize_ip(Bytes& frame, uint32_t at, int by) {
  store_be16(&frame[at + 2], static_cast<uint16_t>(load_be16(&frame[at + 2]) + by));
  fix_ip(frame, at);
}

// Rows about the packet itself, wherever it stands; TCP.
std::vector<Row> rows_of_packet(uint32_t at) {
  return {
      {"as it is", [](Bytes&) {}, true, true},
      {"DF",
       [at](Bytes& f) {
         f[at + 6] = 0x40;
         fix_ip(f, at);
       },
       true, true},
      {"DSCP and ECN",
       [at](Bytes& f) {
         f[at + 1] = 0xff;
         fix_ip(f, at);
       },
       true, true},
      {"PSH, URG, ECE, CWR", [at](Bytes& f) { f[at + 33] |= 0xe8; }, true, true},
      {"version 6",
       [at](Bytes& f) {
         f[at] = 0x65;
         fix_ip(f, at);
       }},
      {"options",
       [at](Bytes& f) {
         f[at] = 0x46;
         fix_ip(f, at);
       }},
      {"more fragments",
       [at](Bytes& f) {
         f[at + 6] = 0x20;
         fix_ip(f, at);
       }},
      {"a later fragment",
       [at](Bytes& f) {
         f[at + 7] = 1;
         fix_ip(f, at);
       }},
      {"a late fragment",
       [at](Bytes& f) {
         f[at + 6] = 0x10;
         fix_ip(f, at);
       }},
      {"TTL 1",
       [at](Bytes& f) {
         f[at + 8] = 1;
         fix_ip(f, at);
       }},
      {"TTL 0",
       [at](Bytes& f) {
         f[at + 8] = 0;
         fix_ip(f, at);
       }},
      {"a wrong IP checksum", [at](Bytes& f) { f[at + 10] ^= 1; }},
      {"a byte longer than the frame", [at](Bytes& f) { resize_ip(f, at, 1); }},
      {"shorter than its headers",
       [at](Bytes& f) {
         f.resize(at + 30);
         store_be16(&f[at + 2], 30);
         fix_ip(f, at);
       }},
      {"total length 0",
       [at](Bytes& f) {
         store_be16(&f[at + 2], 0);
         fix_ip(f, at);
       }},
      {"no ACK", [at](Bytes& f) { f[at + 33] = 0; }, false, true},
      {"a TCP header of 16 bytes", [at](Bytes& f) { f[at + 32] = 0x40; }},
      {"a TCP header of 0 bytes", [at](Bytes& f) { f[at + 32] = 0; }},
      {"a TCP header longer than the packet", [at](Bytes& f) { f[at + 32] = 0xf0; }},
      {"a TCP header as long as the packet",
       [at](Bytes& f) {
         f[at + 32] = 0x70;
         f.resize(f.size() - 2);
         resize_ip(f, at, -2);
         if (at == kOuter) return;
         resize_ip(f, kOuter, -2);
         store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) - 2));
       },
       true, true},
      {"another protocol",
       [at](Bytes& f) {
         f[at + 9] = 132;
         fix_ip(f, at);
       }},
      {"an unknown source",
       [at](Bytes& f) {
         f[at + 15] ^= 0x40;
         fix_ip(f, at);
       }},
      {"an unknown destination",
       [at](Bytes& f) {
         f[at + 19] ^= 0x40;
         fix_ip(f, at);
       }},
      {"an unknown port", [at](Bytes& f) { f[at + 21] ^= 0x40; }},
      {"the other unknown port", [at](Bytes& f) { f[at + 23] ^= 0x40; }},
      {"the flow of the other protocol, which there is not",
       [at](Bytes& f) {
         f[at + 9] = kUdp;
         store_be16(&f[at + 24], static_cast<uint16_t>(f.size() - at - 20));
         fix_ip(f, at);
       }},
  };
}

std::vector<Row> rows_of_tenant() {
  std::vector<Row> rows = rows_of_packet(kOuter);
  const std::vector<Row> more = {
      {"to the vif's MAC", [](Bytes& f) { std::copy_n(kVifMac.bytes.data(), 6, f.data()); }, true,
       true},
      {"to the pod's own MAC", [](Bytes& f) { std::copy_n(kPodMac[0].bytes.data(), 6, f.data()); }},
      {"to a MAC that is not the gateway's by its last byte", [](Bytes& f) { f[5] = 1; }},
      {"… by its first", [](Bytes& f) { f[0] = 2; }},
      {"… by its third", [](Bytes& f) { f[2] = 0; }},
      {"from any MAC", [](Bytes& f) { f[11] = 9; }, true, true},
      {"padding", [](Bytes& f) { f.resize(f.size() + 6); }, false, true},
      {"ARP", [](Bytes& f) { store_be16(&f[12], 0x0806); }},
      {"IPv6", [](Bytes& f) { store_be16(&f[12], 0x86dd); }},
      {"a VLAN tag",
       [](Bytes& f) {
         const uint8_t tag[] = {0x81, 0, 0, 5};
         f.insert(f.begin() + 12, tag, tag + 4);
       }},
      {"a packet that fits just",
       [](Bytes& f) {
         f.resize(14 + 1468);
         resize_ip(f, kOuter, 1468 - load_be16(&f[16]));
       },
       true, true},
      {"a byte too large",
       [](Bytes& f) {
         f.resize(14 + 1469);
         resize_ip(f, kOuter, 1469 - load_be16(&f[16]));
       }},
  };
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

std::vector<Row> rows_of_fabric() {
  std::vector<Row> rows = rows_of_packet(kInner);
  const std::vector<Row> more = {
      {"to the gateway's MAC",
       [](Bytes& f) { std::copy_n(kGatewayMac.bytes.data(), 6, f.data()); }},
      {"to another MAC", [](Bytes& f) { f[5] ^= 1; }},
      {"from any MAC", [](Bytes& f) { f[11] = 9; }, true, true},
      {"padding", [](Bytes& f) { f.resize(f.size() + 6); }, false, true},
      {"padding inside",
       [](Bytes& f) {
         f.resize(f.size() + 6);
         resize_ip(f, kOuter, 6);
         store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) + 6));
       },
       false, true},
      {"ARP", [](Bytes& f) { store_be16(&f[12], 0x0806); }},
      {"IPv6", [](Bytes& f) { store_be16(&f[12], 0x86dd); }},
      {"a VLAN tag",
       [](Bytes& f) {
         const uint8_t tag[] = {0x81, 0, 0, 5};
         f.insert(f.begin() + 12, tag, tag + 4);
       }},
      {"the old port", [](Bytes& f) { store_be16(&f[36], 51234); }, true, true},
      {"another port", [](Bytes& f) { store_be16(&f[36], 6636); }},
      {"VXLAN's port", [](Bytes& f) { store_be16(&f[36], 4789); }},
      {"any source port", [](Bytes& f) { store_be16(&f[34], 1); }, true, true},
      {"another label", [](Bytes& f) { store_be32(&f[42], 41 << 12 | 0x140); }},
      {"an unknown label", [](Bytes& f) { store_be32(&f[42], 99 << 12 | 0x140); }},
      {"not the bottom of the stack", [](Bytes& f) { f[44] &= 0xfe; }},
      {"traffic class", [](Bytes& f) { f[44] |= 0x0e; }, true, true},
      {"label TTL 1", [](Bytes& f) { f[45] = 1; }},
      {"label TTL 0", [](Bytes& f) { f[45] = 0; }},
      {"label TTL 2", [](Bytes& f) { f[45] = 2; }, true, true},
      {"another outer source",
       [](Bytes& f) {
         f[29] ^= 1;
         fix_ip(f, kOuter);
       }},
      {"another outer destination",
       [](Bytes& f) {
         f[33] ^= 0x80;
         fix_ip(f, kOuter);
       }},
      {"an outer UDP checksum", [](Bytes& f) { f[40] = 1; }, false, true},
      {"outer options",
       [](Bytes& f) {
         f[14] = 0x46;
         fix_ip(f, kOuter);
       }},
      {"an outer fragment",
       [](Bytes& f) {
         f[20] = 0x20;
         fix_ip(f, kOuter);
       }},
      {"a later outer fragment",
       [](Bytes& f) {
         f[21] = 1;
         fix_ip(f, kOuter);
       }},
      {"a wrong outer checksum", [](Bytes& f) { f[24] ^= 1; }},
      {"outer TTL 1",
       [](Bytes& f) {
         f[22] = 1;
         fix_ip(f, kOuter);
       },
       true, true},
      {"another outer protocol",
       [](Bytes& f) {
         f[23] = 6;
         fix_ip(f, kOuter);
       }},
      {"an outer UDP length that is too short",
       [](Bytes& f) { store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) - 1)); }, false,
       true},
      {"an outer UDP length that is too long",
       [](Bytes& f) { store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) + 1)); }},
      {"an outer packet that is longer than the frame",
       [](Bytes& f) {
         resize_ip(f, kOuter, 1);
         store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) + 1));
       }},
      {"an outer packet that ends inside",
       [](Bytes& f) {
         resize_ip(f, kOuter, -1);
         store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) - 1));
       }},
      {"a packet that fits just",
       [](Bytes& f) {
         f.resize(kInner + 1500);
         resize_ip(f, kInner, 1500 - load_be16(&f[kInner + 2]));
         resize_ip(f, kOuter, 1532 - load_be16(&f[16]));
         store_be16(&f[38], 1512);
       },
       true, true},
      {"a byte too large",
       [](Bytes& f) {
         f.resize(kInner + 1501);
         resize_ip(f, kInner, 1501 - load_be16(&f[kInner + 2]));
         resize_ip(f, kOuter, 1533 - load_be16(&f[16]));
         store_be16(&f[38], 1513);
       }},
  };
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

TEST_F(TierRows, RowsOfATenantsFrames) {
  const Ends ends = to_client(Other, kTcp);
  for (const Row& row : rows_of_tenant()) {
    SCOPED_TRACE(row.name);
    Bytes frame = out_frame(ends);
    row.bend(frame);
    EXPECT_EQ(carried(1, frame), row.carried);
    EXPECT_EQ(express(1, frame), row.express);
    reopen();
  }
}

TEST_F(TierRows, RowsOfTheFabricsFrames) {
  const Ends ends = to_client(Other, kTcp);
  for (const Row& row : rows_of_fabric()) {
    SCOPED_TRACE(row.name);
    Bytes frame = in_frame(ends, Other);
    row.bend(frame);
    EXPECT_EQ(carried(0, frame), row.carried);
    EXPECT_EQ(express(0, frame), row.express);
    reopen();
  }
}

TEST_F(TierRows, RowsOfUdp) {
  const Ends ends = to_client(Plain, kUdp);
  for (const uint32_t port : {0u, 1u}) {
    const uint32_t at = port == 0 ? kInner : kOuter;
    const std::vector<Row> rows = {
        {"as it is", [](Bytes&) {}, true, true},
        {"no checksum", [at](Bytes& f) { store_be16(&f[at + 26], 0); }, true, true},
        {"a wrong checksum", [at](Bytes& f) { f[at + 26] ^= 1; }, true, true},
        {"length 7", [at](Bytes& f) { store_be16(&f[at + 24], 7); }},
        {"length 0", [at](Bytes& f) { store_be16(&f[at + 24], 0); }},
        {"length 8", [at](Bytes& f) { store_be16(&f[at + 24], 8); }, true, true},
        {"a byte too long", [at](Bytes& f) { store_be16(&f[at + 24], 19); }},
        {"a header cut short",
         [at, port](Bytes& f) {
           f.resize(at + 27);
           resize_ip(f, at, -11);
           if (port != 0) return;
           resize_ip(f, kOuter, -11);
           store_be16(&f[38], static_cast<uint16_t>(load_be16(&f[38]) - 11));
         }},
    };
    for (const Row& row : rows) {
      SCOPED_TRACE(testing::Message() << row.name << ", port " << port);
      Bytes frame = port == 0 ? in_frame(ends, Plain) : out_frame(ends);
      row.bend(frame);
      EXPECT_EQ(carried(port, frame), row.carried);
      EXPECT_EQ(express(port, frame), row.express);
      reopen();
    }
  }
}

}  // namespace
}  // namespace vrouter::tier_twin
