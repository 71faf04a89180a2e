/** Texts of the configuration channel through the real reader, into a graph. */
import { ConfigGraph } from '../../src/ifmap/graph.ts';
import { type ConfigMessage, readConfig } from '../../src/xmpp/config-message.ts';
import { XmlReader } from '../../src/xmpp/reader.ts';
import { writeClientHeader } from '../../src/xmpp/stream.ts';
import { childOf, type XmlElement } from '../../src/xmpp/xml.ts';

/** The <config> of each iq. */
export function configElements(text: string): XmlElement[] {
  const found: XmlElement[] = [];
  const reader = new XmlReader({
    opened() {},
    stanza(stanza) {
      const config = childOf(stanza, 'config');
      if (config !== undefined) found.push(config);
    },
    closed() {},
  });
  reader.push(Buffer.from(writeClientHeader({ from: 'a', to: 'b' }) + text));
  return found;
}

export const configMessages = (text: string): ConfigMessage[] =>
  configElements(text).map(readConfig);

/** What is refused is a mistake of the test. */
export function graphOf(iqs: readonly string[]): ConfigGraph {
  const graph = new ConfigGraph();
  for (const { changes, refused, skipped } of configMessages(iqs.join(''))) {
    if (refused.length > 0 || skipped > 0)
      throw new Error(`${skipped} skipped, refused: ${JSON.stringify(refused)}`);
    for (const change of changes) graph.apply(change);
  }
  return graph;
}
