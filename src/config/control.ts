/**
 * control.yaml: the route exchange of `vrouter control`: routing instances with their route targets, and
 * links between instances, served to agents on a Unix socket and over XMPP; the configuration that XMPP agents are told;
 * and federation with other clusters and routers by BGP (bgp.ts).
 */
import { z } from 'zod';
import { bgpSchema } from './bgp.ts';
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
import { listen } from './listen.ts';
import { objectsSchema } from './objects.ts';

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
  bgp: bgpSchema.optional(),
  metrics: metricsSchema.optional(),
  log: mapping({
    level: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  }).optional(),
  instances: z
    .array(instanceSchema)
    .max(65536)
    .describe('Besides these, each network of `objects` has its own'),
  connect: z
    .array(linkSchema)
    .max(65536)
    .optional()
    .describe('Instances that exchange all routes, as a network policy between networks does'),
  objects: objectsSchema.optional(),
}).meta({ title: 'vrouter control file', description: 'A route exchange' });

export type ControlFile = z.infer<typeof controlSchema>;
