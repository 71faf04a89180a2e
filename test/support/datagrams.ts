/**
 * A stream of numbered datagrams between two network namespaces, and what became of each: programs in Python, so that
 * they share nothing with us, ended by SIGTERM.
 *
 * Invariants
 *  * The sender is paced and makes no burst of a moment in which it was not run.
 *  * The receiver's socket holds more than a test sends in seconds, and is emptied before it tells its numbers, so what
 *    is missing there did not arrive.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab, Service } from '../../src/program/lab.ts';
import type { NetworkNamespace } from '../../src/program/netns.ts';

export const STREAM_PORT = 9;

/** Whole datagrams with a sequence number, so many a second until SIGTERM; then how many. */
const SENDER = `
import socket, struct, sys, time, signal
address, rate = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
s.bind(('', 40000))
s.connect((address, ${STREAM_PORT}))
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
sent, began = 0, time.monotonic()
while not stopping:
    due = int((time.monotonic() - began) * rate)
    # Behind by more than a moment: this process was not run, and makes no burst of it.
    if due - sent > rate // 50:
        began += (due - sent) / rate
        continue
    while sent < due:
        s.send(struct.pack('!Q', sent) + b'x' * 56)
        sent += 1
    time.sleep(0.001)
print(sent)
`;
/** What came until SIGTERM and is still waiting then: how many different, the longest silence in ms, what is missing. */
const RECEIVER = `
import socket, struct, time, signal, json
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
# SO_RCVBUFFORCE has no name in Python.
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
s.bind(('', ${STREAM_PORT}))
s.settimeout(0.05)
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
# A byte a number: what is missing is found at once, however many there are.
seen, top, silence, last = bytearray(1 << 24), 0, 0.0, None
print('ready', flush=True)
while True:
    try:
        packet = s.recv(2048)
    except socket.timeout:
        if stopping: break
        continue
    now = time.monotonic()
    if last is not None: silence = max(silence, now - last)
    else: print('first', flush=True)
    last = now
    number = struct.unpack('!Q', packet[:8])[0]
    seen[number] = 1
    top = max(top, number + 1)
gaps, at = [], seen.find(0, 0, top)
while at >= 0 and len(gaps) < 20:
    end = seen.find(1, at, top)
    gaps.append([at, end - 1])
    at = seen.find(0, end, top)
print(json.dumps({'received': seen.count(1), 'silenceMs': round(silence * 1000, 1), 'gaps': gaps}), flush=True)
`;

export interface StreamPlan {
  readonly from: NetworkNamespace;
  readonly to: NetworkNamespace;
  readonly address: string;
  readonly packetsPerSecond: number;
}

export interface StreamResult {
  readonly sent: number;
  readonly received: number;
  readonly silenceMs: number;
  /** First and last number of what is missing between two that came. */
  readonly gaps: readonly (readonly [number, number])[];
}

const START_MS = 20_000;
/** Sent, after the first has come, before anybody does anything to their way. */
const RUN_UP_MS = 500;

const python = (lab: Lab, namespace: NetworkNamespace, script: string, ...args: string[]) =>
  lab.start('stream', ['python3', '-u', '-c', script, ...args], { namespace, mayEnd: true });

export interface Stream {
  end(): Promise<StreamResult>;
}

export async function startStream(lab: Lab, plan: StreamPlan): Promise<Stream> {
  const receiver: Service = python(lab, plan.to, RECEIVER);
  const said = (word: string) =>
    lab.until(
      `the receiver: ${word}`,
      async () => (receiver.out().includes(word) ? true : undefined),
      START_MS,
    );
  await said('ready');
  const sender = python(lab, plan.from, SENDER, plan.address, `${plan.packetsPerSecond}`);
  await said('first');
  await sleep(RUN_UP_MS);
  return {
    async end() {
      const { out } = await sender.stop();
      await sleep(500); // what is under way
      const heard = await receiver.stop();
      return {
        sent: Number(out),
        ...JSON.parse(heard.out.replace('ready', '').replace('first', '')),
      };
    },
  };
}
