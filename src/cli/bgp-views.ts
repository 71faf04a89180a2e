/** What a control node answers to `vrouter control bgp`; both ends are of one build. */
import type { NeighbourStatus, SpeakerStatus } from '../bgp/session/status.ts';
import type { FamilyName } from '../bgp/wire/family-names.ts';
import type { PolicyFile } from '../config/bgp-policies.ts';

export interface BgpNeighbourView extends NeighbourStatus {
  readonly description?: string;
}

export interface BgpNeighboursView {
  readonly as: number;
  readonly routerId: string;
  readonly neighbours: readonly BgpNeighbourView[];
  readonly refused: SpeakerStatus['refused'];
  readonly refusedByLimit: SpeakerStatus['refusedByLimit'];
  /** Of the bridge to the tables. */
  readonly originated: number;
  readonly learned: number;
  readonly infeasible: number;
  /** Paths of agents that no route can be made of, by why. */
  readonly leftOut: Readonly<Record<string, number>>;
}

export interface BgpPathView {
  readonly used: boolean;
  /** `best`, `multipath`, or the row of the order by which it is behind; of one neighbour's routes: nothing. */
  readonly why: string;
  /** Neighbour, or `local`. */
  readonly from: string;
  readonly nextHop: string;
  /** As the route has it: a label, or 24 bits that are a VNI in VXLAN. */
  readonly label?: number;
  readonly origin: string;
  readonly asPath: string;
  readonly localPreference?: number;
  readonly med?: number;
  readonly stale?: 'short' | 'long';
  readonly routeTargets: readonly string[];
  readonly encapsulations: readonly string[];
  readonly communities: readonly string[];
  /** All of it, for programs. */
  readonly attributes: unknown;
}

export interface BgpRouteView {
  readonly family: FamilyName;
  /** Distinguisher and prefix, or what stands for them. */
  readonly route: string;
  readonly paths: readonly BgpPathView[];
}

export interface BgpPolicyView {
  readonly policy: PolicyFile;
  readonly importOf: readonly string[];
  readonly exportOf: readonly string[];
}
