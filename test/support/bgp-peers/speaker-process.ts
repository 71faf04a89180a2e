/**
 * Our speaker with its RIB as a process (speaker.mjs, of dist/): started by a lab, asked over a Unix socket. For tests in
 * which it has a namespace of its own, is killed, or must be seen not to die.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import type { Neighbour, NeighbourRange } from '../../../src/bgp/neighbour.ts';
import type { BgpPath } from '../../../src/bgp/rib/contract.ts';
import type { SpeakerStatus } from '../../../src/bgp/session/status.ts';
import type { Lab, Service } from '../../../src/program/lab.ts';
import type { NetworkNamespace } from '../../../src/program/netns.ts';

const PROCESS = resolve(import.meta.dirname, 'speaker.mjs');
const BUILT = resolve(import.meta.dirname, '../../../dist/bgp/session/speaker.js');
const PATIENCE_MS = 10_000;

export interface SpeakerSetting {
  readonly speaker: { readonly as: number; readonly id: string; readonly clusterId?: string };
  /** Port 0: any. */
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  readonly neighbours: readonly Neighbour[];
  readonly ranges?: readonly NeighbourRange[];
  /** Said before there are neighbours. */
  readonly paths?: readonly Omit<BgpPath, 'from' | 'stale'>[];
  /** It was there before. */
  readonly restarted?: boolean;
}

/** What can be asked: speaker.mjs. */
interface Methods {
  readonly status: SpeakerStatus;
  readonly ports: readonly number[];
  readonly memory: NodeJS.MemoryUsage;
  /** Errors of ours that ended a session. */
  readonly faults: readonly string[];
  readonly originate: null;
  readonly withdraw: null;
  readonly want: null;
  readonly setNeighbour: null;
  readonly clear: boolean;
  readonly routes: readonly { readonly key: string; readonly paths: readonly BgpPath[] }[];
  readonly received: readonly BgpPath[];
  readonly advertised: readonly BgpPath[];
  /** All that a neighbour has said and that is there, and how many updates it has said, at one time. */
  readonly everything: { readonly updates: number; readonly received: readonly BgpPath[] };
}

export class SpeakerProcess {
  readonly #socket: string;
  readonly service: Service;

  private constructor(socket: string, service: Service) {
    this.#socket = socket;
    this.service = service;
  }

  static async start(
    lab: Lab,
    name: string,
    setting: SpeakerSetting,
    namespace?: NetworkNamespace,
  ): Promise<SpeakerProcess> {
    if (!existsSync(BUILT)) throw new Error('dist is not built: node scripts/setup.mjs');
    // A socket of its own for each start: one that was killed has left its file.
    const path = lab.path(`${name}-${Date.now()}`);
    const socket = `${path}.sock`;
    writeFileSync(`${path}.json`, JSON.stringify({ ...setting, socket }));
    const service = lab.start(
      `speaker ${name}`,
      [process.execPath, '--expose-gc', PROCESS, `${path}.json`],
      {
        namespace,
        mayEnd: true,
      },
    );
    const made = new SpeakerProcess(socket, service);
    const answers = await lab.poll(() => made.call('ports'), PATIENCE_MS);
    if (answers === undefined) throw new Error(`our speaker does not answer: ${made.log()}`);
    return made;
  }

  log(): string {
    return this.service.out() + this.service.err();
  }

  call<M extends keyof Methods>(method: M, params: object = {}): Promise<Methods[M]> {
    return new Promise((resolved, rejected) => {
      const socket = connect(this.#socket);
      let text = '';
      socket.setEncoding('utf8');
      socket.on('error', rejected);
      socket.on('connect', () => socket.write(`${JSON.stringify({ method, params })}\n`));
      socket.on('close', () => rejected(new Error(`${method}: no answer; ${this.log()}`)));
      socket.on('data', (chunk: string) => {
        text += chunk;
        if (!text.endsWith('\n')) return;
        socket.end();
        const answer = JSON.parse(text) as { result: Methods[M]; error?: string };
        if (answer.error === undefined) resolved(answer.result);
        else rejected(new Error(`${method}: ${answer.error}`));
      });
    });
  }
}
