/**
 * The short way through a stanza (src/xmpp/plain.ts) against the long one: byte by byte nothing is ever there whole,
 * so saxes reads it all. Both must say the same of sound streams, and of unsound ones.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VRouterError } from '../../src/errors.ts';
import { XML_LIMITS, type XmlLimits } from '../../src/xmpp/limits.ts';
import { readPlain } from '../../src/xmpp/plain.ts';
import { XmlReader } from '../../src/xmpp/reader.ts';
import { CONFIG, EVENTS, PUBLISHES, SUBSCRIPTIONS } from '../unit/xmpp/messages.ts';

function read(text: string, size: number, limits: XmlLimits = XML_LIMITS): string[] {
  const log: string[] = [];
  const reader = new XmlReader(
    {
      opened: ({ name }) => log.push(`opened ${name}`),
      stanza: (stanza) => log.push(JSON.stringify(stanza)),
      closed: () => log.push('closed'),
    },
    limits,
  );
  const bytes = Buffer.from(`<s>${text}`);
  try {
    for (let from = 0; from < bytes.length; from += size) {
      reader.push(bytes.subarray(from, from + size));
    }
  } catch (error) {
    if (!(error instanceof VRouterError)) throw error;
    log.push(error.code);
  }
  return log;
}

function same(text: string, limits?: XmlLimits): void {
  expect(read(text, 1 << 16, limits), text).toEqual(read(text, 1, limits));
}

const name = fc.constantFrom('iq', 'message', 'a', 'b:c', '_x', 'item-9', 'iqx');
const blank = fc.constantFrom('', '', '', ' ', '\n', '\t ', '\r\n', '\u00a0');
const value = fc.constantFrom(
  '',
  'x',
  'a b',
  '>',
  "it's",
  'x"y',
  '&amp;',
  '&',
  '\t',
  'é',
  '1/1/vn/10.0.0.1/32',
);
const attribute = fc
  .tuple(
    fc.constantFrom(' ', '\n', '', '  '),
    fc.constantFrom('id', 'node', 'xmlns', 'x:y', '1a'),
    fc.constantFrom('=', ' = '),
    fc.constantFrom('"', "'"),
    value,
  )
  .map(([space, key, equals, quote, text]) => `${space}${key}${equals}${quote}${text}${quote}`);
const text = fc.constantFrom(
  '',
  '',
  'text',
  ' \n ',
  'a &lt; b',
  'a\r\nb',
  ']]>',
  'x]]',
  '<!-- c -->',
  '<![CDATA[x]]>',
  '\u0200',
  '\0',
  '<',
  '>',
  '<?p?>',
  'ü',
  '\ud800',
);

const { tree } = fc.letrec<{ tree: string }>((tie) => ({
  tree: fc
    .record({
      name,
      attributes: fc.array(attribute, { maxLength: 2 }),
      before: blank,
      content: fc.oneof(
        {
          weight: 3,
          arbitrary: fc.array(
            fc.oneof(
              { maxDepth: 3, depthIdentifier: 'xml' },
              { weight: 2, arbitrary: text },
              { weight: 3, arbitrary: tie('tree') },
            ),
            {
              maxLength: 3,
            },
          ),
        },
        { weight: 1, arbitrary: fc.constant(undefined) },
      ),
      close: fc.option(name, { freq: 12 }),
      after: blank,
    })
    .map(({ name, attributes, before, content, close, after }) => {
      const head = `<${name}${attributes.join('')}${before}`;
      return content === undefined
        ? `${head}/>`
        : `${head}>${content.join('')}</${close ?? name}${after}>`;
    }),
}));

test('sound or not, in one piece or byte by byte', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(tree, blank), { maxLength: 4 }), (parts) => {
      same(parts.join(''));
    }),
    { numRuns: 3000 },
  );
});

test('messages of the exchange, damaged in one place', () => {
  const all = [...PUBLISHES, ...EVENTS, ...SUBSCRIPTIONS].map(([, message]) => message);
  const damage = fc.constantFrom(
    '',
    '<',
    '>',
    '/',
    '"',
    '&',
    ' ',
    '\n',
    '=',
    'é',
    '\0',
    '<a>',
    '</iq>',
    '<iq>',
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...all, CONFIG),
      fc.nat(),
      fc.nat(2),
      damage,
      (message, at, cut, put) => {
        const place = at % message.length;
        same(message.slice(0, place) + put + message.slice(place + cut) + message);
      },
    ),
    { numRuns: 1500 },
  );
});

test('limits, each by one and at it', () => {
  const limits: XmlLimits = {
    ...XML_LIMITS,
    stanzaBytes: 120,
    depth: 4,
    elements: 5,
    attributes: 2,
    attributeLength: 12,
    textLength: 8,
  };
  const cases = [
    '<a>12345678</a>',
    '<a>123456789</a>',
    '<a>1234<b/>5678</a>',
    '<a>1234<b/>56789</a>',
    `<a>${' '.repeat(9)}</a>`,
    '<a><b><c/></b></a>',
    '<a><b><c><d/></c></b></a>',
    '<a><b/><b/><b/><b/></a>',
    '<a><b/><b/><b/><b/><b/></a>',
    '<a x="1" y="2"/>',
    '<a x="1" y="2" z="3"></a>',
    '<a x="12345678901"></a>',
    '<a x="123456789012"></a>',
    '<a x="1" x="2"></a>',
    `<a><b>${'1'.repeat(7)}</b><b>${'1'.repeat(7)}</b>${'<!---->'.repeat(12)}</a>`,
    `<a x="1">${'\n'.repeat(8)}${'<b/>'.repeat(4)}</a>`,
  ];
  for (const one of cases) same(one + one, limits);
});

test('and the short way is taken by what is usual', () => {
  for (const [what, message] of [...PUBLISHES, ...EVENTS, ...SUBSCRIPTIONS]) {
    expect(readPlain(message, 0, XML_LIMITS)?.end, what).toBeGreaterThan(0);
  }
});
