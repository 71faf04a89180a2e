/** Virtual networks of a configuration: their routing instances, which are our VRFs, subnets and VNIs. Pure. */
import { canonicalIp, isIp, parseIp } from '../addr/ip.ts';
import {
  addressBits,
  contains,
  formatPrefix,
  hostPrefix,
  maskBytes,
  type PrefixText,
  parsePrefix,
} from '../addr/prefix.ts';
import type { VrfFile } from '../config/node.ts';
import type { ConfigGraph, ConfigNode } from '../ifmap/graph.ts';
import { byText, isVrfName, type Note } from './desired.ts';

export type Network = ConfigNode<'virtual-network'>;

export interface Subnet {
  readonly prefix: PrefixText;
  readonly gateway: string | undefined;
}

/** Bits past the length are none of its, as whoever matches by it has it. Undefined: no prefix. */
export function prefixOf(address?: string, length?: number): PrefixText | undefined {
  if (address === undefined || length === undefined || !isIp(address)) return undefined;
  const { family, bytes } = parseIp(address);
  if (length > addressBits(family)) return undefined;
  return formatPrefix({ family, bytes: maskBytes(bytes, length), length });
}

export function subnetsOf(graph: ConfigGraph, network: Network): Subnet[] {
  return graph
    .neighbours(network, 'virtual-network-network-ipam')
    .flatMap(({ properties }) => properties.value?.subnets ?? [])
    .flatMap(({ subnet, gateway }) => {
      const prefix = prefixOf(subnet?.prefix, subnet?.length);
      return prefix === undefined ? [] : [{ prefix, gateway }];
    });
}

/** Of the longest subnet that has the address, if that says one. */
export function gatewayOf(subnets: readonly Subnet[], address: string): string | undefined {
  const host = parsePrefix(hostPrefix(address));
  const [best] = subnets
    .map((subnet) => ({ ...subnet, parsed: parsePrefix(subnet.prefix) }))
    .filter(({ parsed }) => parsed.family === host.family && contains(parsed, host))
    .sort((a, b) => b.parsed.length - a.parsed.length || byText(a.prefix, b.prefix));
  const gateway = best?.gateway;
  if (gateway === undefined || !isIp(gateway)) return undefined;
  if (canonicalIp(gateway) === canonicalIp(address)) return undefined;
  return gateway.includes(':') === address.includes(':') ? gateway : undefined;
}

/** The one its interfaces are in: said to be, or named after it, or the first. */
export function instanceOf(graph: ConfigGraph, network: Network): string | undefined {
  const instances = graph.neighbours(network, 'routing-instance');
  const own = `${network.name}:${network.name.split(':').at(-1)}`;
  const found =
    instances.find(({ properties }) => properties.isDefault === true) ??
    instances.find(({ name }) => name === own) ??
    instances[0];
  return found?.name;
}

/** Networks whose instances have become VRFs. */
export class Instances {
  readonly #graph: ConfigGraph;
  readonly #networks = new Map<string, Network>();

  constructor(graph: ConfigGraph) {
    this.#graph = graph;
  }

  /** The VRF of a network, or why there is none. */
  of(network: Network): { readonly vrf: string } | { readonly lacks: string } {
    const instance = instanceOf(this.#graph, network);
    if (instance === undefined) return { lacks: `no routing-instance of ${network.name}` };
    if (isVrfName(instance)) return { vrf: instance };
    return { lacks: `routing-instance ${instance.slice(0, 200)}: no name that a VRF can have` };
  }

  /** Somebody is in it. */
  use(network: Network): void {
    const instance = instanceOf(this.#graph, network);
    if (instance !== undefined) this.#networks.set(instance, network);
  }

  /** Those that were used. A VNI is one VRF's: the first's by name. */
  vrfs(notes: Note[]): VrfFile[] {
    const taken = new Map<number, string>();
    return [...this.#networks]
      .sort(([a], [b]) => byText(a, b))
      .map(([name, network]) => {
        const vni = vniOf(network);
        // One with a name that routes cannot say has its instance's.
        const said = isVrfName(network.name) ? { name, network: network.name } : { name };
        if (vni === undefined) return said;
        const other = taken.get(vni);
        if (other !== undefined) {
          const what = `VNI ${vni} is ${other}'s: it has none here`;
          notes.push({ object: `routing-instance ${name}`, what });
          return said;
        }
        taken.set(vni, name);
        return { ...said, vni };
      });
  }
}

/** Routed networks are not bridged between nodes. */
function vniOf({ properties }: Network): number | undefined {
  const { networkId, properties: more } = properties;
  if (more?.forwardingMode === 'l3') return undefined;
  const vni = more?.vni || networkId || 0;
  return vni > 0 && vni < 1 << 24 ? vni : undefined;
}
