/**
 * What stands in front of a frame on the agent vif (pkt0), in both directions: an Ethernet header, which
 * only carries it, and the ancestor's agent header. native/path/punt.cc is the other side.
 *
 *   Ethernet 14 | ifindex u16 | vrf u16 | cmd u16 | five parameters u32 | 4 bytes
 */
import { MAC_GATEWAY, parseMac } from '../addr/mac.ts';
import { bad, view } from './frame.ts';

const ETHERNET = 14;
const HEADER = 30;
const FRONT = ETHERNET + HEADER;
const ETHER_TYPE = 0x0800; // the ancestor's; says nothing about what follows

/** Out of that vif as it is; or routed in that vif's network. */
export const COMMAND = { switch: 0, route: 1 } as const;

export interface AgentFrame {
  /** Of the vif it came in on, or goes out by. */
  readonly vif: number;
  readonly vrf: number;
  readonly command: number;
  /** A view. */
  readonly frame: Uint8Array;
}

export function decodeAgentFrame(bytes: Uint8Array): AgentFrame {
  if (bytes.length < FRONT) bad(`${bytes.length} bytes from the agent vif`);
  const at = view(bytes);
  return {
    vif: at.getUint16(ETHERNET),
    vrf: at.getUint16(ETHERNET + 2),
    command: at.getUint16(ETHERNET + 4),
    frame: bytes.subarray(FRONT),
  };
}

const MAC = parseMac(MAC_GATEWAY);

export function encodeAgentFrame({ vif, vrf, command, frame }: AgentFrame): Uint8Array {
  const bytes = new Uint8Array(FRONT + frame.length);
  const at = view(bytes);
  bytes.set(MAC, 0);
  bytes.set(MAC, 6);
  at.setUint16(12, ETHER_TYPE);
  at.setUint16(ETHERNET, vif);
  at.setUint16(ETHERNET + 2, vrf);
  at.setUint16(ETHERNET + 4, command);
  bytes.set(frame, FRONT);
  return bytes;
}
