import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import { XML_LIMITS, type XmlLimits } from '../../../src/xmpp/limits.ts';
import { XmlReader } from '../../../src/xmpp/reader.ts';
import { element, writeXml, type XmlElement } from '../../../src/xmpp/xml.ts';

const HEADER =
  "<?xml version='1.0'?><stream:stream from='a' xmlns='' xmlns:stream='http://etherx.jabber.org/streams' >";

interface Heard {
  readonly stanzas: XmlElement[];
  header?: XmlElement;
  closed: boolean;
  code?: string;
}

/** Everything a reader gives for these chunks, and the code it ended with. */
function read(chunks: Iterable<Uint8Array>, limits?: Partial<XmlLimits>): Heard {
  const heard: Heard = { stanzas: [], closed: false };
  const reader = new XmlReader(
    {
      opened: (header) => {
        heard.header = header;
      },
      stanza: (stanza) => heard.stanzas.push(stanza),
      closed: () => {
        heard.closed = true;
      },
    },
    { ...XML_LIMITS, ...limits },
  );
  try {
    for (const chunk of chunks) reader.push(chunk);
  } catch (error) {
    if (!(error instanceof VRouterError)) throw error;
    heard.code = error.code;
  }
  return heard;
}

const whole = (text: string, limits?: Partial<XmlLimits>) => read([Buffer.from(text)], limits);
const body = (text: string, limits?: Partial<XmlLimits>) => whole(HEADER + text, limits);

function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  let from = 0;
  for (let i = 0; from < bytes.length; i++) {
    const size = sizes.length === 0 ? 1 : (sizes[i % sizes.length] as number);
    // A fresh copy each: what the reader keeps must be its own.
    yield Uint8Array.from(bytes.subarray(from, from + size));
    from += size;
  }
}

const STREAM = Buffer.from(
  `${HEADER}\u0200<iq type="set" note='a > b "q" &lt;é𐍈'>\n <pubsub><x/> <y> t&amp;t <![CDATA[<raw>]]></y></pubsub>\r\n</iq>` +
    `\u0200\u0200 \t<!-- between > them --><message to="b"><!-- inside --><event/></message>\r\n</stream:stream>`,
);

describe('a stream', () => {
  test('is header, stanzas and end', () => {
    const heard = read([STREAM]);
    expect(heard.code).toBeUndefined();
    expect(heard.closed).toBe(true);
    expect(heard.header?.name).toBe('stream:stream');
    expect(heard.header?.attributes.from).toBe('a');
    expect(heard.stanzas).toEqual([
      element('iq', { type: 'set', note: 'a > b "q" <é𐍈' }, [
        element('pubsub', {}, [element('x'), element('y', {}, ' t&t <raw>')]),
      ]),
      element('message', { to: 'b' }, [element('event')]),
    ]);
  });

  test('is the same however it is cut, byte by byte too', () => {
    const expected = read([STREAM]);
    expect(read(cut(STREAM, [1]))).toEqual(expected);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
        expect(read(cut(STREAM, sizes))).toEqual(expected);
      }),
    );
  });

  test('is read from one buffer that is filled again and again', () => {
    const chunks = function* () {
      const buffer = Buffer.alloc(3);
      for (const piece of cut(STREAM, [1, 2, 3])) {
        buffer.set(piece);
        yield buffer.subarray(0, piece.length);
        buffer.fill(0xa5);
      }
    };
    expect(read(chunks())).toEqual(read([STREAM]));
  });

  test('gives a stanza with its last byte, not with the next stanza', () => {
    const text = `${HEADER}<iq><a/></iq>`;
    expect(whole(text.slice(0, -1)).stanzas).toEqual([]);
    expect(whole(text).stanzas).toHaveLength(1);
  });

  test('holds nothing of keepalives, however many', () => {
    const before = process.memoryUsage().heapUsed;
    const filler = Buffer.from('\u0200 \n'.repeat(1 << 14));
    const chunks = function* () {
      yield Buffer.from(HEADER);
      for (let i = 0; i < 500; i++) yield filler;
      yield Buffer.from('<iq/>');
    };
    expect(read(chunks()).stanzas).toEqual([element('iq')]);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(30 << 20);
  });

  test('with an element of its own name inside a stanza, and names that begin alike', () => {
    const text = `${HEADER}<iq><iq>a</iq><iqs></iqs ><!-- </iq> --></iq ><iq/>`;
    const inner = [element('iq', {}, 'a'), element('iqs')];
    for (const sizes of [[1], [2], [3], [5], [1000]]) {
      expect(read(cut(Buffer.from(text), sizes)).stanzas).toEqual([
        element('iq', {}, inner),
        element('iq'),
      ]);
    }
  });

  test('what follows its end is nobody’s', () => {
    const heard = body('<iq/></stream:stream><iq/> nonsense <');
    expect(heard).toMatchObject({ closed: true, stanzas: [element('iq')] });
    expect(heard.code).toBeUndefined();
  });
});

