/** Speakers over real sockets, on loopback. */
import { afterEach, describe, expect, test } from 'vitest';
import { BgpSpeaker, type BgpSpeakerOptions } from '../../src/bgp/session/speaker.ts';
import { TcpTransport } from '../../src/bgp/session/tcp.ts';
import { ip, neighbour, RecordingRib } from '../support/bgp-speakers.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function speakerAt(
  address: string,
  port = 0,
  more: Partial<BgpSpeakerOptions> = {},
): Promise<{ speaker: BgpSpeaker; rib: RecordingRib; port: number }> {
  const transport = await TcpTransport.open({ listen: [{ address: ip(address), port }] });
  const speaker = new BgpSpeaker({
    speaker: { as: 65000, id: ip(address) },
    transport,
    makeRib: (options) => new RecordingRib(options),
    ...more,
  });
  closing.push(() => speaker.close());
  return { speaker, rib: speaker.rib as RecordingRib, port: transport.ports[0] as number };
}

describe('plain TCP', () => {
  test('a session comes up between two that both call, and ends with what was said', async () => {
    const a = await speakerAt('127.0.1.1');
    const b = await speakerAt('127.0.1.2');
    const to = (address: string, port: number, localAddress: string) =>
      neighbour(address, { port, localAddress: ip(localAddress) });
    a.speaker.setNeighbour(to('127.0.1.2', b.port, '127.0.1.1'));
    b.speaker.setNeighbour(to('127.0.1.1', a.port, '127.0.1.2'));
    const state = () => [
      a.speaker.neighbour('127.0.1.2')?.state,
      b.speaker.neighbour('127.0.1.1')?.state,
    ];
    await expect.poll(state, { timeout: 5000 }).toEqual(['established', 'established']);
    a.speaker.shutdown('127.0.1.2', 'moved to another rack');
    await expect.poll(() => b.rib.peers[0]?.log).toEqual(['up', 'down']);
    expect(b.speaker.neighbour('127.0.1.1')?.lastErrorIn?.text).toBe(
      'cease: administrative shutdown (6/2): "moved to another rack"',
    );
  });
});
