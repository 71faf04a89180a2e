/**
 * control.yaml: the route exchange of `vrouter control`: routing instances with their route targets, and
 * links between instances, served to agents on a Unix socket and over XMPP.
 */
import { z } from 'zod';
import { isIp } from '../addr/ip.ts';
import { ParseError } from '../errors.ts';
import {
  choice,
  instanceName,
  mapping,
  metricsSchema,
  name,
  routeTarget,
  tlsFiles,
  whole,
} from './fields.ts';

export const instanceSchema = mapping({
  name: instanceName,
  import: z
    .array(routeTarget)
    .max(256)
    .optional()
    .describe('Route targets whose routes it takes in; without import and export: one of its own'),
  export: z.array(routeTarget).max(256).optional().describe('Route targets its own routes carry'),
});

export const linkSchema = mapping({
  between: z.tuple([instanceName, instanceName], { error: 'two instance names are needed' }),
});

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

const listen = z.string().superRefine((text, context) => {
  try {
    listenAddress(text);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
  }
});

export const xmppSchema = mapping({
  listen: listen.describe(
    "Address:port for agents; Contrail's is port 5269. An IPv6 address in brackets",
  ),
  hold_seconds: whole(1, 90).optional().describe('Without a word an agent is lost; default 90'),
  sub_cluster: name.optional().describe('Agents of other sub-clusters are refused'),
  tls: tlsFiles
    .optional()
    .describe('STARTTLS is demanded, and a certificate of the authority from both sides'),
  restart_seconds: whole(0, 4095)
    .optional()
    .describe(
      'How long routes of a lost agent are kept for it to come back; default 0, not at all',
    ),
  end_of_rib_seconds: whole(1, 4095)
    .optional()
    .describe('How long an agent that is back has to publish again; default 300'),
});

export const controlSchema = mapping({
  name,
  socket: z
    .string()
    .min(1)
    .max(107)
    .optional()
    .describe('For agents; default /run/vrouter/<name>.exchange'),
  cli: z
    .string()
    .min(1)
    .max(107)
    .optional()
    .describe('For the CLI; default /run/vrouter/<name>.sock'),
  autonomous_system: whole(1, 0xffffffff).optional().describe('Of automatic route targets'),
  xmpp: xmppSchema.optional().describe('Contrail-style agents, over TCP'),
  metrics: metricsSchema.optional(),
  log: mapping({
    level: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  }).optional(),
  instances: z.array(instanceSchema).max(65536),
  connect: z
    .array(linkSchema)
    .max(65536)
    .optional()
    .describe('Instances that exchange all routes, as a network policy between networks does'),
}).meta({ title: 'vrouter control file', description: 'A route exchange' });

export type ControlFile = z.infer<typeof controlSchema>;
