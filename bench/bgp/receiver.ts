/**
 * Our speaker with its RIB, as the benchmark's receiver: the feeder is a neighbour, and whoever calls from 127.0.1.0/24.
 * It says its port, and answers how many routes of the feeder it has.
 */
import type { IpText } from '../../src/addr/ip.ts';
import type { PrefixText } from '../../src/addr/prefix.ts';
import type { Neighbour } from '../../src/bgp/neighbour.ts';
import { Rib } from '../../src/bgp/rib/rib.ts';
import { BgpSpeaker } from '../../src/bgp/session/speaker.ts';
import { TcpTransport } from '../../src/bgp/session/tcp.ts';

const ip = (text: string) => text as IpText;
const FEEDER = '127.0.0.2';
const template: Omit<Neighbour, 'name' | 'address' | 'passive'> = {
  ...{ port: 179, as: 65000, holdTime: 0, client: false, allowAsIn: 0 },
  families: [{ family: 'vpnv4' }],
};

export async function receive(): Promise<void> {
  const us = { as: 65000, id: ip('10.255.0.1') };
  const transport = await TcpTransport.open({ listen: [{ address: ip('127.0.0.1'), port: 0 }] });
  const speaker = new BgpSpeaker({
    speaker: us,
    transport,
    makeRib: (options) => new Rib(us, options),
  });
  const feeder = { ...template, name: FEEDER, address: ip(FEEDER), as: 65001, passive: true };
  speaker.setNeighbour(feeder);
  speaker.setRange({ name: 'peers', prefix: '127.0.1.0/24' as PrefixText, limit: 200, template });

  process.on('message', () => {
    const peer = speaker.ribPeer(FEEDER);
    const counts = peer === undefined ? undefined : speaker.rib.counts(peer).get('vpnv4');
    process.send?.({ accepted: counts?.accepted ?? 0 });
  });
  process.send?.({ port: transport.ports[0] });
}
