/** What a demonstration on real kernels needs of this machine, and its end by a signal. */
import { UsageError } from '../cli/io.ts';
import { haveCommand, Lab } from './lab.ts';

/** What has to be there, and the Debian package it is in. */
const TOOLS: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  ping: 'iputils-ping',
  curl: 'curl',
  tshark: 'tshark',
  dumpcap: 'tshark',
  ethtool: 'ethtool',
  nft: 'nftables',
};

/** Why it cannot run here; nothing: it can. */
export async function missingForNetns(): Promise<string[]> {
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('root (network namespaces, TAP devices)');
  for (const [tool, debian] of Object.entries(TOOLS)) {
    if (!haveCommand(tool)) missing.push(`the command ${tool} (Debian: ${debian})`);
  }
  return missing;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Rejects on a signal, so that what was made is removed before the process ends. */
function interruption(demo: string): {
  readonly signalled: Promise<never>;
  readonly forget: () => void;
} {
  let interrupt: (signal: NodeJS.Signals) => void = () => {};
  const signalled = new Promise<never>((_, reject) => {
    interrupt = (signal) => reject(new UsageError(`demo ${demo}: interrupted by ${signal}`));
  });
  signalled.catch(() => {});
  for (const signal of SIGNALS) process.on(signal, interrupt);
  return {
    signalled,
    forget: () => {
      for (const signal of SIGNALS) process.off(signal, interrupt);
    },
  };
}

/** The command line of this program, for processes of its own. */
export function thisProgram(demo: string): string[] {
  const script = process.argv[1];
  if (script === undefined)
    throw new UsageError(`demo ${demo}: --netns: not started from a script`);
  return [process.execPath, ...process.execArgv, script];
}

/** Refused where something is missing; a lab that is gone afterwards, whatever happens. */
export async function inLab<T>(demo: string, run: (lab: Lab) => Promise<T>): Promise<T> {
  const missing = await missingForNetns();
  if (missing.length > 0) {
    throw new UsageError(
      `demo ${demo}: --netns needs what is not there:\n  ${missing.join('\n  ')}`,
    );
  }
  const { signalled, forget } = interruption(demo);
  const lab = new Lab();
  try {
    const running = run(lab);
    // It fails too when it is interrupted; whoever is first tells why.
    running.catch(() => {});
    return await Promise.race([running, lab.broken, signalled]);
  } finally {
    await lab.close();
    forget();
  }
}
