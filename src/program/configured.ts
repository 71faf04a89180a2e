/**
 * Ports of which control nodes say what they are: `control.configuration` in the node file. What comes over the channel
 * (xmpp/config-client.ts) is translated whole (src/configured/) and brought to the agent as differences.
 *
 * Invariants
 *  * What is equal to what is there makes no step, so a configuration that is told again changes nothing: no Program, no
 *    id, no label.
 *  * A step that is refused stops no other; it is named, and tried again with the next change and after RETRY_MS.
 *  * VRFs of the node file are used where configuration names them, and not changed or removed.
 *  * Several changes in a row are one: APPLY_QUIET_MS after the last, APPLY_LATEST_MS after the first.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ConfiguredPortFile, PolicyFile, VifFile, VrfFile } from '../config/node.ts';
import type { ConfiguredVif, DesiredState, Note } from '../configured/desired.ts';
import { type Step, stepsTo } from '../configured/difference.ts';
import type { LearnedGroups } from '../configured/group-members.ts';
import { desiredState, missing } from '../configured/translate.ts';
import { VRouterError } from '../errors.ts';
import type { ConfigGraph } from '../ifmap/graph.ts';
import { MAX_PORTS, type Standing } from '../plug/ports.ts';
import type { ConfigClient, ConfigStanding } from '../xmpp/config-client.ts';
import { policyIntent, vifIntent, vrfIntent } from './node-intents.ts';
import type { ConfiguredPorts, NodeContext } from './node-part.ts';

const APPLY_QUIET_MS = 50;
const APPLY_LATEST_MS = 500;
const RETRY_MS = 5000;

interface Port {
  file: ConfiguredPortFile;
  /** Of the vif, while there is one. */
  place: number;
  standing: Standing;
  /** As the listener was told. */
  told: Standing | undefined;
}

export interface ConfiguredPortView {
  readonly port: string;
  readonly file: ConfiguredPortFile;
  readonly standing: Standing;
  readonly vif: VifFile | undefined;
}

