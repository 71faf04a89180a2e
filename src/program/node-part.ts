/**
 * What a node is made of besides its data plane and agent: parts, each in its own file, listed once in
 * node.ts. A part is started when the node forwards, gets what it may use, and answers with the methods it
 * serves on the node's socket. Parts do not know each other.
 */
import type { Logger } from 'pino';
import type { Agent } from '../agent/agent.ts';
import type { ConfiguredPortFile, NodeFile, VifFile } from '../config/node.ts';
import type { Dataplane } from '../dataplane/api.ts';
import type { Standing } from '../plug/ports.ts';
import type { NodeGateway } from './node-gateway.ts';
import type { Methods } from './rpc-server.ts';

/** Ports of which control nodes say what they are (configured.ts). */
export interface ConfiguredPorts {
  has(name: string): boolean;
  add(name: string, port: ConfiguredPortFile): Standing;
  change(name: string, port: ConfiguredPortFile): Standing;
  remove(name: string): void;
  /** How many have no vif yet. */
  readonly waiting: number;
  /** What has become of one, whenever that changes. */
  onStanding(listener: (name: string, standing: Standing) => void): void;
}

export interface NodeContext {
  readonly file: NodeFile;
  readonly log: Logger;
  readonly dataplane: Dataplane;
  readonly agent: Agent;
  /** Does it and brings it to the data plane; `undo` takes it back when the data plane refuses. */
  commit(change: () => void, undo?: () => void): { readonly generation: number };
  /** With its port, whole or not at all. */
  addVif(vif: VifFile): { readonly generation: number; readonly port: number };
  removeVif(name: string): { readonly generation: number };
  /** Undefined: the node file does not ask for it. */
  readonly configured?: ConfiguredPorts;
  /** Undefined: the node file has no `bgp`. It starts after all parts. */
  readonly gateway?: NodeGateway;
}

export interface NodePart {
  readonly methods?: Methods;
  /** In the opposite order of starting. goesOn: a forwarder is left forwarding, for the next agent. */
  stop?(goesOn: boolean): void | Promise<void>;
}

/** Undefined: the node file does not ask for it. */
export type StartPart = (node: NodeContext) => NodePart | undefined | Promise<NodePart | undefined>;
