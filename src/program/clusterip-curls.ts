/**
 * What is sent in the `clusterip` scenario on real kernels, and what was observed of it: curl in the client
 * pod, each its own process with a connection of its own. Judging is not done here.
 */
import type { FlowView } from '../cli/views.ts';
import { CLIENT, NODES, type ServicePlan, WEB, WEB_PORT } from '../sim/clusterip-plan.ts';
import type { Load } from '../sim/connections.ts';
import { backendsOf, PAGE_FILLER } from './clusterip-netns.ts';
import type { Service } from './lab.ts';
import type { NetnsNode } from './netns-processes.ts';
import type { NetnsStage, PlacedPod } from './netns-stage.ts';

/** At the same time. */
const PARALLEL = 8;
/** More in one load and it is given up: what is broken need not be waited for. */
const MAX_FAILURES = 10;
/** Requests of a curl, on one connection. */
const REQUESTS = 2;
const HELD_TRIES = 32;
const HELD_FAILURES = 3;
const HELD_MS = 5_000;

/** First line of a backend's page. */
export interface Page {
  readonly backend: string;
  readonly port: number;
  readonly caller: string;
  readonly callerPort: number;
}

/** `-q`: no configuration file of whoever runs this; no proxy either. */
function curl(...args: string[]): string[] {
  return ['curl', '-q', '--silent', '--show-error', '--noproxy', '*', ...args];
}

const url = (service: ServicePlan, port: number, path = '/') =>
  `http://${service.ipv4}:${port}${path}`;

export interface CurlRun {
  /** Exit status; null: it could not be started. */
  readonly status: number | null;
  readonly pages: readonly Page[];
  /** Where curl heard its answers from, `address:port`. */
  readonly heard: readonly string[];
  readonly error: string;
}

/** Of the line that curl writes after each page. `@` in front would name a file. */
const MARK = 'curl: ';

/** Pages count that came whole, with status 200, on the first connection. */
export function readCurl(status: number | null, out: string, err: string): CurlRun {
  const pages: Page[] = [];
  const heard: string[] = [];
  let page: Page | undefined;
  let whole = false;
  for (const line of out.split('\n')) {
    if (line.startsWith('{')) {
      page = JSON.parse(line) as Page;
      whole = false;
    } else if (line.length === PAGE_FILLER && /^\.+$/.test(line)) {
      whole = true;
    } else if (line.startsWith(MARK)) {
      const [code, from = '', connects] = line.slice(MARK.length).split(' ');
      const newConnections = heard.length === 0 ? '1' : '0';
      if (code === '200') heard.push(from);
      const counts = whole && code === '200' && connects === newConnections;
      if (page !== undefined && counts) pages.push(page);
      page = undefined;
    }
  }
  return { status, pages, heard, error: err.trim() };
}

async function request(
  stage: NetnsStage,
  from: PlacedPod,
  service: ServicePlan,
  port: number,
): Promise<CurlRun> {
  const where = url(service, port);
  const write = `${MARK}%{http_code} %{remote_ip}:%{remote_port} %{num_connects}\\n`;
  const limits = ['--fail-early', '--connect-timeout', '5', '--max-time', '20'];
  const argv = curl(...limits, '--write-out', write, ...Array<string>(REQUESTS).fill(where));
  const { status, out, err } = await stage.run(from, argv);
  return readCurl(status, out, err);
}

export interface CurlLoad extends Load {
  readonly heard: ReadonlySet<string>;
  readonly callers: ReadonlySet<string>;
  /** Words of those that failed, each once. */
  readonly errors: readonly string[];
}

