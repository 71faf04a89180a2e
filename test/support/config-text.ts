/**
 * A small configuration as a control node of the ancestor's kind tells it: strings, none of our codec. Each entry is one
 * object or one link, in an order in which the wire may have them.
 */

export const name = (type: string, of: string, content = '') =>
  `<node type="${type}"><name>${of}</name>${content}</node>`;

export const link = (
  metadata: string,
  a: readonly [string, string],
  b: readonly [string, string],
) => `<link>${name(...a)}${name(...b)}<metadata type="${metadata}" /></link>`;

export const VM = '2d308482-c7b3-4e05-af14-e732b7b50117';
export const VMI_UUID = 'ef1e9828-05b6-44a2-a410-d1b662594fc3';
export const VMI = `${VM}:${VMI_UUID}`;
export const BLUE = 'default-domain:demo:blue';
export const BLUE_RI = `${BLUE}:blue`;
export const SERVICES = 'default-domain:demo:services';
export const SERVICES_RI = `${SERVICES}:services`;
export const GROUP = 'default-domain:demo:web';
const IPAM = 'default-domain:demo:ipam';

const vmi = ['virtual-machine-interface', VMI] as const;
const blue = ['virtual-network', BLUE] as const;
const services = ['virtual-network', SERVICES] as const;
const group = ['security-group', GROUP] as const;
const ipam = ['virtual-network-network-ipam', `attr(${IPAM},${BLUE})`] as const;
const acl = (direction: string) =>
  ['access-control-list', `${GROUP}:${direction}-access-control-list`] as const;

/** Of ef1e9828-05b6-44a2-a410-d1b662594fc3, as in the ancestor's own test data. */
const ID_PERMS =
  '<id-perms><permissions><owner>cloud-admin</owner><owner-access>7</owner-access></permissions><uuid><uuid-mslong>17230376522028041378</uuid-mslong><uuid-lslong>11822179603111825347</uuid-lslong></uuid><enable>true</enable></id-perms>';

const rule = (match: string, action = 'pass') =>
  `<acl-rule><match-condition>${match}</match-condition><action-list><simple-action>${action}</simple-action></action-list><rule-uuid>r-1</rule-uuid></acl-rule>`;

export const match = (protocol: string, source: string, port: string, destination = '') =>
  `<ethertype>IPv4</ethertype><protocol>${protocol}</protocol><src-address>${source}</src-address><src-port><start-port>0</start-port><end-port>65535</end-port></src-port><dst-address>${destination}</dst-address><dst-port>${port}</dst-port>`;

export const ports = (start: number, end: number) =>
  `<start-port>${start}</start-port><end-port>${end}</end-port>`;

const list = (direction: string, ...rules: readonly string[]) =>
  name(
    ...acl(direction),
    `<access-control-list-entries><dynamic>false</dynamic>${rules.join('')}</access-control-list-entries>`,
  );

/** A service's address: a floating IP below an instance-ip of the services' network, with port mappings. */
export const floatingIp = (port = 8080, address = '10.96.0.10') =>
  name(
    'floating-ip',
    'svc-fip',
    `<floating-ip-address>${address}</floating-ip-address><floating-ip-traffic-direction>ingress</floating-ip-traffic-direction><floating-ip-port-mappings-enable>true</floating-ip-port-mappings-enable><floating-ip-port-mappings><port-mappings><protocol>TCP</protocol><src-port>80</src-port><dst-port>${port}</dst-port></port-mappings></floating-ip-port-mappings>`,
  );

export const INSTANCE_IP = name(
  'instance-ip',
  'iip-1',
  '<instance-ip-address>10.32.0.5</instance-ip-address>',
);

