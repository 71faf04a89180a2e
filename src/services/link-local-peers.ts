/**
 * Tenants' connections as the host's stack has them: whose each is, by the address it comes from and nothing
 * else, and no more of them than there is room for.
 * Invariant: who is let in is a tenant now. A connection may outlive its tenant's vif, though nothing comes over it
 * any more: whoever acts in its tenant's name asks owner() again.
 */
import type { Server, Socket } from 'node:net';

/** Who asks. */
export interface Peer {
  /** Of the vif, in the data plane. */
  readonly vif: number;
  readonly name: string;
  /** The tenant's own address. */
  readonly address: string;
  readonly instanceId: string;
  readonly tenantId: string;
}

/** By the address of a connection's far end; undefined: nobody's. */
export type PeerOf = (address: string) => Peer | undefined;

export const MAX_CONNECTIONS = 1024;
export const MAX_CONNECTIONS_PER_TENANT = 32;

export interface PeerCounters {
  connections: number;
  stranger: number;
  overflow: number;
}

export class LinkLocalPeers {
  readonly #peerOf: PeerOf;
  readonly #counters: PeerCounters;
  readonly #owners = new Map<Socket, Peer>();
  readonly #perVif = new Map<number, number>();

  constructor(peerOf: PeerOf, counters: PeerCounters) {
    this.#peerOf = peerOf;
    this.#counters = counters;
  }

  /** False: it was closed at once. */
  admit(socket: Socket): boolean {
    socket.on('error', () => socket.destroy());
    const peer = this.#peerOf(socket.remoteAddress ?? '');
    if (peer === undefined) {
      this.#counters.stranger++;
      socket.destroy();
      return false;
    }
    const held = this.#perVif.get(peer.vif) ?? 0;
    if (held >= MAX_CONNECTIONS_PER_TENANT || this.#owners.size >= MAX_CONNECTIONS) {
      this.#counters.overflow++;
      socket.destroy();
      return false;
    }
    this.#counters.connections++;
    this.#owners.set(socket, peer);
    this.#perVif.set(peer.vif, held + 1);
    socket.once('close', () => {
      this.#owners.delete(socket);
      const left = (this.#perVif.get(peer.vif) ?? 1) - 1;
      if (left === 0) this.#perVif.delete(peer.vif);
      else this.#perVif.set(peer.vif, left);
    });
    return true;
  }

  /** Whose it is now; undefined: not whose it was when it came. */
  owner(socket: Socket): Peer | undefined {
    const was = this.#owners.get(socket);
    const is = was === undefined ? undefined : this.#peerOf(socket.remoteAddress ?? '');
    return is?.name === was?.name ? is : undefined;
  }

  closeAll(): void {
    for (const socket of this.#owners.keys()) socket.destroy();
  }
}

/** Of a server that is the kernel's to give a port to. */
export function listen(server: Server, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port: 0 }, () => {
      server.off('error', reject);
      const at = server.address();
      resolve(at === null || typeof at === 'string' ? 0 : at.port);
    });
  });
}
