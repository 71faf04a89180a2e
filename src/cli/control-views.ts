/** What a control node answers to `vrouter control show`; both ends are of one build. */

export interface SessionView {
  readonly name: string;
  readonly address: string;
  /** `awaited`: lost, and its routes are kept for it to come back. */
  readonly state: 'established' | 'awaited';
  readonly secure: boolean;
  readonly upSeconds: number;
  readonly routes: number;
  /** Sent and not taken by it yet. */
  readonly waitingBytes: number;
  readonly subscriptions: readonly {
    readonly instance: string;
    readonly instanceId: number;
    readonly stale: boolean;
  }[];
  readonly counters: Readonly<
    Record<'subscribes' | 'publishes' | 'withdrawals' | 'refused' | 'ignored' | 'messages', number>
  >;
}

export interface TableView {
  readonly instance: string;
  /** By configuration; else an agent has only named it. */
  readonly created: boolean;
  readonly import: readonly string[];
  readonly export: readonly string[];
  /** Those of `import` that are not of instances it is linked to. */
  readonly ownImport: readonly string[];
  /** Nobody has said which targets: one of its own, by number. */
  readonly automatic: boolean;
  /** Instances that it is linked to. */
  readonly connected: readonly string[];
  readonly subscribers: number;
  /** Paths that were published in it. */
  readonly published: number;
  readonly inet: number;
  readonly inet6: number;
  readonly evpn: number;
  /** Equal at two control nodes: the same paths, said and used (control/digest.ts). */
  readonly digest: string;
}

export interface PathView {
  readonly used: boolean;
  /** `best`, `ecmp`, or by what it is behind: a row of the order, or what makes it infeasible. */
  readonly why: string;
  readonly peer: string;
  readonly rd: string;
  /** Where it was published, if not here. */
  readonly from?: string;
  readonly stale: boolean;
  readonly hops: readonly {
    readonly address: string;
    readonly label: number;
    readonly encaps: readonly string[];
  }[];
  readonly localPreference: number;
  readonly med: number;
  readonly sequence: number;
  readonly originVn: string;
  readonly securityGroups: readonly number[];
  readonly tags: readonly number[];
  readonly communities: readonly string[];
  /** Of all that its agent has said of it, more than is shown here. */
  readonly digest: string;
}

export interface ControlRouteView {
  readonly family: string;
  readonly prefix: string;
  /** Its name in messages, where it is told. */
  readonly id?: string;
  readonly paths: readonly PathView[];
}

export interface TraceView {
  readonly messages: readonly {
    readonly number: number;
    readonly at: number;
    readonly way: 'in' | 'out';
    readonly text: string;
  }[];
}
