/* The programs of the kernel tier: packets of known flows on their way without a process. Compiled by
 * scripts/tier-programs.mjs into programs.h, which is committed: nobody needs clang to use it.
 *
 * Invariant: what a program does not carry it has not touched, and it goes where it went before; leaving is always
 * right. A packet that is carried leaves as the express room (path/express_flow.h) would have sent it; which those
 * are is decided there, by whoever opens a lane. Nothing is dropped here but what a tenant writes into our
 * companion device by itself.
 *
 * Where they sit (TCX, and one filter of a socket):
 *   tenant_filter  on the AF_PACKET socket of a veth: sees a frame first, and keeps it from the socket if it is carried
 *   tenant_in      ingress of that veth, next: carries what the filter has found
 *   tap_out        egress of a TAP, in the tenant's namespace: hands what is carried to our companion, a veth pair
 *   companion_in   … ingress of its end on our side: carries it
 *   companion_out  … ingress of its end on the tenant's side: hands it to the TAP's stack
 *   fabric_in      ingress of the NIC: out of a tunnel, to a tenant
 *
 * Constants (CONSTANT) and maps (MAP) are placeholders that the loader fills in.
 */
#include <linux/bpf.h>

#include "lane.h"

#define PROGRAM(name) __attribute__((section("tier_" #name), used))
#define inline_always inline __attribute__((always_inline))
#define swap16(x) __builtin_bswap16(x)
#define swap32(x) __builtin_bswap32(x)

static void *(*const map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const load_bytes)(const void *skb, __u32 at, void *to, __u32 n) =
    (void *)BPF_FUNC_skb_load_bytes;
static long (*const store_bytes)(struct __sk_buff *skb, __u32 at, const void *from, __u32 n,
                                 __u64 flags) = (void *)BPF_FUNC_skb_store_bytes;
static long (*const adjust_room)(struct __sk_buff *skb, __s32 by, __u32 mode, __u64 flags) =
    (void *)BPF_FUNC_skb_adjust_room;
static long (*const change_type)(struct __sk_buff *skb, __u32 type) = (void *)BPF_FUNC_skb_change_type;
static long (*const redirect)(__u32 device, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const redirect_peer)(__u32 device, __u64 flags) = (void *)BPF_FUNC_redirect_peer;

