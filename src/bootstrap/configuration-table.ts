import { z } from 'zod';
import { VARIABLES } from './variables.ts';

const meta = z.object({ description: z.string(), default: z.string().optional() });

/** docs/configuration.md: one row for each variable, from the schema itself. */
export function configurationTable(): string {
  const rows = Object.entries(VARIABLES).map(([name, schema]) => {
    const { description, default: byDefault } = meta.parse(schema.meta());
    return `| \`${name}\` | ${byDefault === undefined || byDefault === '' ? '' : `\`${byDefault}\``} | ${description} |`;
  });
  return [
    '# Configuration',
    '',
    'ASB reads its environment once, when it starts. An empty value counts as not set. A value that is malformed, half of a pair',
    'or not supported by this version stops the start with one message that lists every problem. A variable that begins with',
    '`ASB_` and is not in this table is named in a warning.',
    '',
    'Written by `make docs` from the schema in `src/bootstrap/variables.ts`.',
    '',
    '| variable | default | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
