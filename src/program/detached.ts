/** A process of ours that may outlive us: started apart, with our standard error, and told of only as long as we are there. */
import { type ChildProcess, spawn } from 'node:child_process';

/** Returns what tells of its end, should it end. */
export function startDetached([file = '', ...args]: readonly string[]): () => string | undefined {
  const child: ChildProcess = spawn(file, args, {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  child.unref();
  let ended: string | undefined;
  child.once('error', (error) => {
    ended = error.message;
  });
  child.once('exit', (status, signal) => {
    ended = `it ended (${signal ?? `exit status ${status}`})`;
  });
  return () => ended;
}