/* A 64-bit load that the loader finds by its upper half and fills in: bpf.cc, link(). */
#define PLACEHOLDER(type, number)                                            \
  ({                                                                         \
    type value_;                                                             \
    asm("%0 = 0x71e70000000000" #number " ll" : "=r"(value_));               \
    value_;                                                                  \
  })
#define MAP_FLOWS PLACEHOLDER(void *, 01)
#define MAP_LANES PLACEHOLDER(void *, 02)
#define MAP_VERDICT PLACEHOLDER(void *, 03)
#define CONSTANT_PORT ((__u32)PLACEHOLDER(__u64, 11))   /* id of the port */
#define CONSTANT_DEVICE ((__u32)PLACEHOLDER(__u64, 12)) /* where a companion hands on to */

enum { kNext = -1, kDrop = 2 }; /* TCX_NEXT, TCX_DROP */
enum { kEthernet = 14, kIp = 20, kTcp = 6, kUdp = 17, kRoomMac = 1 };
enum { kFin = 1, kSyn = 2, kRst = 4, kAck = 16 };
enum { kFixedGso = 1, kEncapIpv4 = 2, kEncapUdp = 16, kInto = 1 };
#define ENCAP_L2(n) ((__u64)(n) << 56)

/* A packet as far as it is known. */
struct seen {
  __u8 ip[kIp];
  __u32 total;        /* bytes of the IP packet */
  __u32 headers;      /* of these, its headers */
  __u32 acknowledged;
  __u32 tcp;
  __u32 lane;
};

static inline_always __u32 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

static inline_always __u64 sum20(const __u8 *p) {
  const __u32 *w = (const __u32 *)p;
  return (__u64)w[0] + w[1] + w[2] + w[3] + w[4];
}

/* A packet of the flow is not for programs, and the next ones may not be either: all of them go the old way, in order. */
static inline_always void refuse(struct lane *lane) {
  lane->unfit = 1;
  *(volatile __u32 *)&lane->state = kLaneClosing;
}

/* The lane of the whole TCP or UDP packet over IPv4 at `at`, if it may be carried by it. `first`: it has not been
 * taken by a program before this one. */
static inline_always struct lane *find(struct __sk_buff *skb, __u32 at, __u32 in, __u32 way, int first,
                                       const __u8 *mac, struct seen *s) {
  __u32 l4[5];
  if (load_bytes(skb, at, s->ip, kIp) != 0 || s->ip[0] != 0x45) return 0;
  const __u32 protocol = s->ip[9];
  s->total = swap16(*(__u16 *)(s->ip + 2));
  if (s->total + at != skb->len || (s->ip[6] & 0x3f) != 0 || s->ip[7] != 0 || s->ip[8] <= 1) return 0;
  if (fold(sum20(s->ip)) != 0xffff) return 0;
  s->tcp = protocol == kTcp;
  __u32 ends = 0;
  if (protocol == kTcp) {
    if (s->total < kIp + 20 || load_bytes(skb, at + kIp, l4, 20) != 0) return 0;
    const __u8 *tcp = (const __u8 *)l4;
    s->headers = kIp + (tcp[12] >> 4) * 4;
    if (s->headers < kIp + 20 || s->headers > s->total) return 0;
    ends = tcp[13] & (kFin | kSyn | kRst);
    if (ends == 0 && (tcp[13] & kAck) == 0) return 0;
    s->acknowledged = swap32(l4[2]);
  } else if (protocol == kUdp) {
    if (s->total < kIp + 8 || load_bytes(skb, at + kIp, l4, 8) != 0) return 0;
    const __u32 length = swap16(*(__u16 *)((__u8 *)l4 + 4));
    if (length < 8 || length > s->total - kIp) return 0;
    s->headers = kIp + 8;
  } else {
    return 0;
  }
  struct lane_key key;
  key.in = in;
  key.source = *(__u32 *)(s->ip + 12);
  key.destination = *(__u32 *)(s->ip + 16);
  key.ports = l4[0];
  key.way_protocol = way << 8 | protocol;
  const __u32 *index = map_lookup(MAP_FLOWS, &key);
  if (index == 0) return 0;
  s->lane = *index;
  struct lane *lane = map_lookup(MAP_LANES, &s->lane);
  if (lane == 0) return 0;
  const __u32 state = *(volatile __u32 *)&lane->state;
  if (state == kLaneClosed || (first && state != kLaneOpen)) return 0;
  if (ends) {
    /* The rooms see to it; and to all that comes behind it. */
    const __u32 other = lane->reverse;
    *(volatile __u32 *)&lane->state = kLaneClosing;
    struct lane *reverse = map_lookup(MAP_LANES, &other);
    if (reverse != 0 && *(volatile __u32 *)&reverse->state == kLaneOpen) {
      *(volatile __u32 *)&reverse->state = kLaneClosing;
    }
    return 0;
  }
  /* Out of its tunnel a super-packet still says that it is in one, and the tenant's kernel has to cut datagrams. */
  if (way == kLaneIn && skb->gso_size != 0 && !s->tcp) {
    refuse(lane);
    return 0;
  }
  const __u16 *have = (const __u16 *)mac;
  const __u16 *want = (const __u16 *)lane->mac;
  if (have[0] != want[0] || have[1] != want[1] || have[2] != want[2]) {
    /* 00:00:5e:00:01:00 */
    if (!lane->gateway_too || have[0] != 0 || have[1] != swap16(0x5e00) || have[2] != swap16(0x0100)) {
      return 0;
    }
  }
  if (s->total > lane->most && (skb->gso_size == 0 || s->headers + skb->gso_size > lane->most)) return 0;
  if (way == kLaneOut && s->total + kLanePushed > 65535) return 0;
  return lane;
}

static inline_always void count(struct lane *lane, const struct seen *s) {
  __sync_fetch_and_add(&lane->packets, 1);
  __sync_fetch_and_add(&lane->bytes, s->total);
  if (s->tcp) lane->acknowledged = s->acknowledged;
}

/* One hop less, in the first twelve bytes of an IPv4 header (RFC 1624). */
static inline_always void hop(const __u8 *ip, __u8 *to) {
  __builtin_memcpy(to, ip, 12);
  to[8] = ip[8] - 1;
  const __u32 sum = swap16((__u16) ~*(__u16 *)(ip + 10)) + 0xfeff;
  *(__u16 *)(to + 10) = swap16((__u16) ~fold(sum));
}

/* Into a tunnel. Does it, or nothing (kNext): the kernel refuses what is in a tunnel of the tenant's own already, which
 * cannot be seen before. That one packet is lost, and its flow is left alone from then on. */
static inline_always int carry_out(struct __sk_buff *skb, struct lane *lane, const struct seen *s) {
  __u8 made[kLaneHeader + 12 + 2];
  __builtin_memcpy(made, lane->header, kLaneHeader);
  hop(s->ip, made + kLaneHeader);
  const __u32 total = s->total + kLanePushed;
  const __u32 id = lane->packets & 0xffff;
  *(__u16 *)(made + 16) = swap16(total);
  *(__u16 *)(made + 18) = swap16(id);
  *(__u16 *)(made + 24) = swap16((__u16) ~fold((__u64)lane->checksum_base + total + id));
  *(__u16 *)(made + 38) = swap16(total - kIp);
  made[45] = s->ip[8] - 1;
  if (adjust_room(skb, kLanePushed, kRoomMac,
                  kFixedGso | kEncapIpv4 | kEncapUdp | ENCAP_L2(4)) != 0) {
    refuse(lane);
    return kNext;
  }
  if (store_bytes(skb, 0, made, kLaneHeader + 12, 1 /* BPF_F_RECOMPUTE_CSUM */) != 0) return kDrop;
  count(lane, s);
  return redirect(lane->device, 0);
}

static inline_always struct lane *find_tenant(struct __sk_buff *skb, int first, struct seen *s) {
  __u8 mac[8];
  if (skb->protocol != swap16(0x0800) || skb->vlan_present || load_bytes(skb, 0, mac, 6) != 0) return 0;
  return find(skb, kEthernet, CONSTANT_PORT, kLaneOut, first, mac, s);
}

/* The verdict is a lane + 1: zero, as a map begins, is that of no filter. */
PROGRAM(tenant_filter) int tenant_filter(struct __sk_buff *skb) {
  const __u32 zero = 0;
  struct seen s;
  __u32 *verdict = map_lookup(MAP_VERDICT, &zero);
  if (verdict == 0) return 0x40000;
  const int found = find_tenant(skb, 1, &s) != 0;
  *verdict = found ? s.lane + 1 : 0;
  return found ? 0 : 0x40000;
}

PROGRAM(tenant_in) int tenant_in(struct __sk_buff *skb) {
  const __u32 zero = 0;
  struct seen s;
  __u32 *verdict = map_lookup(MAP_VERDICT, &zero);
  if (verdict == 0 || *verdict == 0) return kNext;
  s.lane = *verdict - 1;
  *verdict = 0;
  struct lane *lane = map_lookup(MAP_LANES, &s.lane);
  if (lane == 0 || load_bytes(skb, kEthernet, s.ip, kIp) != 0) return kNext;
  s.total = swap16(*(__u16 *)(s.ip + 2));
  s.tcp = s.ip[9] == kTcp;
  if (s.tcp) {
    if (load_bytes(skb, kEthernet + kIp + 8, &s.acknowledged, 4) != 0) return kNext;
    s.acknowledged = swap32(s.acknowledged);
  }
  return carry_out(skb, lane, &s);
}

PROGRAM(tap_out) int tap_out(struct __sk_buff *skb) {
  struct seen s;
  return find_tenant(skb, 1, &s) != 0 ? redirect(CONSTANT_DEVICE, 0) : kNext;
}

PROGRAM(companion_in) int companion_in(struct __sk_buff *skb) {
  struct seen s;
  struct lane *lane = find_tenant(skb, 0, &s);
  if (lane == 0) return kDrop;
  const int how = carry_out(skb, lane, &s);
  return how == kNext ? kDrop : how;
}

PROGRAM(companion_out) int companion_out(struct __sk_buff *skb) { return redirect(CONSTANT_DEVICE, kInto); }

PROGRAM(fabric_in) int fabric_in(struct __sk_buff *skb) {
  __u8 outer[48];
  struct seen s;
  if (skb->protocol != swap16(0x0800) || skb->vlan_present) return kNext;
  if (load_bytes(skb, 0, outer, kLaneHeader) != 0) return kNext;
  const __u8 *ip = outer + kEthernet;
  const __u16 port = *(__u16 *)(outer + 36);
  if (ip[0] != 0x45 || ip[9] != kUdp || (port != swap16(6635) && port != swap16(51234))) return kNext;
  const __u32 total = swap16(*(__u16 *)(ip + 2));
  if (total + kEthernet != skb->len || (ip[6] & 0x3f) != 0 || ip[7] != 0) return kNext;
  /* A checksum that a far kernel left undone is somebody else's to finish; zero is what RFC 7510 asks for. */
  if (*(__u16 *)(outer + 38) != swap16(total - kIp) || *(__u16 *)(outer + 40) != 0) return kNext;
  __u32 words[5];
  __builtin_memcpy(words, ip, kIp);
  if (fold((__u64)words[0] + words[1] + words[2] + words[3] + words[4]) != 0xffff) return kNext;
  __u32 entry = (__u32)outer[42] << 24 | (__u32)outer[43] << 16 | (__u32)outer[44] << 8 | outer[45];
  if ((entry & 0x100) == 0 || (entry & 0xff) <= 1) return kNext;
  struct lane *lane = find(skb, kLaneHeader, entry >> 12, kLaneIn, 1, outer, &s);
  if (lane == 0 || words[4] != lane->outer_destination || words[3] == 0 ||
      (lane->outer_source != 0 && words[3] != lane->outer_source)) {
    return kNext;
  }
  const __u32 segment = skb->gso_size;
  if (adjust_room(skb, -kLanePushed, kRoomMac, kFixedGso) != 0) return kNext;
  __u8 made[kEthernet + 12 + 2];
  __builtin_memcpy(made, lane->header, kEthernet);
  hop(s.ip, made + kEthernet);
  if (store_bytes(skb, 0, made, kEthernet + 12, 0) != 0) return kDrop;
  change_type(skb, 0 /* PACKET_HOST */);
  count(lane, &s);
  if (segment != 0) lane->whole = 1;
  return lane->merge && !lane->whole ? redirect(lane->device, 0) : redirect_peer(lane->device, 0);
}
