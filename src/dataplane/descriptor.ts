/**
 * File descriptors for which Node has no class, watched by the event loop: netlink sockets, pairs of Unix
 * sockets. One read is one message. Closing is the owner's: nothing is closed twice, nothing by itself.
 */
import { loadAddon, type NativeDescriptor } from './binding.ts';

export type Descriptor = NativeDescriptor;

/** Takes `fd` over. */
export function openDescriptor(fd: number): Descriptor {
  return new (loadAddon().addon.Descriptor)(fd);
}

/** groups: the mask of RTMGRP_*. Throws PORT_FAILED. */
export function openNetlink(protocol: number, groups: number): Descriptor {
  return openDescriptor(loadAddon().addon.openNetlink(protocol, groups));
}

/** Two ends of a Unix socket that keeps message bounds, as descriptors. */
export function socketPair(): readonly [number, number] {
  return loadAddon().addon.socketPair();
}

/** Two ends for frames, one of them for a port of kind `socket`. The one end does not see the other's end. */
export function framePair(): readonly [number, number] {
  return loadAddon().addon.framePair();
}