describe('refused, with a code', () => {
  const small: Partial<XmlLimits> = {
    headerBytes: 200,
    stanzaBytes: 120,
    depth: 5,
    elements: 6,
    attributes: 3,
    attributeLength: 80,
    textLength: 20,
  };
  test.each([
    ['a document type', '<?xml version="1.0"?><!DOCTYPE a><a>', 'XMPP_FORBIDDEN_XML'],
    [
      'billion laughs',
      `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>`,
      'XMPP_FORBIDDEN_XML',
    ],
    ['a processing instruction', '<?xml version="1.0"?><?php x?><a>', 'XMPP_FORBIDDEN_XML'],
    ['one between stanzas', `${HEADER}<?php x?>`, 'XMPP_FORBIDDEN_XML'],
    ['an entity nobody defined', `${HEADER}<iq>&lol;</iq>`, 'XMPP_NOT_XML'],
    ['an entity named as an object’s property', `${HEADER}<iq>&constructor;</iq>`, 'XMPP_NOT_XML'],
    ['a document type later', `${HEADER}<!DOCTYPE a>`, 'XMPP_NOT_XML'],
    ['text between stanzas', `${HEADER}<iq/> x <iq/>`, 'XMPP_NOT_FILLER'],
    ['escaped filler', `${HEADER}<iq/>&#32;<iq/>`, 'XMPP_NOT_FILLER'],
    ['CDATA between stanzas', `${HEADER}<![CDATA[ ]]><iq/>`, 'XMPP_NOT_FILLER'],
    ['the wrong closing tag', `${HEADER}<iq></message>`, 'XMPP_NOT_XML'],
    ['an attribute twice', `${HEADER}<iq a="1" a="2"/>`, 'XMPP_NOT_XML'],
    ['no XML at all', 'GET / HTTP/1.1\r\n\r\n', 'XMPP_NOT_XML'],
    ['a header without end', `<stream a${' '.repeat(200)}`, 'XMPP_HEADER_TOO_LONG'],
    ['deep nesting', `${HEADER}<a><a><a><a><a>`, 'XMPP_TOO_DEEP'],
    ['many elements', `${HEADER}<a>${'<b/>'.repeat(6)}</a>`, 'XMPP_TOO_MANY_ELEMENTS'],
    ['many attributes', `${HEADER}<a a="" b="" c="" d=""/>`, 'XMPP_TOO_MANY_ATTRIBUTES'],
    ['long attributes', `${HEADER}<a a="${'x'.repeat(90)}"/>`, 'XMPP_ATTRIBUTES_TOO_LONG'],
    ['long text', `${HEADER}<a>0123456789<!-- -->01234567890</a>`, 'XMPP_TEXT_TOO_LONG'],
    ['a long stanza', `${HEADER}<a>${' '.repeat(120)}`, 'XMPP_STANZA_TOO_LONG'],
    ['a long comment', `${HEADER}<!--${'x'.repeat(120)}`, 'XMPP_STANZA_TOO_LONG'],
  ])('%s', (_what, text, code) => {
    expect(whole(text, small).code).toBe(code);
    expect(read(cut(Buffer.from(text), [1]), small).code).toBe(code);
  });

  test('a stanza of exactly the limit is taken, one byte more is not', () => {
    const stanza = `<iq a="é">${' '.repeat(40)}</iq>`;
    const stanzaBytes = Buffer.byteLength(stanza);
    expect(body(stanza, { stanzaBytes }).stanzas).toHaveLength(1);
    expect(body(stanza, { stanzaBytes: stanzaBytes - 1 })).toMatchObject({
      stanzas: [],
      code: 'XMPP_STANZA_TOO_LONG',
    });
  });

  test.each([
    [Buffer.from([0xc8, 0x20])],
    [Buffer.from([0xff])],
    [Buffer.from([0xed, 0xa0, 0x80])],
    [Buffer.from([0xf8, 0x88, 0x80, 0x80, 0x80])],
    [Buffer.from([0xc0, 0x80])],
  ])('bytes that are not UTF-8: %j; the stanzas before them are given out', (bad) => {
    const bytes = Buffer.concat([Buffer.from(`${HEADER}<iq/>`), bad, Buffer.from('<iq/>')]);
    for (const sizes of [[1], [7], [10000]]) {
      expect(read(cut(bytes, sizes))).toMatchObject({
        stanzas: [element('iq')],
        code: 'XMPP_NOT_XML',
      });
    }
  });

  test('100 MB of one stanza: early, and the rest is never looked at', () => {
    const piece = Buffer.from(`<item>${'x'.repeat(60_000)}</item>`);
    for (const start of ['<iq>', '<iq a="', '<iq', '<!--', '<iq><![CDATA[', '<iq>&']) {
      let given = 0;
      const chunks = function* () {
        yield Buffer.from(HEADER + start);
        for (; given < 100 << 20; given += piece.length) {
          yield start === '<iq>' ? piece : Buffer.alloc(piece.length, 'x');
        }
      };
      const before = process.memoryUsage().heapUsed;
      expect(read(chunks()).code).toMatch(/^XMPP_(STANZA|TEXT)_TOO_LONG|^XMPP_NOT_XML/);
      expect(given).toBeLessThanOrEqual(XML_LIMITS.stanzaBytes + piece.length);
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 << 20);
    }
  });

  test('nothing is read after a fault', () => {
    const reader = new XmlReader({ opened() {}, stanza() {}, closed() {} });
    expect(() => reader.push(Buffer.from('nonsense'))).toThrow(VRouterError);
    expect(() => reader.push(Buffer.from(HEADER))).toThrow(VRouterError);
  });
});

