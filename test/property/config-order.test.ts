/**
 * Whatever the order in which a configuration comes, and in whatever pieces: it asks the same of a node. Orders that the
 * wire allows: a node before the links that use it; a link, or an object and its links, may go and come again.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { desiredState } from '../../src/configured/translate.ts';
import { type ConfigChange, ConfigGraph, type ConfigLink } from '../../src/ifmap/graph.ts';
import { configBodies, readConfig, writeConfigIq } from '../../src/xmpp/config-message.ts';
import { configElements } from '../support/config-graph.ts';
import { type RandomConfiguration, randomConfiguration } from '../support/random-configuration.ts';

const HEAD = { from: 'c', to: 'a/config' };

function asked({ nodes, links, ports }: RandomConfiguration) {
  const graph = new ConfigGraph();
  for (const node of nodes) graph.apply({ kind: 'node', node });
  for (const link of links) graph.apply({ kind: 'link', link });
  return desiredState(graph, ports);
}

/** An order, by random numbers: the next of those whose objects are there; some go and come again. */
function ordered({ nodes, links }: RandomConfiguration, picks: readonly number[]): ConfigChange[] {
  const changes: ConfigChange[] = [];
  const known = new Set<string>();
  const left: ConfigChange[] = [
    ...nodes.map((node): ConfigChange => ({ kind: 'node', node })),
    ...links.map((link): ConfigChange => ({ kind: 'link', link })),
  ];
  const ready = (change: ConfigChange) =>
    change.kind === 'node' ||
    change.link.ends.every(({ type, name }) => known.has(`${type} ${name}`));
  for (let i = 0; left.length > 0; i++) {
    const candidates = left.filter(ready);
    const pick = picks[i % picks.length] ?? 0;
    const change = candidates[pick % candidates.length] as ConfigChange;
    left.splice(left.indexOf(change), 1);
    if (change.kind === 'link') {
      if (pick % 5 === 0) changes.push(change, { ...change, remove: true });
    } else if (change.remove !== true) {
      const { type, name } = change.node;
      known.add(`${type} ${name}`);
      // What it was before is nothing to anybody.
      if (pick % 3 === 0)
        changes.push({
          kind: 'node',
          node: { ...change.node, properties: {} } as typeof change.node,
        });
    }
    changes.push(change);
  }
  return changes;
}

test('any order of arrival, in any pieces, asks the same', () => {
  fc.assert(
    fc.property(
      randomConfiguration,
      fc.array(fc.nat(1000), { minLength: 1, maxLength: 60 }),
      fc.nat(15),
      (configuration, picks, size) => {
        const changes = ordered(configuration, picks);
        const graph = new ConfigGraph();
        for (let at = 0; at < changes.length; at += size + 1) {
          // Cut where it pleases, and only as texts.
          for (const change of changes.slice(at, at + size + 1)) {
            const [body] = configBodies([change]) as [string];
            for (const element of configElements(writeConfigIq(HEAD, body))) {
              for (const one of readConfig(element).changes) graph.apply(one);
            }
          }
          desiredState(graph, configuration.ports); // in between, too
        }
        const turned = [...configuration.ports].reverse();
        expect(desiredState(graph, turned)).toEqual(asked(configuration));
      },
    ),
    { numRuns: 150 },
  );
});

test('what has gone asks for nothing', () => {
  fc.assert(
    fc.property(
      randomConfiguration,
      fc.array(fc.nat(1000), { minLength: 1 }),
      (configuration, picks) => {
        const graph = new ConfigGraph();
        for (const change of ordered(configuration, picks)) graph.apply(change);
        const links: ConfigLink[] = [...configuration.links].reverse();
        for (const link of links) graph.apply({ kind: 'link', remove: true, link });
        for (const { type, name } of configuration.nodes)
          graph.apply({ kind: 'node', remove: true, key: { type, name } });
        expect(graph.size).toBe(0);
        const { vifs, vrfs, policies, notes } = desiredState(graph, configuration.ports);
        expect({ vifs, vrfs, policies, notes }).toEqual({
          vifs: [],
          vrfs: [],
          policies: [],
          notes: [],
        });
      },
    ),
    { numRuns: 50 },
  );
});
