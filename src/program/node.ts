/**
 * `vrouter node`: one compute node: agent, route sources, a socket for the CLI and for intents at run time,
 * and the data plane: with its worker thread in this process, or in a forwarder process (forwarder-link.ts).
 *
 * Invariants
 *  * A run-time intent is committed before it is answered; one that is refused leaves no trace (its
 *    port is closed again).
 *  * A vif's port lives as long as the vif: opened before it, closed after it.
 *  * stop() leaves nothing behind: socket file, ports, worker thread or forwarder, unless told to.
 *  * Over a forwarder that went on without its agent nothing is committed before what it holds has been
 *    compared with what it should: when all routes are learned, or after LEARN_MS.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import { Agent } from '../agent/agent.ts';
import type { VifIntent } from '../agent/intents.ts';
import { DEFAULT_DIRECTORY } from '../cli/protocol.ts';
import { VERSION } from '../cli/version.ts';
import type { ControlNodeView, StatusView } from '../cli/views.ts';
import type { ConfigText } from '../config/document.ts';
import { mapping, name } from '../config/fields.ts';
import { checkParams, loadNode } from '../config/load.ts';
import {
  type ControlNodesFile,
  floatingIpSchema,
  type NodeFile,
  type PortFile,
  policySchema,
  routeKeySchema,
  routeSchema,
  sourceNatSchema,
  uplinksOf,
  type VifFile,
  type VrfFile,
  vifSchema,
  vrfSchema,
} from '../config/node.ts';
import { LearnedGroups, withGroups } from '../configured/group-members.ts';
import type { Dataplane, DataplaneOptions } from '../dataplane/api.ts';
import { openDataplane } from '../dataplane/dataplane.ts';
import { VRouterError } from '../errors.ts';
import { connectExchange } from '../rib/connect.ts';
import { type Route, type RouteSource, routeKeyText } from '../rib/route.ts';
import { StaticRouteSource } from '../rib/static-source.ts';
import type { ControlNodes } from '../xmpp/control-nodes.ts';
import { captureMethods } from './capture-methods.ts';
import { configurationMethods, configurationStatus } from './configuration-views.ts';
import { Configured } from './configured.ts';
import { controlNodesOf } from './control-connections.ts';
import { ForwarderLink, forwarderLinkOptions } from './forwarder-link.ts';
import { problems, type Symptoms } from './health.ts';
import { hostNetwork, hostSideObjects } from './host-side.ts';
import { tellKernelTier } from './kernel-tier.ts';
import { startMetrics } from './metrics.ts';
import { LEARN_MS as BGP_LEARN_MS, NodeGateway, refuseBgpOf } from './node-gateway.ts';
import {
  floatingIpIntent,
  policyIntent,
  portSpec,
  sourceNatIntent,
  staticRoute,
  staticRouteKey,
  underlayIntent,
  uplinkPort,
  vifIntent,
  vrfIntent,
} from './node-intents.ts';
import type { NodeContext, NodePart, StartPart } from './node-part.ts';
import { startOwnedUnderlay } from './owned-underlay.ts';
import { startPlug } from './plug.ts';
import { startRouteMonitor } from './route-monitor.ts';
import { awaitingEnds, JoinedRouteSource } from './route-sources.ts';
import { clearStale, type Methods, RpcServer } from './rpc-server.ts';
import { startSharedUnderlay } from './shared-underlay.ts';
import { startTenantServices } from './tenant-services.ts';
import { startUplinkLinks } from './uplink-links.ts';
import { viewMethods } from './view-methods.ts';
import { kernelTier, totals, vifs } from './views.ts';

const schemas = {
  none: mapping({}),
  name: mapping({ name }),
  fipAdd: mapping({ vif: name, ...floatingIpSchema.shape }),
  fipRemove: mapping({
    vif: name,
    address: floatingIpSchema.shape.address,
    vrf: name.optional(),
  }),
};

/** Flow events are told in batches, so often; the ring holds what comes between. */
const EVENTS_MS = 1000;

/** How long a resumed forwarder keeps routes that nobody has announced again. */
const LEARN_MS = 5000;

