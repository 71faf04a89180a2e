// npm run schema: writes the JSON Schemas of the configuration files to docs/schema, from the schemas that check
// them (src/config). A test compares.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './machine.mjs';
import { setup } from './setup.mjs';

await setup();
const { jsonSchemaText, SCHEMA_NAMES } = await import('../dist/config/json-schema.js');
for (const name of SCHEMA_NAMES) {
  const file = join('docs/schema', `${name}.json`);
  writeFileSync(join(root, file), jsonSchemaText(name));
  console.log(file);
}
