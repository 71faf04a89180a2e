/**
 * Network namespaces of the kernel, by iproute2's `ip` and util-linux's `nsenter`: made, joined by veth
 * pairs and a bridge, looked at, removed.
 *
 * Invariants
 *  * Nothing outside the namespaces made here changes: interfaces are born inside, settings are written
 *    inside.
 *  * A prepared namespace has its loopback up and IPv6 off: no neighbour discovery or listener reports that
 *    nobody asked for.
 *  * A command that fails is a CommandError that names the command and holds its own words.
 */
import { execFile, spawnSync } from 'node:child_process';

export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code = 'COMMAND_FAILED';
}

const TIMEOUT_MS = 20_000;
const MAX_OUTPUT = 16 << 20;

/** Standard output of a command that ends soon; throws when it fails. */
export function command(argv: readonly string[]): Promise<string> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const options = { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT };
    execFile(file, args, options, (error, out, err) => {
      if (error === null) return resolve(out);
      const why = err.trim() === '' ? error.message : err.trim();
      reject(new CommandError(`${argv.join(' ')}: ${why}`));
    });
  });
}

function commandNow(argv: readonly string[]): void {
  const [file = '', ...args] = argv;
  const { status, stderr, error } = spawnSync(file, args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new CommandError(`${argv.join(' ')}: ${error?.message ?? stderr.trim()}`);
}

/** What the kernel counts of an interface, seen from inside: rx is what came in. */
export interface InterfaceCounters {
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly rxDropped: number;
  readonly txDropped: number;
}

interface LinkJson {
  readonly stats64: {
    readonly rx: { readonly packets: number; readonly dropped: number };
    readonly tx: { readonly packets: number; readonly dropped: number };
  };
}

export class NetworkNamespace {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Synchronous: whoever makes it can note it before anything else happens, and so remove it. */
  static make(name: string): NetworkNamespace {
    commandNow(['ip', 'netns', 'add', name]);
    return new NetworkNamespace(name);
  }

  /** To be done first. */
  async prepare(): Promise<void> {
    await this.set('net/ipv6/conf/default/disable_ipv6', '1');
    await this.set('net/ipv6/conf/all/disable_ipv6', '1');
    await this.ip('link', 'set', 'lo', 'up');
  }

  get path(): string {
    return `/run/netns/${this.name}`;
  }

  /** The command line that runs `argv` inside, as the same process. */
  enter(argv: readonly string[]): string[] {
    return ['nsenter', `--net=${this.path}`, ...argv];
  }

  /** `ip` inside. */
  ip(...args: string[]): Promise<string> {
    return command(['ip', '-n', this.name, ...args]);
  }

  /** A file of /proc/sys, by its path; net/ is the namespace's own. */
  async set(key: string, value: string): Promise<void> {
    const file = `/proc/sys/${key}`;
    // Kernels without IPv6 have nothing to switch off.
    const script = '[ ! -e "$1" ] || echo "$2" > "$1"';
    await command(this.enter(['sh', '-c', script, 'sh', file, value]));
  }

  async counters(link: string): Promise<InterfaceCounters> {
    const text = await this.ip('-s', '-j', 'link', 'show', 'dev', link);
    const [found] = JSON.parse(text) as LinkJson[];
    if (found === undefined) throw new CommandError(`${this.name}: no interface ${link}`);
    const { rx, tx } = found.stats64;
    return {
      rxPackets: rx.packets,
      txPackets: tx.packets,
      rxDropped: rx.dropped,
      txDropped: tx.dropped,
    };
  }

  /** MAC the kernel has learned for an address. */
  async neighbour(address: string): Promise<string | undefined> {
    const text = await this.ip('-j', 'neigh', 'show', 'to', address);
    const [found] = JSON.parse(text.trim() === '' ? '[]' : text) as { lladdr?: string }[];
    return found?.lladdr;
  }

  /** Interfaces inside go with it. Synchronous, so that it can be done while this process ends. */
  remove(): void {
    commandNow(['ip', 'netns', 'del', this.name]);
  }
}

export interface VethEnd {
  readonly namespace: NetworkNamespace;
  readonly name: string;
  readonly mac?: string;
}

/** A cable between two namespaces; both ends are left down. */
export async function connectVeth(a: VethEnd, b: VethEnd): Promise<void> {
  const address = ({ mac }: VethEnd) => (mac === undefined ? [] : ['address', mac]);
  await command([
    ...['ip', 'link', 'add', a.name, 'netns', a.namespace.name, ...address(a)],
    ...['type', 'veth'],
    ...['peer', 'name', b.name, 'netns', b.namespace.name, ...address(b)],
  ]);
}

/** A switch that forwards at once and says nothing by itself: no spanning tree, no group queries. */
export async function addBridge(namespace: NetworkNamespace, name: string): Promise<void> {
  const quiet = ['stp_state', '0', 'forward_delay', '0', 'mcast_snooping', '0'];
  await namespace.ip('link', 'add', name, 'type', 'bridge', ...quiet);
  await namespace.ip('link', 'set', name, 'up');
}
