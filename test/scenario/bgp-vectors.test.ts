/**
 * The vectors (test/fixtures/bgp), which gobgpd and FRR took from another speaker: what each says, said by ours, is
 * taken by them again, the session stays, and they see it as we do. One of them would kill an FRR as it came in.
 */
import { describe, expect, test } from 'vitest';
import { readUpdate } from '../../src/bgp/wire/update.ts';
import { INTERNAL, MESSAGES } from '../support/bgp-messages.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { eventually, meet, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';
import { type OurPath, Ours, seenPath } from '../support/bgp-peers/ours.ts';
import { byKey } from '../support/bgp-peers/peer.ts';

const AS = 65000;
const FAMILIES = ['vpnv4', 'vpnv6', 'evpn'] as const;

const PATHS: readonly OurPath[] = MESSAGES.filter(({ kind }) => kind === 'update').flatMap(
  ({ body }) => {
    const { update } = readUpdate(body, INTERNAL);
    const { attributes, announced } = update;
    return announced.flatMap(({ family, nextHop, nlri }) =>
      nlri.map((one) => ({ family, nextHop, nlri: one, attributes })),
    );
  },
);

describe.each([
  { name: 'gobgpd', commands: GOBGP_COMMANDS, start: Gobgp.start },
  { name: 'FRR', commands: FRR_COMMANDS, start: Frr.start },
])('$name', ({ commands, start }) => {
  const skipped = whyNoPeers(commands) !== undefined;
  test.skipIf(skipped)('takes them', () =>
    withLab(async (lab) => {
      const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('its')];
      const ours = await Ours.start(ourHost, within(AS, FAMILIES, [itsHost]));
      const its = await start(itsHost, within(AS, FAMILIES, [ourHost]));
      await meet(ours, its);
      expect(PATHS.length).toBe(15);
      // One after the other: whoever falls over one of them is known by it.
      for (const path of PATHS) {
        await ours.originate(path);
        const expected = { ...seenPath(path), from: ourHost.address };
        const seen = await eventually(
          its,
          `${path.family} ${JSON.stringify(path.nlri)}`,
          async () => (await its.routes(path.family)).toSorted(byKey),
          (all) => all.some(({ key }) => key === expected.key),
        );
        const found = seen.find(({ key }) => key === expected.key);
        const label = found?.label === undefined ? { label: undefined } : {};
        expect({ ...expected, ...label }).toEqual({ label: undefined, ...found });
        expect(await its.established(), expected.key).toEqual([ourHost.address]);
      }
      for (const family of FAMILIES) {
        const count = PATHS.filter((path) => path.family === family).length;
        expect((await its.routes(family)).length).toBe(count);
      }
    }),
  );
});
