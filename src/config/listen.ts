/** `listen` keys: address and port as one text, an IPv6 address in brackets. */
import { z } from 'zod';
import { isIp } from '../addr/ip.ts';
import { ParseError } from '../errors.ts';

const LISTEN = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/;

/** Host and port of `listen`. */
export function listenAddress(text: string): { readonly host: string; readonly port: number } {
  const match = LISTEN.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3] ?? Number.NaN);
  if (!isIp(host) || !(port <= 65535)) {
    throw new ParseError(`${JSON.stringify(text.slice(0, 64))} is not address:port`);
  }
  return { host, port };
}

export const listen = z.string().superRefine((text, context) => {
  try {
    listenAddress(text);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
  }
});
