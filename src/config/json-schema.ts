/** JSON Schema of the configuration files, for editors; docs/schema holds a copy, a test keeps it equal. */
import { z } from 'zod';
import { controlSchema } from './control.ts';
import { nodeSchema } from './node.ts';
import { stateSchema } from './state.ts';

export const SCHEMAS = { state: stateSchema, node: nodeSchema, control: controlSchema } as const;
export type SchemaName = keyof typeof SCHEMAS;
export const SCHEMA_NAMES = Object.keys(SCHEMAS) as SchemaName[];

/** Text as it stands in docs/schema/<name>.json. */
export function jsonSchemaText(name: SchemaName): string {
  return `${JSON.stringify(z.toJSONSchema(SCHEMAS[name]), null, 2)}\n`;
}
