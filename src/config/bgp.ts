/**
 * `bgp:` of control.yaml: who we are in BGP, neighbours, ranges of addresses that may call, and policies; with
 * what becomes of them in bgp-neighbours.ts. What only several keys together can have wrong is in `neighbourProblems` and
 * `bgpProblems`. The same schemas are those of `bgp.neighbor.add` and its like at run time.
 */
import { z } from 'zod';
import { canonicalIp, parseIp } from '../addr/ip.ts';
import { canonicalPrefix } from '../addr/prefix.ts';
import { FAMILY_NAMES, type FamilyName } from '../bgp/wire/family-names.ts';
import { familyName, policyProblems, policySchema, repeated } from './bgp-policies.ts';
import type { Path, Problem } from './document.ts';
import { choice, interfaceName, ip, ipv4, mapping, name, prefix, whole } from './fields.ts';
import { listen } from './listen.ts';
import { suggestion } from './nearest.ts';

export const BGP_PORT = 179;
export const DEFAULT_HOLD_SECONDS = 90;
export const DEFAULT_SETTLE_SECONDS = 10;
/** With sessions that have gone on nobody waits for it. */
export const DEFAULT_SPEAKER_SETTLE_SECONDS = 30;
export const DEFAULT_RANGE_LIMIT = 64;
/** TCP_MD5SIG_MAXKEYLEN. */
const MAX_PASSWORD_BYTES = 80;
const MAX_NEIGHBOURS = 4096;
export const DEFAULT_KEEP_SECONDS = 120;
export const DEFAULT_STALE_SECONDS = 120;

/** Routes of networks; the others only carry what somebody else says. */
export const DEFAULT_FAMILIES: readonly FamilyName[] = ['vpnv4', 'vpnv6', 'evpn', 'rtc'];
const asNumber = whole(1, 0xffffffff);

// --- neighbours --------------------------------------------------------------------------------------

const ofNeighbours = {
  description: z.string().max(255).optional(),
  as: asNumber.optional().describe('Its own; without: whatever it says'),
  local_address: ip.optional().describe('Ours for its sessions'),
  families: z
    .array(familyName)
    .min(1)
    .max(FAMILY_NAMES.length)
    .optional()
    .describe(`Default ${DEFAULT_FAMILIES.join(', ')}`),
  hold_seconds: whole(0, 65535)
    .optional()
    .describe(`Without a word it is lost; 0: never. Default ${DEFAULT_HOLD_SECONDS}`),
  ttl: whole(1, 255).optional().describe('Of our packets'),
  multihop: whole(2, 255).optional().describe('As ttl, for neighbours of another AS'),
  ttl_security: whole(1, 254)
    .optional()
    .describe('Hops that it is away at most: packets from farther are not heard (RFC 5082)'),
  password: z.string().min(1).optional().describe('TCP MD5 signature (RFC 2385)'),
  password_file: z.string().min(1).max(4096).optional().describe('Its first line'),
  graceful_restart_seconds: whole(1, 4095)
    .optional()
    .describe('How long its routes stay when it restarts (RFC 4724); without: not at all'),
  long_lived_seconds: whole(1, 0xffffff)
    .optional()
    .describe('And after that, as the last choice (RFC 9494)'),
  add_path: choice(['receive', 'send', 'both']).optional().describe('Several paths of a route'),
  send_paths: whole(2, 64).optional().describe('Of a route, where add_path sends; default 8'),
  max_routes: whole(1, 0xffffffff).optional().describe('Of a family; with more the session ends'),
  default_route_target: z
    .boolean()
    .optional()
    .describe('Ask for routes of every target, not only of those that are imported here'),
  route_reflector_client: z.boolean().optional(),
  next_hop: choice(['self', 'unchanged'])
    .optional()
    .describe('Default: unchanged, but self for unicast routes to another AS'),
  allow_as_in: whole(0, 10).optional().describe('Our own AS may be so often in its AS paths'),
  encapsulation: z
    .array(choice(['gre', 'udp', 'vxlan']))
    .min(1)
    .max(3)
    .optional()
    .describe('How packets go to routes of it that say none; default gre and udp, EVPN vxlan'),
  import: name.optional().describe('Policy for what it says'),
  export: name.optional().describe('Policy for what it is told'),
};

