/** A health check by HTTP, by the host's own stack: whether the answer to one GET is 200 to 399. */
import { request } from 'node:http';

const MAX_HEADER_BYTES = 8192;

export interface HttpProbe {
  /** Ours, in the network tenants are reached by. */
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly path: string;
  /** What it is asked as: the tenant's own address. */
  readonly host: string;
  readonly timeoutMs: number;
}

/** Nothing of the answer but its status is read. */
export function probeHttp({ from, to, port, path, host, timeoutMs }: HttpProbe): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({
      host: to,
      port,
      path,
      localAddress: from,
      agent: false,
      headers: { host: `${host}:${port}`, 'user-agent': 'vrouter-health', connection: 'close' },
      maxHeaderSize: MAX_HEADER_BYTES,
      signal: AbortSignal.timeout(timeoutMs),
    });
    asked.on('response', ({ statusCode = 0 }) => {
      resolve(statusCode >= 200 && statusCode < 400);
      asked.destroy();
    });
    asked.on('error', () => resolve(false));
    asked.end();
  });
}
