/** Random configuration graphs for fast-check, made from the tables of src/ifmap/objects.ts. */
import fc from 'fast-check';
import type * as kinds from '../../src/ifmap/fields.ts';
import type { ConfigLink, ConfigNode } from '../../src/ifmap/graph.ts';
import { fieldsOf, LINKS, OBJECT_TYPES, type ObjectType } from '../../src/ifmap/objects.ts';

/** Texts XML gives back as they were: no blanks at the ends. */
const words = fc.string({ maxLength: 20, unit: 'grapheme-ascii' }).map((text) => text.trim());

/** By trying: a kind says itself what is a value of it. */
function valueOfKind(kind: kinds.Kind<unknown>): fc.Arbitrary<unknown> {
  const candidates: readonly fc.Arbitrary<string>[] = [
    fc.constantFrom('true', 'false'),
    fc.constantFrom('dhcp', 'fixed', 'none', 'default-dns-server', 'l2', 'l3', 'l2_l3', 'enable'),
    fc.constantFrom('both', 'ingress', 'egress', 'v4', 'v6', 'active-active', 'active-standby'),
    fc.constantFrom('IPv4', 'IPv6', 'pass', 'deny', '>', '<>', 'any', 'tcp', 'TCP', '17'),
    fc.ipV4(),
    fc.constantFrom('::', 'fd00::1', '02:00:00:00:00:01', '18446744073709551615', '-1', '0'),
    fc.nat(4095).map(String),
    words,
  ];
  return fc.oneof(...candidates).map((text) => {
    try {
      return text === '' ? kind.empty : kind.parse(text);
    } catch {
      return undefined;
    }
  });
}

function memberOf(field: kinds.Field): fc.Arbitrary<unknown> {
  switch (field.form) {
    case 'leaf':
      return valueOfKind(field.kind);
    case 'leaves':
      return fc
        .array(valueOfKind(field.kind), { maxLength: 3 })
        .map((all) => all.filter((value) => value !== undefined && value !== ''));
    case 'group':
      return propertiesOf(field.fields);
    case 'groups':
      return fc.array(propertiesOf(field.fields), { maxLength: 3 });
  }
}

function propertiesOf(fields: kinds.Fields): fc.Arbitrary<Record<string, unknown>> {
  const members = Object.fromEntries(
    Object.entries(fields).map(([key, field]) => [key, memberOf(field)]),
  );
  // What is not there is left out: an empty list is not told from none.
  return fc
    .record(members, { requiredKeys: [] })
    .map((all) =>
      Object.fromEntries(
        Object.entries(all).filter(
          ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
        ),
      ),
    );
}

const names = fc.constantFrom('a', 'b', 'c d', 'default-domain:x:y', 'ü<&>"\'', 'attr(a,b)');

export const nodeArbitrary: fc.Arbitrary<ConfigNode> = fc
  .constantFrom<ObjectType>(...OBJECT_TYPES)
  .chain((type) =>
    fc.record({ type: fc.constant(type), name: names, properties: propertiesOf(fieldsOf(type)) }),
  ) as fc.Arbitrary<ConfigNode>;

export const linkArbitrary: fc.Arbitrary<ConfigLink> = fc
  .tuple(fc.constantFrom(...LINKS), names, names, fc.boolean())
  .map(([[metadata, a, b], one, other, turned]) => {
    const ends = [
      { type: a, name: one },
      { type: b, name: other },
    ] as const;
    return { metadata, ends: turned ? [ends[1], ends[0]] : ends };
  });
