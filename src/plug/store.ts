/**
 * Plugged ports on disk: one file each, so that a port is there whole or not at all, whenever the process
 * or the machine ends.
 *
 * Invariants
 *  * A file is written under another name, brought to disk, then renamed over; the folder is brought to disk
 *    too. A name ending in `.json` is always a whole file of ours.
 *  * What cannot be read as a port is moved aside (`.broken`), told, and never read again.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

const ENDING = '.json';

function sync(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export interface Stored<T> {
  readonly id: string;
  readonly value: T;
}

export class PortStore<T> {
  readonly #directory: string;
  readonly #parse: (id: string, text: string) => T;
  readonly #onBroken: (file: string, error: unknown) => void;

  /** `parse` throws for what is no port. Makes the folder. */
  constructor(
    directory: string,
    parse: (id: string, text: string) => T,
    onBroken: (file: string, error: unknown) => void,
  ) {
    this.#directory = directory;
    this.#parse = parse;
    this.#onBroken = onBroken;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  load(): Stored<T>[] {
    const found: Stored<T>[] = [];
    for (const file of readdirSync(this.#directory).sort()) {
      if (!file.endsWith(ENDING)) continue;
      const path = join(this.#directory, file);
      const id = file.slice(0, -ENDING.length);
      try {
        found.push({ id, value: this.#parse(id, readFileSync(path, 'utf8')) });
      } catch (error) {
        renameSync(path, `${path}.broken`);
        this.#onBroken(path, error);
      }
    }
    return found;
  }

  put(id: string, value: T): void {
    const path = join(this.#directory, `${id}${ENDING}`);
    const fd = openSync(`${path}.new`, 'w', 0o600);
    try {
      writeSync(fd, `${JSON.stringify(value)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(`${path}.new`, path);
    sync(this.#directory);
  }

  remove(id: string): void {
    rmSync(join(this.#directory, `${id}${ENDING}`), { force: true });
    sync(this.#directory);
  }
}