export class Configured implements ConfiguredPorts {
  readonly #client: ConfigClient;
  readonly #groups: LearnedGroups;
  readonly #node: NodeContext;
  readonly #ports = new Map<string, Port>();
  /** Ours in the agent, as they were last brought to it. */
  readonly #held = {
    vrfs: new Map<string, VrfFile>(),
    policies: new Map<string, PolicyFile>(),
    vifs: new Map<string, VifFile>(),
  };
  /** What was refused in the last pass: by step and name. */
  #refused = new Map<string, string>();
  #desired: DesiredState = {
    vrfs: [],
    policies: [],
    vifs: [],
    waiting: [],
    notes: [],
    groups: new Set(),
  };
  #listener: (name: string, standing: Standing) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #firstChange: number | undefined;
  #closed = false;

  constructor(client: ConfigClient, groups: LearnedGroups, node: NodeContext) {
    this.#client = client;
    this.#groups = groups;
    this.#node = node;
    client.onChange(() => this.#soon());
    groups.onChange((changed) => {
      if ([...changed].some((group) => this.#desired.groups.has(group))) this.#soon();
    });
  }

  // --- ports -----------------------------------------------------------------------------------------

  has(name: string): boolean {
    return this.#ports.has(name);
  }

  add(name: string, file: ConfiguredPortFile): Standing {
    if (this.#ports.size >= MAX_PORTS) {
      throw new VRouterError('TABLE_FULL', `${MAX_PORTS} ports wait or are programmed`);
    }
    if (this.#ports.has(name)) throw new VRouterError('CONFLICT', `port ${name} exists already`);
    const port: Port = { file, place: 0, standing: { waiting: '' }, told: undefined };
    this.#ports.set(name, port);
    if (file.vm !== undefined) this.#client.wantMachine(file.vm);
    // Before anything has been said, as at start: thousands of ports are not looked through for each.
    if (this.graph.size === 0) port.standing = { waiting: this.#reasonOf(name) };
    else this.#apply();
    return port.standing;
  }

  change(name: string, file: ConfiguredPortFile): Standing {
    const port = this.#ports.get(name);
    if (port === undefined) throw new VRouterError('NOT_FOUND', `no port ${name}`);
    if (file.vm !== undefined) this.#client.wantMachine(file.vm);
    if (port.file.vm !== undefined) this.#client.leaveMachine(port.file.vm);
    port.file = file;
    this.#apply();
    return port.standing;
  }

  remove(name: string): void {
    const port = this.#ports.get(name);
    if (port === undefined) return;
    if (this.#held.vifs.has(name)) this.#removeVif(name);
    this.#ports.delete(name);
    if (port.file.vm !== undefined) this.#client.leaveMachine(port.file.vm);
    this.#soon();
  }

  onStanding(listener: (name: string, standing: Standing) => void): void {
    this.#listener = listener;
  }

  // --- from configuration to the agent ---------------------------------------------------------------

  #soon(): void {
    if (this.#closed) return;
    const now = performance.now();
    this.#firstChange ??= now;
    this.#arm(Math.max(0, Math.min(APPLY_QUIET_MS, this.#firstChange + APPLY_LATEST_MS - now)));
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#apply(), ms);
    this.#timer.unref();
  }

  #apply(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#firstChange = undefined;
    const ports = [...this.#ports].map(([name, { file }]) => ({
      name,
      vmi: file.vmi,
      ...(file.vm !== undefined && { vm: file.vm }),
    }));
    const before = this.#desired.notes;
    this.#desired = desiredState(this.#client.graph, ports, this.#groups);
    this.#forgetRemoved();
    const refused = this.#refused;
    this.#refused = new Map();
    const vifs = this.#desired.vifs.map((vif) => this.#whole(vif));
    for (const step of stepsTo(this.#held, { ...this.#desired, vifs })) this.#take(step);
    this.#tell(before, refused);
    this.#settle();
    if (this.#refused.size > 0) this.#arm(RETRY_MS);
  }

  /** With what the host says of it, which comes first. */
  #whole(vif: ConfiguredVif): VifFile {
    const { vmi: _, vm: __, ...said } = (this.#ports.get(vif.name) as Port).file;
    return { ...vif, ...said };
  }

  /** Somebody else may have removed a vif of ours, by its name. */
  #forgetRemoved(): void {
    for (const name of this.#held.vifs.keys()) {
      if (this.#node.agent.vif(name) === undefined) this.#held.vifs.delete(name);
    }
  }

  #take(step: Step<VifFile>): void {
    try {
      this.#do(step);
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
      this.#refused.set(nameOf(step), error.message);
    }
  }

  #do(step: Step<VifFile>): void {
    const { agent, commit } = this.#node;
    const { vrfs, policies } = this.#held;
    switch (step.type) {
      case 'vif.remove':
        this.#removeVif(step.name);
        break;
      case 'vrf.remove':
        if (vrfs.has(step.name) && !this.#isOfFile(step.name))
          commit(() => agent.removeVrf(step.name));
        vrfs.delete(step.name);
        break;
      case 'policy.remove':
        commit(() => agent.removePolicy(step.name));
        policies.delete(step.name);
        break;
      case 'vrf.add':
        if (!this.#isOfFile(step.vrf.name)) {
          commit(
            () => agent.addVrf(vrfIntent(step.vrf)),
            () => agent.removeVrf(step.vrf.name),
          );
        }
        vrfs.set(step.vrf.name, step.vrf);
        break;
      case 'policy.set':
        this.#setPolicy(step.policy);
        policies.set(step.policy.name, step.policy);
        break;
      case 'vif.set':
        this.#setVif(step.vif);
        break;
    }
  }

  #setPolicy(policy: PolicyFile): void {
    const { agent, commit } = this.#node;
    const before = this.#held.policies.get(policy.name);
    commit(
      () => agent.addPolicy(policyIntent(policy)),
      () =>
        before === undefined
          ? agent.removePolicy(policy.name)
          : agent.addPolicy(policyIntent(before)),
    );
  }

  #isOfFile(vrf: string): boolean {
    return (this.#node.file.vrfs ?? []).some(({ name }) => name === vrf);
  }

  #removeVif(name: string): void {
    if (this.#node.agent.vif(name) !== undefined) this.#node.removeVif(name);
    this.#held.vifs.delete(name);
  }

  #setVif(vif: VifFile): void {
    const { agent, commit, file, addVif } = this.#node;
    const port = this.#ports.get(vif.name) as Port;
    const before = agent.vif(vif.name);
    if (!this.#held.vifs.has(vif.name) || before === undefined) {
      const done = addVif(vif);
      port.place = done.port;
      port.standing = done.generation;
    } else {
      commit(
        () => agent.updateVif(vifIntent(vif, port.place, file.services)),
        () => agent.updateVif(before),
      );
    }
    this.#held.vifs.set(vif.name, vif);
  }

  // --- what has become of it -------------------------------------------------------------------------

  /** Of a port that has no vif. */
  #reasonOf(name: string): string {
    const refused = this.#refused.get(`vif ${name}`);
    if (refused !== undefined) return refused;
    const { state } = this.#client.standing();
    const reason =
      this.#desired.waiting.find(({ port }) => port === name)?.reason ??
      missing(this.#ports.get(name)?.file.vmi ?? '');
    if (state === 'none') return `${reason}: no control node has been heard`;
    return state === 'learning' ? `${reason}, so far` : reason;
  }

  #settle(): void {
    for (const [name, port] of this.#ports) {
      if (!this.#held.vifs.has(name)) port.standing = { waiting: this.#reasonOf(name) };
      if (isDeepStrictEqual(port.standing, port.told)) continue;
      port.told = port.standing;
      this.#node.log.info({ port: name, standing: port.standing }, 'configured port');
      this.#listener(name, port.standing);
    }
  }

  /** In the log, what was not said before. */
  #tell(before: readonly Note[], refused: ReadonlyMap<string, string>): void {
    for (const [object, why] of this.#refused) {
      if (refused.get(object) !== why) this.#node.log.warn({ object, why }, 'refused');
    }
    const known = new Set(before.map(({ object, what }) => `${object} ${what}`));
    for (const { object, what } of this.#desired.notes) {
      if (!known.has(`${object} ${what}`)) this.#node.log.warn({ object, what }, 'configuration');
    }
  }

  // --- looking ---------------------------------------------------------------------------------------

  get graph(): ConfigGraph {
    return this.#client.graph;
  }

  get standing(): ConfigStanding {
    return this.#client.standing();
  }

  /** What is not taken over as it is, and what was refused. */
  get notes(): readonly Note[] {
    const refused = [...this.#refused].map(([object, what]) => ({ object, what }));
    return [...this.#desired.notes, ...refused];
  }

  ports(): ConfiguredPortView[] {
    return [...this.#ports].map(([port, { file, standing }]) => ({
      port,
      file,
      standing,
      vif: this.#held.vifs.get(port),
    }));
  }

  get waiting(): number {
    return this.#ports.size - this.#held.vifs.size;
  }

  /** Nothing waits for what is still to be told. */
  get complete(): boolean {
    return this.waiting === 0 || this.#client.standing().state === 'settled';
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}

function nameOf(step: Step<VifFile>): string {
  switch (step.type) {
    case 'vrf.add':
      return `VRF ${step.vrf.name}`;
    case 'policy.set':
      return `policy ${step.policy.name}`;
    case 'vif.set':
      return `vif ${step.vif.name}`;
    default:
      return `${step.type === 'vrf.remove' ? 'VRF' : step.type.split('.')[0]} ${step.name}`;
  }
}