export async function curls(
  stage: NetnsStage,
  service: ServicePlan,
  port: number,
  count: number,
  onEnd: (ended: number) => void = () => {},
): Promise<CurlLoad> {
  const from = stage.pod(CLIENT.name);
  const runs: CurlRun[] = [];
  let started = 0;
  let failures = 0;
  const work = async () => {
    while (started < count && failures < MAX_FAILURES) {
      started += 1;
      const run = await request(stage, from, service, port);
      if (!served(run)) failures += 1;
      runs.push(run);
      onEnd(runs.length);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  return loadOf(count, runs);
}

const served = ({ status, pages }: CurlRun) => status === 0 && pages.length === REQUESTS;

function loadOf(count: number, runs: readonly CurlRun[]): CurlLoad {
  const perBackend = new Map<string, number>();
  for (const { pages } of runs) {
    const backend = pages[0]?.backend;
    if (backend !== undefined) perBackend.set(backend, (perBackend.get(backend) ?? 0) + 1);
  }
  const pages = runs.flatMap((run) => run.pages);
  const changed = runs.filter((run) => run.pages.some((p) => p.backend !== run.pages[0]?.backend));
  return {
    connections: count,
    perBackend: new Map([...perBackend].sort(([a], [b]) => (a < b ? -1 : 1))),
    changed: changed.length,
    requests: count * REQUESTS,
    answers: pages.length,
    closed: runs.filter(served).length,
    servedOn: [...new Set(pages.map(({ port: at }) => at))].sort((a, b) => a - b),
    heard: new Set(runs.flatMap((run) => run.heard)),
    callers: new Set(pages.map(({ caller }) => caller)),
    errors: [...new Set(runs.map(({ error }) => error).filter((error) => error !== ''))],
  };
}

// --- a connection that stays open --------------------------------------------------------------

export interface Held {
  readonly page: Page;
  /** Connections it took until one led to the other node. */
  readonly tries: number;
  readonly curl: Service;
}

/** Connects until a backend on the other node answers; that connection stays open until it is stopped. */
export async function holdRemote(stage: NetnsStage): Promise<Held | undefined> {
  const remote = new Set(
    backendsOf(stage)
      .filter(({ node }) => node.name === NODES.remote.name)
      .map((pod) => pod.plan.name),
  );
  let failures = 0;
  for (let tries = 1; tries <= HELD_TRIES && failures < HELD_FAILURES; tries += 1) {
    const argv = curl('--no-buffer', '--connect-timeout', '3', url(WEB, WEB_PORT, '/hold'));
    const namespace = stage.pod(CLIENT.name).namespace;
    const service = stage.lab.start('held curl', argv, { namespace, mayEnd: true });
    const ended = service.ended.then(() => undefined);
    const firstLine = stage.lab.poll(
      async () => (service.out().includes('\n') ? service.out().split('\n')[0] : undefined),
      HELD_MS,
    );
    const line = await Promise.race([firstLine, ended]);
    const page = line === undefined ? undefined : (JSON.parse(line) as Page);
    if (page === undefined) failures += 1;
    else if (remote.has(page.backend)) return { page, tries, curl: service };
    await service.stop();
  }
  return undefined;
}

// --- a port without a mapping ------------------------------------------------------------------

export interface UnmappedCurls {
  readonly tries: number;
  /** Exit statuses of curl, with counts; 28 is: no answer in time. */
  readonly statuses: ReadonlyMap<string, number>;
  readonly answered: number;
  /** First halves of these connections' flows that a node refuses. */
  readonly refused: readonly { readonly node: string; readonly drop: string }[];
  /** Packets counted as Flow Action Drop meanwhile, both nodes. */
  readonly dropped: number;
}

async function flowActionDrops(nodes: readonly NetnsNode[]): Promise<number> {
  const all = (await Promise.all(nodes.map((node) => node.drops()))).flat();
  return all
    .filter(({ name }) => name === 'Flow Action Drop')
    .reduce((sum, { packets }) => sum + Number(packets), 0);
}

export async function curlUnmapped(
  stage: NetnsStage,
  port: number,
  tries: number,
): Promise<UnmappedCurls> {
  const nodes = [...stage.nodes.values()];
  const before = await flowActionDrops(nodes);
  const from = stage.pod(CLIENT.name);
  const argv = curl('--connect-timeout', '1', url(WEB, port));
  const ended = await Promise.all(Array.from({ length: tries }, () => stage.run(from, argv)));
  const statuses = new Map<string, number>();
  for (const { status } of ended) {
    statuses.set(`${status}`, (statuses.get(`${status}`) ?? 0) + 1);
  }
  const match = `${WEB.ipv4}:${port} & proto tcp`;
  const refused: { node: string; drop: string }[] = [];
  for (const node of nodes) {
    const { flows } = await node.flows(match);
    const first = (flow: FlowView) => flow.initiator && flow.action === 'D';
    for (const { drop } of flows.filter(first)) refused.push({ node: node.name, drop });
  }
  return {
    tries,
    statuses,
    answered: ended.filter(({ status, out }) => status === 0 || out !== '').length,
    refused,
    dropped: (await flowActionDrops(nodes)) - before,
  };
}

// --- echo ---------------------------------------------------------------------------------------

export interface Echo {
  readonly sent: number;
  readonly received: number;
}

export async function ping(stage: NetnsStage, address: string, count: number): Promise<Echo> {
  const argv = ['ping', '-n', '-c', `${count}`, '-i', '0.2', '-W', '2', address];
  const { out } = await stage.run(stage.pod(CLIENT.name), argv);
  const [, received] = /(\d+) received/.exec(out) ?? [];
  return { sent: count, received: Number(received ?? 0) };
}
