/**
 * What a node file's parts say of each other: names that nothing has, names that two have. Pure; all problems
 * at once, each at its place.
 */
import type { Path, Problem } from './document.ts';
import type { NodeFile } from './node.ts';

function twice(list: readonly { readonly name: string }[], what: string, out: Problem[]): void {
  const seen = new Set<string>();
  for (const [i, { name }] of list.entries()) {
    if (seen.has(name))
      out.push({ path: [what, i, 'name'], message: `"${name}" is there already` });
    seen.add(name);
  }
}

const METADATA = { address: '169.254.169.254', port: 80 };

function linkLocalProblems(file: NodeFile, out: Problem[]): void {
  const { metadata, link_local = [] } = file.services ?? {};
  const text = ({ address, port }: typeof METADATA) => `${address}:${port}`;
  const taken = new Set(metadata === undefined ? [] : [text(METADATA)]);
  const names = new Set(metadata === undefined ? [] : ['metadata']);
  for (const [i, service] of link_local.entries()) {
    const path = ['services', 'link_local', i];
    if (!service.address.startsWith('169.254.')) {
      out.push({ path: [...path, 'address'], message: 'not in 169.254.0.0/16' });
    }
    if (taken.has(text(service)))
      out.push({ path: [...path, 'port'], message: `${text(service)} is there already` });
    if (names.has(service.name))
      out.push({ path: [...path, 'name'], message: `"${service.name}" is there already` });
    taken.add(text(service));
    names.add(service.name);
  }
}

function portProblems(
  { vifs = [], ports = [], control, services }: NodeFile,
  out: Problem[],
): void {
  const seen = new Set(vifs.map(({ name }) => name));
  for (const [i, { name, health_checks }] of ports.entries()) {
    const path = ['ports', i];
    if (seen.has(name))
      out.push({ path: [...path, 'name'], message: `"${name}" is there already` });
    seen.add(name);
    if ((health_checks ?? []).length > 0 && services === undefined) out.push(unserved(path));
  }
  if (ports.length > 0 && control?.configuration === undefined) {
    const message = 'there is no control.configuration in this file ({} is enough)';
    out.push({ path: ['ports'], message });
  }
}

function unserved(path: Path): Problem {
  const message = 'there are no services in this file ({} is enough)';
  return { path: [...path, 'health_checks'], message };
}

/** Of BGP, in a VRF of a node that has none. */
export const BGP_KEYS = ['import', 'export', 'maximum_paths'] as const;

function vrfProblems({ vrfs = [], bgp }: NodeFile, out: Problem[]): void {
  if (bgp !== undefined) return;
  for (const [i, vrf] of vrfs.entries()) {
    for (const key of BGP_KEYS) {
      if (vrf[key] !== undefined)
        out.push({ path: ['vrfs', i, key], message: 'there is no bgp in this file' });
    }
  }
}

export function nodeReferenceProblems(file: NodeFile): Problem[] {
  const { vrfs = [], policies = [], vifs = [], source_nats: nats = [] } = file;
  const out: Problem[] = [];
  twice(vrfs, 'vrfs', out);
  twice(policies, 'policies', out);
  twice(vifs, 'vifs', out);
  portProblems(file, out);
  vrfProblems(file, out);
  twice(nats, 'source_nats', out);
  const known = {
    VRF: new Set(vrfs.map(({ name }) => name)),
    policy: new Set(policies.map(({ name }) => name)),
  };
  const must = (what: keyof typeof known, name: string, path: Path) => {
    if (!known[what].has(name))
      out.push({ path, message: `there is no ${what} "${name}" in this file` });
  };
  linkLocalProblems(file, out);
  for (const [i, vif] of vifs.entries()) {
    must('VRF', vif.vrf, ['vifs', i, 'vrf']);
    if ((vif.health_checks ?? []).length > 0 && file.services === undefined)
      out.push(unserved(['vifs', i]));
    for (const [k, fip] of (vif.floating_ips ?? []).entries()) {
      must('VRF', fip.vrf, ['vifs', i, 'floating_ips', k, 'vrf']);
    }
    for (const list of ['network_policies', 'ingress_groups', 'egress_groups'] as const) {
      for (const [k, name] of (vif[list] ?? []).entries())
        must('policy', name, ['vifs', i, list, k]);
    }
  }
  for (const [i, nat] of nats.entries()) {
    must('VRF', nat.vrf, ['source_nats', i, 'vrf']);
    must('VRF', nat.to_vrf, ['source_nats', i, 'to_vrf']);
  }
  return out;
}
