/** Messages from test/fixtures/bgp, and the options under which they were spoken. */
import { readFileSync } from 'node:fs';
import type { WireOptions } from '../../src/bgp/wire/attributes.ts';
import { FAMILY_NAMES } from '../../src/bgp/wire/family-names.ts';
import { MAX_MESSAGE } from '../../src/bgp/wire/message.ts';

export interface FixtureMessage {
  readonly name: string;
  readonly kind: string;
  readonly body: Uint8Array;
}

export const INTERNAL: WireOptions = {
  as4: true,
  external: false,
  families: new Set(FAMILY_NAMES),
  addPath: new Set(),
  maxMessage: MAX_MESSAGE,
};

export const MESSAGES: readonly FixtureMessage[] = readFileSync(
  new URL('../fixtures/bgp/messages.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [name = '', kind = '', hex = ''] = line.split(' ');
    return { name, kind, body: Uint8Array.from(Buffer.from(hex, 'hex')) };
  });

export function messageBody(name: string): Uint8Array {
  const found = MESSAGES.find((message) => message.name === name);
  if (found === undefined) throw new Error(`no fixture ${name}`);
  return found.body;
}
