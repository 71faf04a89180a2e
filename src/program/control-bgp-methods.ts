/**
 * Methods of `vrouter control bgp`: what there is, and neighbours and policies that come, change and go at run time. They
 * are the speaker's, wherever it is; the control node adds what its bridge counts.
 */
import { z } from 'zod';
import { FAMILY_NAMES, type FamilyName } from '../bgp/wire/family-names.ts';
import { neighbourSchema } from '../config/bgp.ts';
import { familyName, policySchema } from '../config/bgp-policies.ts';
import { ConfigText } from '../config/document.ts';
import { choice, mapping, name, whole } from '../config/fields.ts';
import { check, checkParams } from '../config/load.ts';
import { VRouterError } from '../errors.ts';
import type { ServedBgp } from './control-bgp.ts';
import {
  peerPage,
  ribPage,
  type SpeakerView,
  speakerView,
  withBridge,
} from './control-bgp-views.ts';
import type { Methods } from './rpc-server.ts';
import type { SpeakerPart } from './speaker-part.ts';

const after = whole(0, 0xffffffff).optional();
/** Of a range: its name, a slash and an address. */
const neighbour = z.string().min(1).max(256);
const prefix = z.string().min(1).max(256).optional();

const schemas = {
  none: mapping({}),
  routes: mapping({ family: familyName.optional(), prefix, after }),
  crossing: mapping({ neighbor: neighbour, family: familyName.optional(), prefix, after }),
  neighbour: mapping({ name: neighbour }),
  ending: mapping({ name: neighbour, text: z.string().max(128).optional() }),
  clear: mapping({
    name: neighbour,
    how: choice(['hard', 'in', 'out']).optional(),
    text: z.string().max(128).optional(),
  }),
  policy: mapping({ name }),
};

const familiesOf = (family: FamilyName | undefined): readonly FamilyName[] =>
  family === undefined ? FAMILY_NAMES : [family];

/** What was given, and the text that its problems are said of. */
function checked<S extends z.ZodType>(schema: S, method: string, params: unknown) {
  const text = new ConfigText(method, JSON.stringify(params ?? {}));
  return { value: check(schema, text), text };
}

export interface SpeakerHooks {
  /** What a neighbour says means something else now: to be read anew. */
  otherMeaning(): void;
}

export function speakerMethods(served: () => SpeakerPart, hooks: SpeakerHooks): Methods {
  const crossing = (which: 'received' | 'advertised') => (params: unknown) => {
    const given = checkParams(schemas.crossing, `bgp.${which}`, params);
    const { speaker } = served();
    const peer = speaker.ribPeer(given.neighbor);
    if (peer === undefined) throw new VRouterError('NOT_FOUND', `no neighbour '${given.neighbor}'`);
    const families = familiesOf(given.family);
    return peerPage(speaker.rib, peer, which, families, given.prefix, given.after);
  };
  const known = (found: boolean, of: string) => {
    if (!found) throw new VRouterError('NOT_FOUND', `no neighbour '${of}'`);
    return {};
  };
  return {
    'bgp.neighbors': (params) => {
      checkParams(schemas.none, 'bgp.neighbors', params);
      return speakerView(served());
    },
    'bgp.routes': (params) => {
      const given = checkParams(schemas.routes, 'bgp.routes', params);
      const { rib } = served().speaker;
      return ribPage(rib, familiesOf(given.family), given.prefix, given.after);
    },
    'bgp.received': crossing('received'),
    'bgp.advertised': crossing('advertised'),
    'bgp.policies': (params) => {
      checkParams(schemas.none, 'bgp.policies', params);
      return served().neighbours.policies();
    },
    'bgp.policy.set': (params) => {
      const { value, text } = checked(policySchema, 'bgp.policy.set', params);
      served().neighbours.setPolicy(value, text);
      return {};
    },
    'bgp.policy.remove': (params) => {
      served().neighbours.removePolicy(
        checkParams(schemas.policy, 'bgp.policy.remove', params).name,
      );
      return {};
    },
    'bgp.neighbor.add': (params) => {
      const { value, text } = checked(neighbourSchema, 'bgp.neighbor.add', params);
      served().neighbours.add(value, text);
      return {};
    },
    'bgp.neighbor.update': (params) => {
      const { value, text } = checked(neighbourSchema, 'bgp.neighbor.update', params);
      if (served().neighbours.update(value, text)) hooks.otherMeaning();
      return {};
    },
    'bgp.neighbor.remove': (params) => {
      const given = checkParams(schemas.neighbour, 'bgp.neighbor.remove', params);
      served().neighbours.remove(given.name);
      return {};
    },
    'bgp.neighbor.enable': (params) => {
      const given = checkParams(schemas.neighbour, 'bgp.neighbor.enable', params);
      return known(served().speaker.enable(given.name), given.name);
    },
    'bgp.neighbor.disable': (params) => {
      const given = checkParams(schemas.ending, 'bgp.neighbor.disable', params);
      return known(served().speaker.shutdown(given.name, given.text), given.name);
    },
    'bgp.neighbor.clear': (params) => {
      const {
        name: of,
        how = 'hard',
        text,
      } = checkParams(schemas.clear, 'bgp.neighbor.clear', params);
      const { speaker } = served();
      known(speaker.neighbour(of) !== undefined, of);
      if (!speaker.clear(of, how, text)) {
        const why = 'there is no session, or its peer cannot say its routes again';
        throw new VRouterError('BUSY', `neighbour '${of}': ${why}`);
      }
      return {};
    },
  };
}

const nobody = (): never => {
  throw new VRouterError('NOT_FOUND', 'there is no BGP here');
};
const NAMES = Object.keys(speakerMethods(nobody, { otherMeaning: nobody }));

/** As the control node has them on its socket. */
export function bgpMethods(bgp: ServedBgp | undefined): Methods {
  const served = (): ServedBgp => bgp ?? nobody();
  return {
    ...Object.fromEntries(
      NAMES.map((method) => [method, (params: unknown) => served().call(method, params)]),
    ),
    'bgp.neighbors': async (params) => {
      const view = (await served().call('bgp.neighbors', params)) as SpeakerView;
      return withBridge(view, served().federation);
    },
  };
}
