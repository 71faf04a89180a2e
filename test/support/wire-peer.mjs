// A stranger on a wire, for tests: runs in a network namespace of its own (nsenter), where the test's process
// cannot go. Uses the built adapters of the optional packages.
//   node wire-peer.mjs capture INTERFACE [FILTER]       "ready", then a line of hex for each frame
//   node wire-peer.mjs inject PROTOCOL ADDRESS HEX...   each as the payload of an IPv4 packet; "sent N"
import { CapPort } from '../../dist/ports/cap-port.js';
import { RawPort } from '../../dist/ports/raw-port.js';

const [what, ...args] = process.argv.slice(2);

if (what === 'capture') {
  const [name, filter = ''] = args;
  const port = await CapPort.open({ interface: name, filter });
  port.onFrames((frames) => {
    for (const { frame } of frames) console.log(Buffer.from(frame).toString('hex'));
  });
  console.log('ready');
} else if (what === 'inject') {
  const [protocol, address, ...payloads] = args;
  const port = await RawPort.open({ protocol: Number(protocol) });
  for (const payload of payloads) await port.send(Buffer.from(payload, 'hex'), address);
  port.close();
  console.log(`sent ${payloads.length}`);
} else {
  throw new Error(`capture or inject, not ${what}`);
}