/** The others keep sending to us so long when our agent is gone: its forwarder is not. */
const RESTART_MS = 30_000;

/** In the order of starting. */
const PARTS: readonly StartPart[] = [
  startSharedUnderlay,
  startOwnedUnderlay,
  startUplinkLinks,
  startTenantServices,
  startRouteMonitor,
  startPlug,
  startMetrics,
];

export interface RunningProcess {
  readonly socket: string;
  stop(): Promise<void>;
}

/**
 * Kernels hand over packets of up to 64 KiB, and a buffer has to hold one whole. Pages are only had when
 * they are touched, so small packets cost what they cost in small buffers.
 */
function bufferSizes(file: NodeFile): { buffers?: number; buffer_bytes?: number } {
  const fromKernel = (port: PortFile) => port.kind === 'tap' || port.kind === 'af_packet';
  return uplinksOf(file.underlay).some(({ port }) => fromKernel(port))
    ? { buffers: 2048, buffer_bytes: 66_048 }
    : {};
}

class VrouterNode {
  readonly #file: NodeFile;
  readonly #log: Logger;
  readonly #dataplane: Dataplane;
  readonly #agent: Agent;
  readonly #static: StaticRouteSource;
  readonly #groups = new LearnedGroups();
  /** Static routes in force, by key. */
  readonly #routes = new Map<string, Route>();
  /** Data plane port of each tenant vif. */
  readonly #ports = new Map<string, number>();
  readonly #started = Date.now();
  #control: ControlNodes | undefined;
  #configured: Configured | undefined;
  /** Of a node with `bgp`. */
  readonly #gateway: NodeGateway | undefined;
  #exchange: 'none' | 'connecting' | 'connected' | 'lost' = 'none';
  #lostEvents = 0n;
  readonly #timer: NodeJS.Timeout;
  readonly #parts: NodePart[] = [];
  readonly #forwarder: ForwarderLink | undefined;
  /** Instances whose routes have not all been heard yet. */
  readonly #awaited: ReadonlySet<string>;
  /** Until what a resumed forwarder holds has been compared. */
  #resuming: boolean;
  /** What the data plane said of the last change, if it refused it. */
  #refused: string | undefined;
  #closed = false;
  #leave = false;