export const neighbourSchema = mapping({
  name: name.optional().describe('Default: its address'),
  address: ip,
  interface: interfaceName
    .optional()
    .describe('Where a link-local address is; its routes are VPN and EVPN ones'),
  port: whole(1, 65535).optional().describe(`Default ${BGP_PORT}`),
  passive: z.boolean().optional().describe('It calls, we never do'),
  ...ofNeighbours,
});

const rangeSchema = mapping({
  name,
  prefix,
  limit: whole(1, MAX_NEIGHBOURS)
    .optional()
    .describe(`Neighbours at once, default ${DEFAULT_RANGE_LIMIT}`),
  ...ofNeighbours,
});

const speakerSchema = mapping({
  socket: z
    .string()
    .min(1)
    .max(107)
    .optional()
    .describe('Between the two; default /run/vrouter/<name>.speaker'),
  command: z
    .array(z.string().min(1))
    .min(1)
    .max(64)
    .optional()
    .describe('What starts a speaker, instead of ours; its options are appended'),
  supervised: z.boolean().optional().describe('Somebody else starts it: it is only waited for'),
  keep_seconds: whole(0, 86400)
    .optional()
    .describe(
      `Without a control node: how long what it has said stays advertised; default ${DEFAULT_KEEP_SECONDS}`,
    ),
  stale_seconds: whole(0, 86400)
    .optional()
    .describe(
      `Without a speaker: how long what it has told stays in use; default ${DEFAULT_STALE_SECONDS}`,
    ),
});

export const bgpSchema = mapping({
  as: asNumber,
  router_id: ipv4,
  cluster_id: ipv4.optional().describe('For reflecting (RFC 4456); default router_id'),
  listen: z
    .array(listen)
    .max(16)
    .optional()
    .describe(
      `Address:port; default 0.0.0.0:${BGP_PORT} and [::]:${BGP_PORT}; empty: nobody calls`,
    ),
  settle_seconds: whole(0, 4095)
    .optional()
    .describe(
      'With graceful_restart_seconds, or a speaker of its own process: after a start agents have so long to say ' +
        'what they have before neighbours are told that it is all; default ' +
        `${DEFAULT_SETTLE_SECONDS}, with a speaker ${DEFAULT_SPEAKER_SETTLE_SECONDS}`,
    ),
  neighbors: z.array(neighbourSchema).max(MAX_NEIGHBOURS).optional(),
  ranges: z.array(rangeSchema).max(256).optional().describe('Who calls from there is a neighbour'),
  policies: z.array(policySchema).max(1024).optional(),
  speaker: speakerSchema
    .optional()
    .describe(
      'BGP as a process of its own, whose sessions outlive the control node; absent: in its process',
    ),
}).describe('Federation: sessions with other control nodes and with routers');

export type BgpFile = z.infer<typeof bgpSchema>;
export type NeighbourFile = z.infer<typeof neighbourSchema>;
export type RangeFile = z.infer<typeof rangeSchema>;
export type SharedFile = Omit<RangeFile, 'name' | 'prefix' | 'limit'>;

export const DEFAULT_LISTEN = [`0.0.0.0:${BGP_PORT}`, `[::]:${BGP_PORT}`] as const;

export const neighbourName = (file: Pick<NeighbourFile, 'name' | 'address' | 'interface'>) =>
  file.name ?? placeText(file);

/** `fe80::1%eth0`: on another interface it is another's. */
function placeText({ address, interface: on }: Pick<NeighbourFile, 'address' | 'interface'>) {
  return on === undefined ? canonicalIp(address) : `${canonicalIp(address)}%${on}`;
}