/** One interface: network, subnet, address, service, security group. */
export const CONFIGURATION: readonly string[] = [
  name('virtual-router', 'default-global-system-config:compute-1', ID_PERMS),
  name('virtual-machine', VM),
  name(
    ...vmi,
    `<virtual-machine-interface-mac-addresses><mac-address>02:ef:1e:98:28:05</mac-address></virtual-machine-interface-mac-addresses>${ID_PERMS}`,
  ),
  name(...blue, '<virtual-network-network-id>5</virtual-network-network-id>'),
  name(...services, '<virtual-network-network-id>6</virtual-network-network-id>'),
  name('routing-instance', BLUE_RI),
  name('routing-instance', SERVICES_RI),
  name(
    ...ipam,
    '<value><ipam-subnets><subnet><ip-prefix>10.32.0.0</ip-prefix><ip-prefix-len>12</ip-prefix-len></subnet><default-gateway>10.32.0.1</default-gateway></ipam-subnets></value>',
  ),
  INSTANCE_IP,
  name('instance-ip', 'svc-iip', '<instance-ip-address>10.96.0.10</instance-ip-address>'),
  floatingIp(),
  name(...group, '<security-group-id>8000001</security-group-id>'),
  list(
    'ingress',
    rule(
      match(
        '6',
        '<subnet><ip-prefix>10.32.0.0</ip-prefix><ip-prefix-len>12</ip-prefix-len></subnet>',
        ports(8080, 8080),
      ),
    ),
    rule(match('any', '<security-group>8000001</security-group>', ports(0, 65535))),
  ),
  list(
    'egress',
    rule(match('any', '', ports(0, 65535))),
    rule(
      match('any', '<virtual-network>default-domain:far:green</virtual-network>', ports(0, 65535)),
    ),
  ),
  link(
    'virtual-router-virtual-machine',
    ['virtual-router', 'default-global-system-config:compute-1'],
    ['virtual-machine', VM],
  ),
  link('virtual-machine-interface-virtual-machine', vmi, ['virtual-machine', VM]),
  link('virtual-machine-interface-virtual-network', vmi, blue),
  link('virtual-network-routing-instance', blue, ['routing-instance', BLUE_RI]),
  link('virtual-network-routing-instance', services, ['routing-instance', SERVICES_RI]),
  link('virtual-network-network-ipam', blue, ipam),
  link('instance-ip-virtual-machine-interface', ['instance-ip', 'iip-1'], vmi),
  link('instance-ip-virtual-network', ['instance-ip', 'iip-1'], blue),
  link('instance-ip-virtual-network', ['instance-ip', 'svc-iip'], services),
  link('instance-ip-floating-ip', ['instance-ip', 'svc-iip'], ['floating-ip', 'svc-fip']),
  link('floating-ip-virtual-machine-interface', ['floating-ip', 'svc-fip'], vmi),
  link('virtual-machine-interface-security-group', vmi, group),
  link('security-group-access-control-list', group, acl('ingress')),
  link('security-group-access-control-list', group, acl('egress')),
];

/** Another interface of the blue network, without a group. */
export const CLIENT = 'default-domain:demo:client';
const client = ['virtual-machine-interface', CLIENT] as const;
export const CLIENT_CONFIGURATION: readonly string[] = [
  name(
    ...client,
    '<virtual-machine-interface-mac-addresses><mac-address>02:00:00:00:00:06</mac-address></virtual-machine-interface-mac-addresses>',
  ),
  name('instance-ip', 'iip-client', '<instance-ip-address>10.32.0.6</instance-ip-address>'),
  link('virtual-machine-interface-virtual-network', client, blue),
  link('instance-ip-virtual-machine-interface', ['instance-ip', 'iip-client'], client),
];

/** As the ancestor writes them: at most 16 objects each, no version, no end. */
export function configIqs(
  updates: readonly string[],
  deletes: readonly string[] = [],
  attributes = '',
): string[] {
  const iqs: string[] = [];
  const iq = (content: string) =>
    iqs.push(
      `<iq type="set" from="network-control@contrailsystems.com" to="default-global-system-config:compute-1/config">\n\t<config${attributes}>\n\t\t${content}\n\t</config>\n</iq>\n`,
    );
  for (let at = 0; at < updates.length; at += 16)
    iq(`<update>${updates.slice(at, at + 16).join('\n')}</update>`);
  for (let at = 0; at < deletes.length; at += 16)
    iq(`<delete>${deletes.slice(at, at + 16).join('\n')}</delete>`);
  return iqs;
}