describe('mutated streams', () => {
  test('end with a code or are read, the same however they are cut', () => {
    const mutation = fc.record({
      at: fc.nat(STREAM.length),
      remove: fc.nat(12),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 6 }),
        fc.constantFrom('<', '>', '"', '&', '<iq>', '</', '<!--', ']]>', '\0').map(Buffer.from),
      ),
    });
    fc.assert(
      fc.property(
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        fc.nat(STREAM.length),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 }),
        (mutations, end, sizes) => {
          let bytes = Buffer.from(STREAM);
          for (const { at, remove, insert } of mutations) {
            bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
          }
          bytes = bytes.subarray(0, Math.max(end, 20));
          const once = read([bytes]);
          expect(read(cut(bytes, sizes))).toEqual(once);
          for (const stanza of once.stanzas) {
            const again = body(writeXml(stanza));
            expect(again.stanzas).toEqual([stanza]);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('writing', () => {
  test('any text comes back', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((t) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those that XML cannot hold
      return !/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Cs}/u.test(t);
    });
    fc.assert(
      fc.property(text, text, (attribute, content) => {
        const tree = element('iq', { a: attribute }, [element('b', {}, `.${content}`)]);
        expect(body(writeXml(tree)).stanzas).toEqual([tree]);
      }),
    );
  });

  test('white space comes back as it was, where XML would make blanks of it', () => {
    const tree = element('iq', { a: ' a\tb\nc\rd\r\n ' }, [element('b', {}, 'a\tb\nc\rd\r\n ')]);
    expect(body(writeXml(tree)).stanzas).toEqual([tree]);
  });

  test.each(['\0', '\u001f', '\ufffe', '\ud800'])('%j is not sent', (bad) => {
    expect(() => writeXml(element('a', {}, bad))).toThrow(/XML cannot hold/);
    expect(() => writeXml(element('a', { b: bad }))).toThrow(/XML cannot hold/);
  });

  test('iq, message and items always have a closing tag of their own', () => {
    expect(writeXml(element('iq'))).toBe('<iq></iq>');
    expect(writeXml(element('mac'))).toBe('<mac />');
  });
});