  constructor(file: NodeFile, log: Logger, forwarder: ForwarderLink | undefined) {
    this.#file = file;
    this.#log = log;
    this.#forwarder = forwarder;
    this.#dataplane = forwarder?.dataplane ?? openDataplane(dataplaneOptions(file));
    const resume = forwarder?.resumed === true;
    this.#resuming = resume;
    this.#gateway = file.bgp && new NodeGateway(file, log);
    try {
      const uplinks = uplinksOf(file.underlay).map((uplink) =>
        this.#dataplane.addPort(uplinkPort(uplink)),
      );
      for (const route of (file.routes ?? []).map(staticRoute)) {
        this.#routes.set(routeKeyText(route), route);
      }
      this.#static = new StaticRouteSource({
        routes: [...this.#routes.values()],
        schedule: setImmediate,
      });
      const routes = awaitingEnds(this.#sources());
      this.#awaited = routes.awaited;
      const linkLocal = hostNetwork(file);
      this.#agent = new Agent({
        name: file.name,
        dataplane: this.#dataplane,
        routes: routes.source,
        resume,
        underlay: underlayIntent(file.underlay, uplinks),
        ...(linkLocal === undefined ? {} : { linkLocal }),
        oneHop: file.control !== undefined,
        schedule: setImmediate,
      });
      this.#agent.onError((error) => {
        log.error({ err: error }, 'commit refused');
        this.#refused = error.message;
      });
      this.#agent.onCommit(() => {
        this.#refused = undefined;
      });
      this.#declare();
      this.#agent.flush();
      if (!resume) this.#dataplane.start();
      tellKernelTier(file, this.#dataplane, log);
    } catch (error) {
      if (forwarder === undefined) this.#dataplane.close();
      else forwarder.close(resume);
      throw error;
    }
    forwarder?.supervise({
      restore: () => this.#agent.restore(),
      compare: () => {
        if (!this.#resuming) this.#agent.audit();
      },
    });
    this.#timer = setInterval(() => this.#events(), EVENTS_MS);
    this.#timer.unref();
  }

  /** Static routes stand before learned ones. */
  #sources(): RouteSource {
    const { exchange, control, name: node } = this.#file;
    if (control !== undefined) {
      this.#exchange = 'connecting';
      this.#control = this.#controlNodes(control);
      const learned = withGroups(this.#control, this.#groups);
      return new JoinedRouteSource(node, [this.#static, learned]);
    }
    if (this.#gateway !== undefined) {
      return new JoinedRouteSource(node, [this.#static, this.#gateway.source]);
    }
    if (exchange === undefined) return this.#static;
    this.#exchange = 'connecting';
    const learned = connectExchange({
      path: exchange.socket,
      name: node,
      ...(this.#forwarder === undefined
        ? {}
        : { restartMs: RESTART_MS, leaveRoutes: () => this.#leave }),
      onState: (state) => {
        this.#exchange = state;
        this.#log.info({ socket: exchange.socket }, `exchange ${state}`);
      },
      onError: (error) => this.#log.debug({ err: error }, 'exchange'),
    });
    return new JoinedRouteSource(node, [this.#static, learned]);
  }

  #controlNodes(control: ControlNodesFile): ControlNodes {
    return controlNodesOf(this.#file, control, {
      ...(this.#forwarder === undefined ? {} : { leaveRoutes: () => this.#leave }),
      onSession: (name, state, error) => {
        const { headless } = controlSymptoms(this.#control?.view() ?? []);
        this.#exchange = headless ? 'lost' : 'connected';
        this.#log.info(
          { control: name, ...(error && { code: error.code, why: error.message }) },
          `control node ${state}`,
        );
      },
      onFailed: (name, error) => this.#log.debug({ control: name, err: error }, 'control node'),
      onRefused: (name, instance, { name: item, reason }) =>
        this.#log.warn({ control: name, instance, item, reason }, 'item refused'),
    });
  }

  #declare(): void {
    const { host, vrfs, policies, vifs: tenants, source_nats } = this.#file;
    if (host !== undefined) {
      const port = this.#dataplane.addPort(portSpec(host.port));
      this.#agent.setHostVif({
        port,
        ...(host.name === undefined ? {} : { name: host.name }),
        ...(host.mac === undefined ? {} : { mac: host.mac }),
      });
    }
    const own = hostSideObjects(this.#file);
    if (own !== undefined) {
      for (const vrf of own.vrfs) this.#agent.addVrf(vrf);
      this.#agent.addVif(own.vif(this.#openPort(own.name, own.port)));
    }
    for (const vrf of vrfs ?? []) this.#addVrf(vrf);
    for (const policy of policies ?? []) this.#agent.addPolicy(policyIntent(policy));
    for (const vif of tenants ?? [])
      this.#agent.addVif(this.#vifIntent(vif, this.#openPort(vif.name, vif.port)));
    for (const nat of source_nats ?? []) this.#agent.addSourceNat(sourceNatIntent(nat));
  }

  #addVrf(vrf: VrfFile): void {
    if (this.#gateway === undefined) refuseBgpOf(vrf);
    this.#agent.addVrf(vrfIntent(vrf));
    this.#gateway?.addVrf(vrf);
  }

  #removeVrf(name: string): void {
    this.#agent.removeVrf(name);
    this.#gateway?.removeVrf(name);
  }

  #vifIntent(vif: VifFile, port: number): VifIntent {
    return vifIntent(vif, port, this.#file.services);
  }

  #openPort(vif: string, spec: PortFile): number {
    try {
      const port = this.#dataplane.addPort(portSpec(spec));
      this.#ports.set(vif, port);
      return port;
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
      throw new VRouterError(error.code, `vif ${vif}: port: ${error.message}`);
    }
  }

  #closePort(vif: string): void {
    const port = this.#ports.get(vif);
    if (port === undefined) return;
    this.#dataplane.removePort(port);
    this.#ports.delete(vif);
  }

  /** Undefined while there is no forwarder: it may be this call that finds out. */
  #drain(): ReturnType<Dataplane['drainEvents']> | undefined {
    try {
      return this.#dataplane.drainEvents();
    } catch (error) {
      if (this.#forwarder === undefined) throw error;
      return undefined;
    }
  }

  #events(): void {
    const drained = this.#drain();
    if (drained === undefined) return;
    const { events, lost } = drained;
    if (lost > this.#lostEvents) {
      this.#log.warn({ lost: `${lost - this.#lostEvents}` }, 'flow events lost: the ring was full');
      this.#lostEvents = lost;
    }
    if (this.#log.isLevelEnabled('trace')) {
      for (const { timeNs, packets, bytes, ...flow } of events) {
        const counts = { timeNs: `${timeNs}`, packets: `${packets}`, bytes: `${bytes}` };
        this.#log.trace({ ...flow, ...counts }, `flow ${flow.kind}`);
      }
    }
  }

  /** Does it and brings it to the data plane; `undo` takes it back when the data plane refuses. */
  #commit(change: () => void, undo?: () => void): { generation: number } {
    change();
    try {
      return { generation: this.#agent.flush() };
    } catch (error) {
      if (undo !== undefined) {
        undo();
        this.#agent.flush();
      }
      throw error;
    }
  }

  #addVif(vif: VifFile): { generation: number; port: number } {
    if (this.#agent.vif(vif.name) !== undefined) {
      throw new VRouterError('CONFLICT', `vif ${vif.name} exists already`);
    }
    // A file plays from the moment it is a port: the worker waits until there is a vif for it.
    if (vif.port.kind !== 'pcap') return this.#bindVif(vif);
    this.#dataplane.stop();
    try {
      return this.#bindVif(vif);
    } finally {
      this.#dataplane.start();
    }
  }

  #bindVif(vif: VifFile): { generation: number; port: number } {
    const port = this.#openPort(vif.name, vif.port);
    try {
      const done = this.#commit(
        () => this.#agent.addVif(this.#vifIntent(vif, port)),
        () => this.#agent.removeVif(vif.name),
      );
      return { ...done, port };
    } catch (error) {
      this.#closePort(vif.name);
      throw error;
    }
  }

  #removeVif(vif: string): { generation: number } {
    const done = this.#commit(() => this.#agent.removeVif(vif));
    this.#closePort(vif);
    return done;
  }

  #setRoute(key: string, route: Route | undefined): { generation: number } {
    if (route === undefined) {
      if (!this.#routes.delete(key))
        throw new VRouterError('NOT_FOUND', 'there is no such static route');
    } else {
      this.#routes.set(key, route);
    }
    this.#static.replace([...this.#routes.values()]);
    this.#static.flush();
    return { generation: this.#agent.flush() };
  }

  #status(): StatusView {
    const info = this.#dataplane.info();
    const unresolved = this.#agent.unresolved();
    const control = this.#control?.view();
    const configuration = this.#configured && configurationStatus(this.#configured);
    const bgp = this.#gateway?.neighbours().map(({ name, state, enabled }) => {
      return { name, state: enabled ? state : 'disabled' };
    });
    return {
      name: this.#file.name,
      version: VERSION,
      pid: process.pid,
      uptimeSeconds: Math.floor((Date.now() - this.#started) / 1000),
      addon: info.addon,
      workers: info.workers,
      kernelTier: kernelTier(info),
      generation: info.generation,
      vrfs: this.#agent.vrfs().length,
      vifs: this.#agent.vifs().length,
      flows: { used: info.flowsUsed, entries: info.flowEntries },
      buffers: { free: info.buffersFree, total: info.buffers },
      totals: totals(this.#dataplane),
      exchange: this.#exchange,
      ...(control && { control }),
      ...(bgp && { bgp }),
      ...(configuration && { configuration }),
      unresolved: unresolved.length,
      problems: problems({
        info,
        vifs: vifs(this.#dataplane),
        exchange: control === undefined ? this.#exchange : 'none', // said one by one
        ...(control && { control: controlSymptoms(control) }),
        ...(bgp && { bgp }),
        ...(configuration && {
          configuration: { waiting: configuration.waiting, notes: this.#configured?.notes ?? [] },
        }),
        unresolved,
        refused: this.#refused,
      }),
    };
  }

  context(): NodeContext {
    return {
      file: this.#file,
      log: this.#log,
      dataplane: this.#dataplane,
      agent: this.#agent,
      commit: (change, undo) => this.#commit(change, undo),
      addVif: (vif) => this.#addVif(vif),
      removeVif: (vif) => this.#removeVif(vif),
      ...(this.#configured && { configured: this.#configured }),
      ...(this.#gateway && { gateway: this.#gateway }),
    };
  }

  /** Ports that wait are known before control nodes are asked. */
  #startConfigured(): void {
    const client = this.#control?.configuration;
    if (client === undefined) return;
    this.#configured = new Configured(client, this.#groups, this.context());
    for (const { name, ...port } of this.#file.ports ?? []) this.#configured.add(name, port);
  }

  async startParts(text: ConfigText): Promise<void> {
    this.#startConfigured();
    for (const start of PARTS) {
      const part = await start(this.context());
      if (part !== undefined) this.#parts.push(part);
    }
    // Ports that were plugged are known again: what is published is whole.
    this.#control?.start();
    await this.#gateway?.start(text, this.#forwarder !== undefined);
  }

  /** Over a forwarder that went on: the difference to what it should be, once that is known. */
  async finishResuming(): Promise<void> {
    if (this.#forwarder?.resumed !== true) return;
    const end = Date.now() + (this.#gateway === undefined ? LEARN_MS : BGP_LEARN_MS);
    const learned = () => this.#awaited.size === 0 && this.#configured?.complete !== false;
    while (!learned() && Date.now() < end && !this.#closed) await sleep(10);
    if (this.#closed) return;
    const complete = learned();
    this.#resuming = false;
    const ops = this.#agent.audit();
    this.#agent.flush();
    const closed = this.#forwarder.dataplane.dropUnclaimedPorts();
    this.#log.info({ ops: ops.length, closed, complete }, 'resumed');
  }

  async stopParts(goesOn: boolean): Promise<void> {
    this.#gateway?.stop(goesOn);
    for (const part of this.#parts.splice(0).toReversed()) await part.stop?.(goesOn);
  }

  methods(): Methods {
    const agent = this.#agent;
    return {
      ...viewMethods(this.#dataplane),
      ...captureMethods(this.#dataplane),
      ...Object.assign({}, ...this.#parts.map((part) => part.methods)),
      ...(this.#configured && configurationMethods(this.#configured)),
      ...this.#gateway?.methods(),
      status: (params) => {
        checkParams(schemas.none, 'status', params);
        return this.#status();
      },
      'vrf.add': (params) => {
        const vrf = checkParams(vrfSchema, 'vrf.add', params);
        return this.#commit(
          () => this.#addVrf(vrf),
          () => this.#removeVrf(vrf.name),
        );
      },
      'vrf.remove': (params) => {
        const vrf = checkParams(schemas.name, 'vrf.remove', params);
        return this.#commit(() => this.#removeVrf(vrf.name));
      },
      'vif.add': (params) => this.#addVif(checkParams(vifSchema, 'vif.add', params)),
      'vif.remove': (params) =>
        this.#removeVif(checkParams(schemas.name, 'vif.remove', params).name),
      'fip.add': (params) => {
        const { vif, ...fip } = checkParams(schemas.fipAdd, 'fip.add', params);
        return this.#commit(
          () => agent.addFloatingIp(vif, floatingIpIntent(fip)),
          () => agent.removeFloatingIp(vif, fip.address, fip.vrf),
        );
      },
      'fip.remove': (params) => {
        const fip = checkParams(schemas.fipRemove, 'fip.remove', params);
        return this.#commit(() => agent.removeFloatingIp(fip.vif, fip.address, fip.vrf));
      },
      'policy.set': (params) => {
        const policy = checkParams(policySchema, 'policy.set', params);
        return this.#commit(() => agent.addPolicy(policyIntent(policy)));
      },
      'policy.remove': (params) => {
        const policy = checkParams(schemas.name, 'policy.remove', params);
        return this.#commit(() => agent.removePolicy(policy.name));
      },
      'snat.add': (params) => {
        const nat = checkParams(sourceNatSchema, 'snat.add', params);
        return this.#commit(
          () => agent.addSourceNat(sourceNatIntent(nat)),
          () => agent.removeSourceNat(nat.name),
        );
      },
      'snat.remove': (params) => {
        const nat = checkParams(schemas.name, 'snat.remove', params);
        return this.#commit(() => agent.removeSourceNat(nat.name));
      },
      'route.set': (params) => {
        const route = staticRoute(checkParams(routeSchema, 'route.set', params));
        return this.#setRoute(routeKeyText(route), route);
      },
      'route.remove': (params) => {
        const key = staticRouteKey(checkParams(routeKeySchema, 'route.remove', params));
        return this.#setRoute(routeKeyText(key), undefined);
      },
      'route.unresolved': (params) => {
        checkParams(schemas.none, 'route.unresolved', params);
        return agent.unresolved();
      },
    };
  }

  close(leaveForwarder = false): void {
    this.#closed = true;
    this.#leave = leaveForwarder;
    clearInterval(this.#timer);
    this.#configured?.close();
    this.#agent.close();
    if (this.#forwarder !== undefined) {
      this.#forwarder.close(leaveForwarder);
      return;
    }
    this.#dataplane.stop();
    this.#dataplane.close();
  }
}

function controlSymptoms(nodes: readonly ControlNodeView[]): NonNullable<Symptoms['control']> {
  const tried = nodes.filter(({ state }) => state !== 'spare');
  const away = tried.filter(({ state }) => state !== 'established').map((node) => node.name);
  return { away, headless: away.length === tried.length };
}

function dataplaneOptions(file: NodeFile): DataplaneOptions {
  const options = { ...bufferSizes(file), ...file.dataplane };
  return {
    ...(options.flow_entries === undefined ? {} : { flowEntries: options.flow_entries }),
    ...(options.buffers === undefined ? {} : { buffers: options.buffers }),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    ...(options.kernel_tier === undefined ? {} : { kernelTier: options.kernel_tier }),
    ...(options.look_us === undefined ? {} : { lookUs: options.look_us }),
    ...(options.buffer_bytes === undefined ? {} : { bufferBytes: options.buffer_bytes }),
    ...(options.seed === undefined ? {} : { seed: BigInt(options.seed) }),
  };
}

export interface NodeOptions {
  /** stop() leaves a forwarder of its own forwarding, for the next agent. */
  readonly leaveForwarder?: boolean;
}

export async function startNode(
  configFile: string,
  options: NodeOptions = {},
): Promise<RunningProcess> {
  const { value: file, text } = loadNode(configFile);
  const log = pino(
    { name: file.name, level: file.log?.level ?? 'info' },
    pino.destination({ fd: 2, sync: true }),
  );
  const socket = file.socket ?? `${DEFAULT_DIRECTORY}/${file.name}.sock`;
  // Two agents must not come to one forwarder.
  if (file.forwarder !== undefined) await clearStale(socket);
  const forwarder =
    file.forwarder === undefined
      ? undefined
      : await ForwarderLink.open(forwarderLinkOptions(file, dataplaneOptions(file), log));
  const node = new VrouterNode(file, log, forwarder);
  let server: RpcServer;
  try {
    await node.startParts(text);
    server = await RpcServer.listen(socket, node.methods(), (method, error) =>
      log.error({ err: error, method }, 'method failed'),
    );
    void node.finishResuming().catch((error) => log.error({ err: error }, 'resuming failed'));
  } catch (error) {
    await node.stopParts(forwarder?.resumed === true);
    node.close(forwarder?.resumed); // one that went on without us goes on
    throw error;
  }
  log.info({ socket }, 'ready');
  return {
    socket,
    async stop() {
      log.info('stopping');
      await server.close();
      await node.stopParts(forwarder !== undefined && options.leaveForwarder === true);
      node.close(options.leaveForwarder);
    },
  };
}
