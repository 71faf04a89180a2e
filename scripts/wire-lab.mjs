/**
 * The laboratory of `npm run bench:wire`: two nodes in namespaces of their own, joined by a veth pair (MTU 1500); on it
 * the kernel's VXLAN (bridge, vxlan, veth pods) and, beside the host stack, an uplink TAP to which tc hands UDP 6635.
 * Who has the uplink and the pods: two vRouters, or two bare relays (bench/peers/bare_relay.cc). Everything is made
 * here and ends with the process.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from './machine.mjs';

export const directory = mkdtempSync(join(tmpdir(), 'vrouter-wire-'));
const namespaces = new Set();
export const processes = new Set();

export const run = (...argv) =>
  execFileSync(argv[0], argv.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const ip = (text) => run('ip', ...text.split(' '));
export const within = (namespace, ...argv) => run('ip', 'netns', 'exec', namespace, ...argv);

function cleanUp() {
  for (const child of processes) child.kill('SIGKILL');
  for (const name of namespaces) {
    try {
      ip(`netns del ${name}`);
    } catch {
      // It was not made.
    }
  }
  rmSync(directory, { recursive: true, force: true });
}
process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** A vRouter in namespace `w` with a pod in `p`. */
function startNode({ id, far, w, p, pods, coalesce, tier }) {
  const port =
    pods === 'tap'
      ? { kind: 'tap', name: 'eth0', netns: p, mtu: 1450, coalesce }
      : { kind: 'af_packet', interface: 'pod', coalesce };
  const config = join(directory, `${w}.yaml`);
  writeFileSync(
    config,
    JSON.stringify({
      name: `node${id}`,
      socket: join(directory, `${w}.sock`),
      log: { level: 'warn' },
      ...(tier ? { dataplane: { kernel_tier: true } } : {}),
      underlay: {
        port: {
          kind: 'tap',
          name: 'uplink',
          offloads: 'uplink',
          mtu: 1500,
          ...(tier ? { joined: 'up0' } : {}),
        },
        mac: `02:00:0a:09:00:0${id}`,
        ipv4: `10.9.0.${id}`,
        neighbours: { [`10.9.0.${far}`]: `02:00:0a:09:00:0${far}` },
      },
      vrfs: [{ name: 'red' }],
      routes: [
        {
          instance: 'red',
          prefix: `10.8.1.${far}`,
          hops: [{ address: `10.9.0.${far}`, label: 16, encaps: ['udp'] }],
        },
      ],
      vifs: [
        {
          name: 'pod',
          port,
          vrf: 'red',
          tenant_mac: `02:00:00:00:00:0${id}`,
          ipv4: `10.8.1.${id}`,
          gateway4: '10.8.1.254',
          mtu: 1450,
        },
      ],
    }),
  );
  return spawn(
    'ip',
    [
      'netns',
      'exec',
      w,
      process.execPath,
      join(root, 'dist/cli/main.js'),
      'node',
      '--config',
      config,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
}

function startRelay({ id, far, w, p, relay }) {
  ip(`-n ${w} tuntap add uplink mode tap vnet_hdr`);
  ip(`-n ${w} link set uplink mtu 1500 txqueuelen 2048 up`);
  ip(`-n ${p} tuntap add eth0 mode tap vnet_hdr`);
  ip(`-n ${p} link set eth0 mtu 1450`);
  const relayed = [relay, 'eth0', p, 'uplink', String(id), String(far), '100'];
  return spawn('ip', ['netns', 'exec', w, ...relayed], { stdio: ['ignore', 'ignore', 'inherit'] });
}

let labs = 0;
/**
 * pods: 'tap' or 'veth'. coalesce: merge segments towards pods. wire: the underlay's offloads are off.
 * relay: path of the bare relay, which then stands where a vRouter without a tier would (TAP pods only).
 * tier: which of the two vRouters have their kernel tier, by number.
 * interrupts(id, mask) has what node `id` receives handled on these cores (RPS), whoever sent it.
 */
export async function lab({ pods, coalesce = true, wire = false, relay, tier = [] }) {
  const prefix = `wb${process.pid}${String.fromCharCode(97 + labs++)}`;
  const ns = (name) => `${prefix}${name}`;
  const nodes = [
    { id: 1, w: ns('w1'), k: ns('k1'), p: ns('p1') },
    { id: 2, w: ns('w2'), k: ns('k2'), p: ns('p2') },
  ];
  const children = [];
  for (const { w, k, p } of nodes) {
    for (const name of [w, k, p]) {
      namespaces.add(name);
      ip(`netns add ${name}`);
      ip(`-n ${name} link set lo up`);
    }
  }
  ip(`link add up0 netns ${nodes[0].w} type veth peer name up0 netns ${nodes[1].w}`);
  for (const { id, w, k, p } of nodes) {
    const far = 3 - id;
    ip(`-n ${w} link set up0 address 02:00:0a:09:00:0${id} up`);
    ip(`-n ${w} addr add 10.9.0.${id}/24 dev up0`);
    // The kernel's VXLAN.
    ip(`-n ${w} link add br0 type bridge`);
    ip(
      `-n ${w} link add vx0 type vxlan id 42 remote 10.9.0.${far} local 10.9.0.${id} dstport 4789 dev up0`,
    );
    ip(`link add eth0 netns ${k} type veth peer name kpod netns ${w}`);
    for (const port of ['vx0', 'kpod']) ip(`-n ${w} link set ${port} master br0 up`);
    ip(`-n ${w} link set br0 mtu 1450 up`);
    ip(`-n ${k} link set eth0 mtu 1450 up`);
    ip(`-n ${k} addr add 10.8.0.${id}/24 dev eth0`);
    if (pods === 'veth') {
      ip(`link add eth0 netns ${p} type veth peer name pod netns ${w}`);
      ip(`-n ${w} link set pod mtu 1450 up`);
      ip(`-n ${p} link set eth0 mtu 1450 up`);
    }
    const child =
      relay === undefined || tier.includes(id)
        ? startNode({ id, far, w, p, pods, coalesce, tier: tier.includes(id) })
        : startRelay({ id, far, w, p, relay });
    processes.add(child);
    children.push(child);
  }
  for (const { id, w, p } of nodes) {
    const relayed = relay !== undefined && !tier.includes(id);
    const ready = () => relayed || existsSync(join(directory, `${w}.sock`));
    for (let i = 0; i < 200 && !ready(); i++) await sleep(50);
    ip(`-n ${p} link set eth0 address 02:00:00:00:00:0${id}`);
    ip(`-n ${p} addr add 10.8.1.${id}/32 dev eth0`);
    ip(`-n ${p} link set eth0 up`);
    ip(`-n ${p} route add 10.8.1.254 dev eth0`);
    if (relayed)
      ip(`-n ${p} neigh replace 10.8.1.254 lladdr 00:00:5e:00:01:00 dev eth0 nud permanent`);
    ip(`-n ${p} route add default via 10.8.1.254`);
    const tc = (text) => run('tc', '-n', w, ...text.split(' '));
    for (const device of ['up0', 'uplink']) tc(`qdisc add dev ${device} clsact`);
    tc(
      'filter add dev up0 ingress protocol ip u32 match ip protocol 17 0xff match ip dport 6635 0xffff action mirred egress redirect dev uplink',
    );
    tc(
      'filter add dev uplink ingress protocol all u32 match u32 0 0 action mirred egress redirect dev up0',
    );
    if (wire)
      within(
        w,
        'ethtool',
        '-K',
        'up0',
        'tso',
        'off',
        'gso',
        'off',
        'gro',
        'off',
        'tx',
        'off',
        'rx',
        'off',
        'sg',
        'off',
      );
  }
  const sides = {
    kernel: { from: nodes[0].k, to: nodes[1].k, address: '10.8.0.2' },
    vrouter: { from: nodes[0].p, to: nodes[1].p, address: '10.8.1.2' },
  };
  for (const { from, address } of Object.values(sides))
    within(from, 'ping', '-c', '3', '-i', '0.2', '-W', '2', address);
  const interrupts = (id, mask) =>
    within(nodes[id - 1].w, 'sh', '-c', `echo ${mask} > /sys/class/net/up0/queues/rx-0/rps_cpus`);
  return { sides, interrupts, pids: children.map((child) => child.pid), children };
}
