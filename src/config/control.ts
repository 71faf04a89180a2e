/**
 * control.yaml: the route exchange of `vrouter control`: routing instances with their route targets, and
 * links between instances, served to agents on a Unix socket.
 */
import { z } from 'zod';
import { choice, mapping, name, routeTarget, whole } from './fields.ts';

export const instanceSchema = mapping({
  name,
  import: z
    .array(routeTarget)
    .max(256)
    .optional()
    .describe('Route targets whose routes it takes in; without import and export: one of its own'),
  export: z.array(routeTarget).max(256).optional().describe('Route targets its own routes carry'),
});

export const linkSchema = mapping({
  between: z.tuple([name, name], { error: 'two instance names are needed' }),
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
