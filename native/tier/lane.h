/* What the kernel tier's programs (tier.bpf.c) and its user (kernel_tier.cc) share: the shapes of their maps.
 * C, for both compilers. Integers are in host order unless they are said to be as on the wire.
 *
 * A *lane* is the way of one half of a connection through the kernel: a slot of an array that both sides have mapped.
 * The flow map says which lane a packet's key has. Who writes what: the user everything while `state` is
 * kLaneClosed and `state` itself at any time; programs the counters, `acknowledged`, `whole`, `unfit`, and of `state`
 * only from open to closing. A closed lane is not given to another flow before all programs that may have
 * looked it up are long over (kernel_tier.h, kRestNs).
 */
#ifndef VROUTER_TIER_LANE_H
#define VROUTER_TIER_LANE_H

#include <linux/types.h>

enum {
  kLaneClosed = 0,  /* nobody's, or no more */
  kLaneClosing = 1, /* no packet is taken any more; those on their way between two programs still go */
  kLaneOpen = 2,
};
enum { kLaneOut = 0, kLaneIn = 1 }; /* lane::way, and of keys: into a tunnel, out of one */

enum {
  kLaneNone = 0xffffffff,
  kLaneHeader = 46,  /* Ethernet, IPv4, UDP, one label (RFC 7510) */
  kLanePushed = 32,  /* … of these, what is between the Ethernet header and the packet inside */
  kLaneEthernet = 14,
};

/* As it is looked up. All of it is significant: no padding. */
struct lane_key {
  __u32 in;          /* kLaneOut: id of the port; kLaneIn: label */
  __u32 source;      /* as on the wire, like the next two */
  __u32 destination;
  __u32 ports;       /* source port, destination port: the first four bytes of the transport header */
  __u32 way_protocol; /* way << 8 | IANA number */
};

struct lane {
  __u32 state;
  __u32 reverse;           /* lane of the other half, or kLaneNone */
  __u32 device;            /* index, where it is sent: the NIC, or the tenant's device on our side */
  __u32 most;              /* bytes of an IP packet inside, or of its segments */
  __u32 outer_source;      /* kLaneIn, as on the wire: must be this, unless 0 */
  __u32 outer_destination; /* kLaneIn, as on the wire: must be this */
  __u32 checksum_base;     /* kLaneOut: sum of the outer IPv4 header without its length and identification */
  __u8 mac[6];             /* its frames are for this address … */
  __u8 gateway_too;        /* … or for the gateway's */
  __u8 merge;              /* kLaneIn: plain segments go by the device's GRO */
  __u8 header[48];         /* pushed in front: kLaneHeader bytes, or an Ethernet header */
  __u32 whole;             /* a super-packet has come: then all of the flow go the direct way */
  __u32 acknowledged;      /* last acknowledgement of TCP, host order */
  __u32 unfit;             /* a packet has come that programs cannot carry: its flow is no more for them */
  __u64 packets;
  __u64 bytes;             /* of IP packets inside; a super-packet is one packet, as everywhere here */
  __u8 spare[16];
};

#endif
