// Splits an IPv4 packet that is too big and may be split (RFC 791 §3.2), before the tunnel's header
// is pushed: each piece travels on its own. Copied options go into every piece, others into the
// first. A piece that is itself a fragment keeps its place in the whole.
#include "path/rooms.h"
#include "wire/ipv4.h"

namespace vrouter {
namespace {

constexpr uint32_t kMaxPieces = 64;  // 64 KiB over the smallest sensible MTU

// Options of later pieces: those with the copied bit (RFC 791 §3.1), padded. Returns their length.
uint32_t copied_options(const uint8_t* header, uint8_t* out) {
  const uint32_t end = ipv4::header_length(header);
  uint32_t at = ipv4::kHeaderLength;
  uint32_t length = 0;
  while (at < end && header[at] != 0) {
    if (header[at] == 1) {
      ++at;
      continue;
    }
    if (end - at < 2 || header[at + 1] < 2 || header[at + 1] > end - at) break;
    const uint32_t option = header[at + 1];
    if ((header[at] & 0x80) != 0) {
      std::memcpy(out + length, header + at, option);
      length += option;
    }
    at += option;
  }
  while (length % 4 != 0) out[length++] = 0;
  return length;
}

}  // namespace

void send_fragments(Context& context, Packet& packet, uint32_t mtu) {
  const PacketMeta& meta = packet.meta;
  const uint8_t* original = packet.data() + meta.l3;
  const uint32_t first_header = ipv4::header_length(original);
  uint8_t later[ipv4::kMaxHeaderLength];
  std::memcpy(later, original, ipv4::kHeaderLength);
  const uint32_t later_header =
      ipv4::kHeaderLength + copied_options(original, later + ipv4::kHeaderLength);
  later[0] = static_cast<uint8_t>(0x40 | later_header / 4);
  const uint32_t base = ipv4::fragment_offset(original);
  const bool more_behind = ipv4::more_fragments(original);
  const uint8_t* payload = original + first_header;
  const uint32_t total = meta.l3_length - first_header;
  uint32_t done = 0;
  for (uint32_t piece = 0; done < total; ++piece) {
    const uint32_t header = piece == 0 ? first_header : later_header;
    const uint32_t room = (mtu - header) / 8 * 8;
    const uint32_t bytes = total - done < room ? total - done : room;
    Packet* out = room == 0 || piece == kMaxPieces ? nullptr : context.pool.allocate();
    if (out == nullptr || out->tailroom() < meta.l2_length + header + bytes) {
      if (out != nullptr) context.pool.free(out);
      ++context.counters.drops[static_cast<uint32_t>(DropReason::HeadAllocFail)];
      break;
    }
    out->meta = meta;
    out->append(meta.l2_length + header + bytes);
    uint8_t* p = out->data();
    std::memcpy(p, packet.data(), meta.l2_length);
    p += meta.l2_length;
    std::memcpy(p, piece == 0 ? original : later, header);
    std::memcpy(p + header, payload + done, bytes);
    const bool last = done + bytes == total && !more_behind;
    ipv4::set_total_length(p, static_cast<uint16_t>(header + bytes));
    ipv4::set_fragment_word(
        p, static_cast<uint16_t>((base + done) / 8 | (last ? 0 : ipv4::kMoreFragments)));
    ipv4::write_checksum(p);
    out->meta.split_to = 0;
    out->meta.copy = true;
    out->meta.fragment = true;
    out->meta.l3_length = static_cast<uint16_t>(header + bytes);
    out->meta.verdict = Verdict::Continue;
    Burst one;
    one.packets[one.count++] = out;
    encapsulate(context, one);
    finish(context, one);
    done += bytes;
  }
  packet.drop(DropReason::ClonedOriginal);
}

}  // namespace vrouter
