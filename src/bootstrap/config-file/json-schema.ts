import { z } from 'zod';
import { CONFIG_FILE } from './schema.ts';

/** JSON Schema of the configuration file for editors. Draft 7, because their YAML support knows that one best. */
export function configFileJsonSchema(): string {
  const schema = z.toJSONSchema(CONFIG_FILE, { io: 'input', target: 'draft-7' });
  return `${JSON.stringify({ title: 'ASB configuration file', ...schema }, null, 2)}\n`;
}
