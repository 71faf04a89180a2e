/** The configuration graph against its invariants: one node an object, one row a link, nothing beyond the limits. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ConfigChange,
  ConfigGraph,
  type ConfigLink,
  type ConfigNode,
  keyText,
  linkText,
  type ObjectKey,
} from '../../../src/ifmap/graph.ts';
import { LINKS } from '../../../src/ifmap/objects.ts';
import { linkArbitrary, nodeArbitrary } from '../../support/config-arbitrary.ts';

const vm = (name: string): ConfigNode => ({ type: 'virtual-machine', name, properties: {} });
const vmi = (name: string): ConfigNode => ({
  type: 'virtual-machine-interface',
  name,
  properties: {},
});
const joined = (a: string, b: string): ConfigLink => ({
  metadata: 'virtual-machine-interface-virtual-machine',
  ends: [
    { type: 'virtual-machine-interface', name: a },
    { type: 'virtual-machine', name: b },
  ],
});

function graphOf(...changes: ConfigChange[]): ConfigGraph {
  const graph = new ConfigGraph();
  for (const change of changes) graph.apply(change);
  return graph;
}

const names = (nodes: readonly ConfigNode[]) => nodes.map(({ name }) => name);

describe('links', () => {
  test('lead both ways, in the order of names, and are one whichever way they are said', () => {
    const graph = graphOf(
      { kind: 'node', node: vm('m') },
      { kind: 'node', node: vmi('z') },
      { kind: 'node', node: vmi('a') },
      { kind: 'link', link: joined('z', 'm') },
      { kind: 'link', link: joined('a', 'm') },
    );
    const { metadata, ends } = joined('a', 'm');
    graph.apply({ kind: 'link', link: { metadata, ends: [ends[1], ends[0]] } });
    expect(graph.linkCount).toBe(2);
    expect(names(graph.neighbours(vm('m')))).toEqual(['a', 'z']);
    expect(names(graph.neighbours(vmi('z'), 'virtual-machine'))).toEqual(['m']);
    expect(graph.neighbours(vmi('z'), 'virtual-network')).toEqual([]);
  });

  test('wait for their objects, and go with them', () => {
    const graph = graphOf(
      { kind: 'link', link: joined('a', 'm') },
      { kind: 'node', node: vmi('a') },
    );
    expect(graph.neighbours(vmi('a'))).toEqual([]);
    graph.apply({ kind: 'node', node: vm('m') });
    expect(names(graph.neighbours(vmi('a')))).toEqual(['m']);
    graph.apply({ kind: 'node', remove: true, key: vm('m') });
    expect(graph.linkCount).toBe(0);
    graph.apply({ kind: 'node', node: vm('m') });
    expect(graph.neighbours(vmi('a'))).toEqual([]);
  });
});

test('two types are joined by one name only', () => {
  const pairs = LINKS.map(([, a, b]) => [a, b].sort().join(' '));
  expect(new Set(pairs).size).toBe(pairs.length);
});

test('limits refuse what is beyond, and leave the rest as it was', () => {
  const graph = new ConfigGraph({ objects: 2, links: 1 });
  graph.apply({ kind: 'node', node: vm('m') });
  graph.apply({ kind: 'node', node: vmi('a') });
  expect(() => graph.apply({ kind: 'node', node: vmi('b') })).toThrow(/more than 2 objects/);
  graph.apply({ kind: 'node', node: vmi('a') }); // there already: it is no other
  graph.apply({ kind: 'link', link: joined('a', 'm') });
  expect(() => graph.apply({ kind: 'link', link: joined('b', 'm') })).toThrow(/more than 1 links/);
  expect([graph.size, graph.linkCount]).toEqual([2, 1]);
  graph.apply({ kind: 'node', remove: true, key: vm('m') });
  graph.apply({ kind: 'node', node: vmi('b') });
  expect(names(graph.nodes())).toEqual(['a', 'b']);
});

test('any order of changes is what two plain maps say', () => {
  const change: fc.Arbitrary<ConfigChange> = fc.oneof(
    nodeArbitrary.map((node): ConfigChange => ({ kind: 'node', node })),
    nodeArbitrary.map(
      ({ type, name }): ConfigChange => ({
        kind: 'node',
        remove: true,
        key: { type, name },
      }),
    ),
    fc
      .tuple(linkArbitrary, fc.boolean())
      .map(([link, remove]): ConfigChange => ({ kind: 'link', remove, link })),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      const graph = graphOf(...changes);
      const nodes = new Map<string, ConfigNode>();
      let links = new Map<string, ConfigLink>();
      for (const one of changes) {
        if (one.kind === 'link') {
          if (one.remove === true) links.delete(linkText(one.link));
          else if (!links.has(linkText(one.link))) links.set(linkText(one.link), one.link);
        } else if (one.remove === true) {
          nodes.delete(keyText(one.key));
          const gone = (end: ObjectKey) => keyText(end) === keyText(one.key);
          links = new Map([...links].filter(([, { ends }]) => !ends.some(gone)));
        } else {
          nodes.set(keyText(one.node), one.node);
        }
      }
      expect(new Set(graph.nodes())).toEqual(new Set(nodes.values()));
      expect(graph.linkCount).toBe(links.size);
      for (const node of nodes.values()) {
        const there = [...links.values()].flatMap(({ ends: [a, b] }) =>
          keyText(a) === keyText(node) ? [b] : keyText(b) === keyText(node) ? [a] : [],
        );
        const wanted = new Set(there.map(keyText).filter((key) => nodes.has(key)));
        expect(new Set(graph.neighbours(node).map(keyText))).toEqual(wanted);
      }
    }),
  );
});
