/**
 * http://169.254.169.254/ of the tenants: requests are passed on to the metadata server, with who asks in their
 * headers, as the ancestor's proxy does: X-Forwarded-For, X-Instance-ID, X-Tenant-ID, and an HMAC-SHA256 of the
 * instance that shows the server that it was us who said so.
 *
 * Invariants
 *  * Who asks is known by the connection. Headers a tenant may say it with never reach the server, however
 *    they are spelled: to some servers X_Instance_ID is the same.
 *  * A request is read whole, and made anew: what the server sees was framed by us, never by a tenant.
 *  * Connections, headers, bodies and time have limits; a connection has one request at a time, so there are no
 *    more to the server than from tenants.
 */
import { createHmac } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { LinkLocalPeers, listen, type Peer, type PeerOf } from './link-local-peers.ts';

export interface MetadataOptions {
  readonly peerOf: PeerOf;
  /** Where the server is. */
  readonly to: { readonly url: string } | { readonly socket: string };
  readonly sharedSecret: string | undefined;
}

export const MAX_HEADER_BYTES = 8192;
export const MAX_HEADERS = 64;
export const MAX_REQUEST_BYTES = 65_536;
export const MAX_RESPONSE_BYTES = 16 << 20;
const MAX_REQUESTS_PER_CONNECTION = 1000;
const REQUEST_MS = 10_000;
const SERVER_MS = 10_000;
const IDLE_MS = 5000;
/** A tenant that does not take its answer. */
const STUCK_MS = 30_000;
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS']);

/** Of one connection only (RFC 9110 §7.6.1), or made anew. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** What proxies say of clients. */
const OF_A_PROXY =
  /^(?:forwarded|via|(?:x-)?real-ip|x-forwarded.*|x-instance-id.*|x-tenant-id.*|x-project-id.*|x-metadata-provider.*)$/;

class TooLarge extends Error {}

function namedBy({ headers }: IncomingMessage): Set<string> {
  const { connection = '' } = headers;
  return new Set(connection.split(',').map((word) => word.trim().toLowerCase()));
}

/** The tenant's own that may go on. */
function passed(message: IncomingMessage): OutgoingHttpHeaders {
  const named = namedBy(message);
  const out: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(message.headers)) {
    const spelled = name.replaceAll('_', '-');
    if (OF_THE_CONNECTION.has(spelled) || OF_A_PROXY.test(spelled) || named.has(name)) continue;
    out[name] = value;
  }
  return out;
}

async function wholeBody(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of message) {
    size += (part as Buffer).length;
    if (size > MAX_REQUEST_BYTES) throw new TooLarge();
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts);
}

export class MetadataProxy {
  readonly counters = {
    connections: 0,
    stranger: 0,
    overflow: 0,
    requests: 0,
    answered: 0,
    refused: 0,
    failed: 0,
  };
  readonly #options: MetadataOptions;
  readonly #server: Server;
  readonly #peers: LinkLocalPeers;
  /** Connections with a request under way. */
  readonly #busy = new WeakSet<Socket>();

  constructor(options: MetadataOptions) {
    this.#options = options;
    this.#peers = new LinkLocalPeers(options.peerOf, this.counters);
    this.#server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: REQUEST_MS,
        requestTimeout: REQUEST_MS,
        keepAliveTimeout: IDLE_MS,
        connectionsCheckingInterval: 1000,
      },
      (message, answer) => {
        void this.#serve(message, answer);
      },
    );
    this.#server.maxHeadersCount = MAX_HEADERS;
    this.#server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
    this.#server.setTimeout(STUCK_MS, (socket: Socket) => socket.destroy());
    this.#server.on('connection', (socket: Socket) => this.#peers.admit(socket));
    this.#server.on('clientError', (_, socket) => {
      this.counters.refused++;
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      else socket.destroy();
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

  async #serve(message: IncomingMessage, answer: ServerResponse): Promise<void> {
    this.counters.requests++;
    const peer = this.#peers.owner(message.socket);
    const { method = '', url = '' } = message;
    if (peer === undefined) {
      this.counters.stranger++;
      message.socket.destroy();
      return;
    }
    const { socket } = message;
    if (this.#busy.has(socket)) {
      this.counters.overflow++;
      socket.destroy();
      return;
    }
    this.#busy.add(socket);
    answer.on('close', () => this.#busy.delete(socket));
    if (!METHODS.has(method)) return this.#refuse(answer, 405);
    if (!url.startsWith('/')) return this.#refuse(answer, 400);
    try {
      this.#forward(message, await wholeBody(message), peer, answer);
    } catch (error) {
      // Else the tenant has gone in the middle of its request.
      if (error instanceof TooLarge) this.#refuse(answer, 413);
      else message.socket.destroy();
    }
  }

  #forward(message: IncomingMessage, body: Buffer, peer: Peer, answer: ServerResponse): void {
    const { to } = this.#options;
    const asked = request({
      ...address(to),
      agent: false,
      method: message.method as string,
      path: message.url as string,
      headers: { ...passed(message), ...this.#said(peer, message), 'content-length': body.length },
      maxHeaderSize: MAX_HEADER_BYTES,
      signal: AbortSignal.timeout(SERVER_MS),
    });
    asked.on('response', (response) => this.#pass(response, answer));
    asked.on('error', (error) => this.#fail(answer, error.name === 'AbortError' ? 504 : 502));
    answer.on('close', () => asked.destroy());
    asked.end(body);
  }

  #pass(response: IncomingMessage, answer: ServerResponse): void {
    let size = 0;
    response.on('data', (part: Buffer) => {
      size += part.length;
      // Whoever is told a length sees that this is not all of it.
      if (size > MAX_RESPONSE_BYTES) answer.destroy();
    });
    response.on('error', () => answer.destroy());
    const named = namedBy(response);
    const kept = Object.entries(response.headers).filter(
      ([name]) => name === 'content-length' || (!OF_THE_CONNECTION.has(name) && !named.has(name)),
    );
    answer.writeHead(response.statusCode as number, Object.fromEntries(kept));
    this.counters.answered++;
    response.pipe(answer);
  }

  /** What the server is told of who asks. */
  #said({ address: own, instanceId, tenantId }: Peer, message: IncomingMessage) {
    const { sharedSecret, to } = this.#options;
    const sign = (key: string) => createHmac('sha256', key).update(instanceId).digest('hex');
    return {
      host: 'url' in to ? new URL(to.url).host : (message.headers.host ?? ''),
      'x-forwarded-for': own,
      'x-instance-id': instanceId,
      'x-tenant-id': tenantId,
      ...(sharedSecret === undefined ? {} : { 'x-instance-id-signature': sign(sharedSecret) }),
    };
  }

  #refuse(answer: ServerResponse, status: number): void {
    this.counters.refused++;
    answer.writeHead(status, { connection: 'close' }).end();
  }

  #fail(answer: ServerResponse, status: number): void {
    if (answer.destroyed) return;
    this.counters.failed++;
    if (answer.headersSent) answer.destroy();
    else answer.writeHead(status).end();
  }
}

function address(to: MetadataOptions['to']) {
  if ('socket' in to) return { socketPath: to.socket };
  const { hostname, port } = new URL(to.url);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) };
}
