import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { loadAddon } from '../../../src/dataplane/binding.ts';
import { openDataplane, packFrames, unpackFrames } from '../../../src/dataplane/dataplane.ts';
import { layout } from '../../../src/dataplane/layout.ts';
import { dataplaneCompliance } from '../../compliance/dataplane.ts';
import { camel, type FieldLike } from './arbitrary.ts';

dataplaneCompliance('the addon', openDataplane);

describe('layout.ts', () => {
  const { addon, path } = loadAddon();

  it('is what the generator makes of this addon', () => {
    const script = fileURLToPath(new URL('../../../scripts/layout.mjs', import.meta.url));
    const env = { ...process.env, VROUTER_ADDON: path };
    expect(
      execFileSync(process.execPath, [script, '--check'], { env, encoding: 'utf8' }),
    ).toContain('up to date');
  });

  it('has the same ops and fields in the same order as the addon, read without the generator', () => {
    const native = JSON.parse(addon.layout());
    const shape = (fields: readonly FieldLike[]) => fields.map((f) => [f.name, f.type ?? f.list]);
    const nativeShape = (fields: readonly { name: string; type: string | { list: string } }[]) =>
      fields.map((f) => [f.name, typeof f.type === 'string' ? f.type : f.type.list]);
    for (const op of native.ops) {
      const here = layout.ops[op.wire as keyof typeof layout.ops];
      expect(here, op.wire).toMatchObject({ code: op.code, name: op.name });
      expect(shape(here.fields), op.wire).toEqual(nativeShape(op.fields));
    }
    expect(Object.keys(layout.ops)).toHaveLength(native.ops.length);
    for (const struct of native.structs) {
      const here = layout.structs[struct.name as keyof typeof layout.structs];
      expect(shape(here.fields), struct.name).toEqual(nativeShape(struct.fields));
    }
  });

  it('names the drop reasons in the order of the list in the core', () => {
    const list = readFileSync(
      new URL('../../../native/base/drop_reasons.def', import.meta.url),
      'utf8',
    );
    const printed = [...list.matchAll(/^DROP\(\w+, "([^"]+)"/gm)].map((match) => match[1]);
    expect(layout.dropReasons.map((reason) => reason.printed)).toEqual(printed);
  });

  it('has no two fields of an op under one TypeScript name', () => {
    for (const [name, op] of Object.entries(layout.ops)) {
      const keys = op.fields.map((f) => camel(f.name));
      expect(new Set(keys).size, name).toBe(keys.length);
    }
  });
});

describe('packFrames', () => {
  it('is undone by unpackFrames, whatever buffer the bytes stand in', () => {
    const frames = [Uint8Array.of(1), new Uint8Array(1500).fill(7), Uint8Array.of(2, 3)];
    const packed = packFrames(frames);
    const around = new Uint8Array(packed.length + 5);
    around.set(packed, 3);
    expect(unpackFrames(around.subarray(3, 3 + packed.length))).toEqual(frames);
    expect(unpackFrames(packFrames([]))).toEqual([]);
  });
});

describe('the addon', () => {
  const { addon, path } = loadAddon();

  it('refuses packed frames that end inside a frame, and takes none of them', () => {
    const native = new addon.Dataplane({ flowEntries: 1024, buffers: 512 });
    const port = native.addPort({ kind: 'memory' });
    const packed = packFrames([new Uint8Array(20), new Uint8Array(30)]);
    for (const bytes of [packed.subarray(0, packed.length - 1), packed.subarray(0, 26)]) {
      expect(() => native.inject(port, bytes)).toThrow(
        expect.objectContaining({ code: 'TRUNCATED' }),
      );
    }
    const lying = packed.slice();
    new DataView(lying.buffer).setUint32(0, 0xffffffff, true);
    expect(() => native.inject(port, lying)).toThrow(
      expect.objectContaining({ code: 'TRUNCATED' }),
    );
    expect(native.step(1n)).toBe(0);
    native.close();
  });

  it('writes no counters into an array that is too small, and says how many there are', () => {
    const native = new addon.Dataplane({ flowEntries: 1024, buffers: 512 });
    const small = new BigUint64Array(3).fill(9n);
    const needed = native.readCounters(small);
    expect(needed).toBeGreaterThanOrEqual(layout.dropReasons.length + 8);
    expect([...small]).toEqual([9n, 9n, 9n]);
    native.close();
  });

  it('survives options whose getter closes it, and methods on something else', () => {
    const native = new addon.Dataplane({ flowEntries: 1024, buffers: 512 });
    const spec = {
      get kind() {
        native.close();
        return 'memory';
      },
    };
    expect(() => native.addPort(spec as never)).toThrow(
      expect.objectContaining({ code: 'CLOSED' }),
    );
    const throwing = {
      get kind(): never {
        throw new RangeError('mine');
      },
    };
    expect(() => native.addPort(throwing as never)).toThrow(RangeError);
    for (const self of [{}, null, Object.create(addon.Dataplane.prototype), addon]) {
      expect(() => addon.Dataplane.prototype.stop.call(self as never)).toThrow();
    }
    // @ts-expect-error a class is not called
    expect(() => addon.Dataplane()).toThrow();
  });

  it('works in worker threads, and is closed with one that ends while it runs', async () => {
    const code = `
      const { workerData, parentPort } = require('node:worker_threads');
      const addon = require(workerData);
      const open = () => new addon.Dataplane({ flowEntries: 1024, buffers: 512 });
      const first = open();
      const running = open();
      running.addPort({ kind: 'memory' });
      running.start();
      let code = '';
      try { first.step(1); } catch (error) { code = error.code; }
      parentPort.postMessage({ code, received: first.step(1n) });
    `;
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(code, { eval: true, workerData: path });
      const message = await new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
      expect(message).toEqual({ code: 'BAD_ARGUMENT', received: 0 });
      if (i === 0) await worker.terminate();
      else await new Promise((resolve) => worker.once('exit', resolve));
    }
  });
});
