/**
 * Metrics and health of a process over HTTP on loopback: /metrics for Prometheus, /healthz (it runs), /readyz (it
 * does what it is there for). Values are read when they are asked for.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';

export interface Readings {
  /** Brings the registry up to date. */
  readonly read: () => void | Promise<void>;
  /** After read(): why it is not ready, in words; undefined: it is. */
  readonly notReady: () => Promise<string | undefined>;
}

export interface MetricsServer {
  readonly port: number;
  readonly stop: () => void;
}

interface Page {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const plain = (status: number, text: string): Page => ({
  status,
  type: 'text/plain',
  text: `${text}\n`,
});

/** Rejects when the port cannot be had. */
export async function serveMetrics(
  at: { readonly host?: string | undefined; readonly port: number },
  registry: Registry,
  log: Logger,
  { read, notReady }: Readings,
): Promise<MetricsServer> {
  const pages: Readonly<Record<string, () => Promise<Page>>> = {
    '/metrics': async () => {
      await read();
      return { status: 200, type: registry.contentType, text: await registry.metrics() };
    },
    '/healthz': async () => plain(200, 'alive'),
    '/readyz': async () => {
      await read();
      const why = await notReady();
      return why === undefined ? plain(200, 'ready') : plain(503, why);
    },
  };
  const server = createServer((request, response) => {
    const path = (request.url ?? '').split('?')[0] as string;
    const page = request.method === 'GET' && Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page === undefined) {
      response.writeHead(404).end();
      return;
    }
    page().then(
      ({ status, type, text }) => response.writeHead(status, { 'content-type': type }).end(text),
      (error: unknown) => {
        log.error({ err: error }, 'metrics');
        response.writeHead(500).end();
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.host ?? '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
