/**
 * A link-local service of one (address, port): tenants' connections are joined to connections of the host's to
 * where the service is. What it sees is the host, not the tenant.
 * Invariant: two connections live and die together; each side's bytes wait only as long as the other does not
 * take them (streams), and a pair on which nothing moves is closed.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { LinkLocalPeers, listen, type PeerOf } from './link-local-peers.ts';

const CONNECT_MS = 5000;
const IDLE_MS = 300_000;

export class TcpProxy {
  readonly counters = { connections: 0, stranger: 0, overflow: 0, failed: 0 };
  readonly #to: { readonly address: string; readonly port: number };
  readonly #server: Server;
  readonly #peers: LinkLocalPeers;

  constructor(to: { readonly address: string; readonly port: number }, peerOf: PeerOf) {
    this.#to = to;
    this.#peers = new LinkLocalPeers(peerOf, this.counters);
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (tenant) => {
      if (this.#peers.admit(tenant)) this.#join(tenant);
    });
  }

  /** Returns the port. */
  listen(host: string): Promise<number> {
    return listen(this.#server, host);
  }

  close(): void {
    this.#server.close();
    this.#peers.closeAll();
  }

  #join(tenant: Socket): void {
    const { address: host, port } = this.#to;
    const far = connect({ host, port, allowHalfOpen: true });
    const end = () => {
      tenant.destroy();
      far.destroy();
    };
    const late = setTimeout(() => far.destroy(new Error('no answer')), CONNECT_MS);
    far.on('error', () => {
      if (far.connecting || far.bytesRead === 0) this.counters.failed++;
      end();
    });
    far.on('close', () => clearTimeout(late));
    // One that was reset is reset there, too: a server that waits for half-closed peers sees it.
    tenant.on('error', () => far.resetAndDestroy());
    tenant.on('close', () => far.destroy());
    far.on('connect', () => {
      clearTimeout(late);
      for (const socket of [tenant, far]) socket.setTimeout(IDLE_MS, end);
      const broken = (error: NodeJS.ErrnoException | null) => {
        if (error !== null && error !== undefined) end();
      };
      pipeline(tenant, far, broken);
      pipeline(far, tenant, broken);
      tenant.resume();
    });
  }
}