// --- what they have wrong together -------------------------------------------------------------------

interface Rule {
  readonly key: keyof SharedFile;
  /** Undefined: nothing is wrong with it. */
  problem(file: SharedFile, as: number): string | undefined;
}

const inside = (file: SharedFile, as: number): boolean => file.as === as;
const when = (wrong: boolean, message: string): string | undefined => (wrong ? message : undefined);
const families = (file: SharedFile): readonly FamilyName[] => file.families ?? DEFAULT_FAMILIES;

const RULES: readonly Rule[] = [
  {
    key: 'hold_seconds',
    problem: ({ hold_seconds = 0 }) =>
      when(hold_seconds === 1 || hold_seconds === 2, 'must be 0, or at least 3'),
  },
  {
    key: 'ttl_security',
    problem: (file) =>
      when(
        file.ttl_security !== undefined && (file.ttl ?? file.multihop) !== undefined,
        'with it our packets have 255 hops: neither ttl nor multihop can be given',
      ),
  },
  {
    key: 'multihop',
    problem: (file, as) =>
      file.multihop === undefined
        ? undefined
        : (when(file.ttl !== undefined, 'is ttl by another name: one of them only') ??
          when(
            inside(file, as),
            `is for neighbours of another AS; this one is of ${as}, as we are`,
          )),
  },
  {
    key: 'route_reflector_client',
    problem: (file, as) =>
      when(
        file.route_reflector_client === true && file.as !== undefined && !inside(file, as),
        `is for neighbours of our own AS, ${as}`,
      ),
  },
  {
    key: 'allow_as_in',
    problem: (file, as) =>
      when(
        (file.allow_as_in ?? 0) > 0 && inside(file, as),
        `is for neighbours of another AS; this one is of ${as}, as we are`,
      ),
  },
  {
    key: 'password',
    problem: ({ password, password_file }) =>
      when(
        password !== undefined && password_file !== undefined,
        'and password_file exclude each other',
      ) ?? when(Buffer.byteLength(password ?? '') > MAX_PASSWORD_BYTES, PASSWORD_TOO_LONG),
  },
  {
    key: 'long_lived_seconds',
    problem: (file) =>
      when(
        file.long_lived_seconds !== undefined && file.graceful_restart_seconds === undefined,
        'needs graceful_restart_seconds',
      ),
  },
  {
    key: 'send_paths',
    problem: ({ send_paths, add_path = 'receive' }) =>
      when(send_paths !== undefined && add_path === 'receive', 'needs add_path: send, or both'),
  },
  {
    key: 'default_route_target',
    problem: (file) =>
      when(
        file.default_route_target === true && !families(file).includes('rtc'),
        'needs rtc among the families',
      ),
  },
  {
    key: 'families',
    problem: (file) => {
      const all = families(file);
      const twice = all.find((family, at) => all.indexOf(family) !== at);
      if (twice !== undefined) return `"${twice}" is there twice`;
      const vpn = all.some((family) => ['vpnv4', 'vpnv6', 'evpn'].includes(family));
      return when(all.includes('rtc') && !vpn, 'rtc is about vpnv4, vpnv6 and evpn: none is there');
    },
  },
  {
    key: 'encapsulation',
    problem: ({ encapsulation = [] }) =>
      when(new Set(encapsulation).size < encapsulation.length, 'names one twice'),
  },
];

const PASSWORD_TOO_LONG = `longer than ${MAX_PASSWORD_BYTES} bytes, the most that TCP MD5 takes`;

function sharedProblems(
  file: SharedFile,
  as: number,
  policies: readonly string[],
  path: Path,
): Problem[] {
  const problems = RULES.flatMap(({ key, problem }): Problem[] => {
    const message = problem(file, as);
    return message === undefined
      ? []
      : [{ path: file[key] === undefined ? path : [...path, key], message }];
  });
  for (const key of ['import', 'export'] as const) {
    const wanted = file[key];
    if (wanted === undefined || policies.includes(wanted)) continue;
    const message = `no policy "${wanted}"${suggestion(wanted, policies)}`;
    problems.push({ path: [...path, key], message });
  }
  return problems;
}

