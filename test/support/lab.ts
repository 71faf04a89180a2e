/**
 * What scenario tests on real kernels ask first and do most: whether this machine can run them, and calls to a
 * node's socket.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Client } from '../../src/cli/client.ts';
import { haveCommand, type Lab } from '../../src/program/lab.ts';

/** What every lab of pods behind TAPs uses. */
const ALWAYS = ['ip', 'nsenter', 'setpriv'];

function missing(tools: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'root is needed';
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) {
    return 'network namespaces cannot be made here';
  }
  if (!existsSync('/dev/net/tun')) return 'there is no /dev/net/tun';
  const none = [...ALWAYS, ...tools].find((name) => !haveCommand(name));
  return none === undefined ? undefined : `${none} is not installed`;
}

/** Why this machine cannot run a test that needs these commands too; with CI=true that is an error. */
export function whyNot(...tools: readonly string[]): string | undefined {
  const why = missing(tools);
  if (why !== undefined && process.env.CI === 'true') throw new Error(`cannot run: ${why}`);
  if (why !== undefined) console.log(`skipped: ${why}`);
  return why;
}

/** One connection for as long as `work` takes. */
export async function withClient<T>(
  socket: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await Client.connect(socket);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

export const callAt = <T>(socket: string, method: string, params: unknown = {}): Promise<T> =>
  withClient(socket, (client) => client.call<T>(method, params));

/** Until the node of this socket answers. */
export const answers = (lab: Lab, what: string, socket: string, patienceMs = 20_000) =>
  lab.until(what, () => withClient(socket, async () => true), patienceMs);
