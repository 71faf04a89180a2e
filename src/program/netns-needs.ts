/** What a demonstration on real kernels needs of this machine, and its end by a signal. */
import { UsageError } from '../cli/io.ts';
import { CapPort } from '../ports/cap-port.ts';
import { haveCommand } from './lab.ts';

/** What has to be there, and the Debian package it is in. */
const TOOLS: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  ping: 'iputils-ping',
  curl: 'curl',
  tshark: 'tshark',
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
  try {
    await CapPort.available();
  } catch (error) {
    missing.push((error as Error).message);
  }
  return missing;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Rejects on a signal, so that what was made is removed before the process ends. */
export function interruption(): {
  readonly signalled: Promise<never>;
  readonly forget: () => void;
} {
  let interrupt: (signal: NodeJS.Signals) => void = () => {};
  const signalled = new Promise<never>((_, reject) => {
    interrupt = (signal) => reject(new UsageError(`demo clusterip: interrupted by ${signal}`));
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