function isUnicast(text: string): boolean {
  const { family, bytes } = parseIp(text);
  const first = bytes[0] as number;
  if (family === 4) return first > 0 && first < 224;
  return first !== 0xff && bytes.some((byte) => byte !== 0);
}

/** Of one neighbour alone. */
export function neighbourProblems(
  file: NeighbourFile,
  as: number,
  policies: readonly string[],
  path: Path,
): Problem[] {
  const problems = sharedProblems(file, as, policies, path);
  const { address, local_address } = file;
  if (!isUnicast(address)) problems.push({ path: [...path, 'address'], message: 'is no host' });
  problems.push(...linkProblems(file, path));
  if (local_address !== undefined && parseIp(local_address).family !== parseIp(address).family) {
    const message = `is not of the family of ${address}`;
    problems.push({ path: [...path, 'local_address'], message });
  }
  return problems;
}

function isLinkLocal(text: string): boolean {
  const { family, bytes } = parseIp(text);
  return family === 6 && bytes[0] === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80;
}

/** Of link-local addresses: they are of one link, and what next hops unicast routes would have there nobody else has. */
function linkProblems({ address, interface: on, families }: NeighbourFile, path: Path): Problem[] {
  if (isLinkLocal(address) !== (on !== undefined)) {
    const message =
      on === undefined ? 'is missing: the address is link-local' : 'is for link-local addresses';
    return [{ path: [...path, 'interface'], message }];
  }
  const at = on === undefined ? -1 : (families ?? []).findIndex((name) => name.endsWith('unicast'));
  if (at < 0) return [];
  return [{ path: [...path, 'families', at], message: 'needs a neighbour with a global address' }];
}

export function bgpProblems(file: BgpFile, path: Path): Problem[] {
  const { neighbors = [], ranges = [], policies = [] } = file;
  const known = policies.map((policy) => policy.name);
  const names = [...neighbors.map(neighbourName), ...ranges.map((range) => range.name)];
  const places = neighbors.map(
    ({ local_address, ...file }) =>
      `${placeText(file)}${local_address === undefined ? '' : ` from ${canonicalIp(local_address)}`}`,
  );
  const placeOf = (at: number): Path =>
    at < neighbors.length
      ? [...path, 'neighbors', at, neighbors[at]?.name === undefined ? 'address' : 'name']
      : [...path, 'ranges', at - neighbors.length, 'name'];
  const byName = repeated(names, placeOf);
  const told = new Set(byName.map((problem) => problem.path.join()));
  const addresses = repeated(places, (at) => [...path, 'neighbors', at, 'address']);
  return [
    ...(isUnicast(file.router_id) ? [] : [{ path: [...path, 'router_id'], message: 'is no host' }]),
    ...byName,
    ...addresses.filter((problem) => !told.has(problem.path.join())),
    ...repeated(
      ranges.map((range) => canonicalPrefix(range.prefix)),
      (at) => [...path, 'ranges', at, 'prefix'],
    ),
    ...repeated(known, (at) => [...path, 'policies', at, 'name']),
    ...policies.flatMap((policy, at) => policyProblems(policy, [...path, 'policies', at])),
    ...neighbors.flatMap((neighbour, at) =>
      neighbourProblems(neighbour, file.as, known, [...path, 'neighbors', at]),
    ),
    ...ranges.flatMap((range, at) =>
      sharedProblems(range, file.as, known, [...path, 'ranges', at]),
    ),
  ];
}

/** What a password file has, or why it cannot be one. */
export function passwordProblem(password: string): string | undefined {
  if (password === '') return 'its first line is empty';
  return when(Buffer.byteLength(password) > MAX_PASSWORD_BYTES, PASSWORD_TOO_LONG);
}
