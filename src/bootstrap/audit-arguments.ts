import { parseArgs } from 'node:util';

/** What an operator asks for. */
export type AuditCommand =
  | { name: 'verify'; tenant: string | null; publicKeyFile: string | null; checkpointFile: string | null }
  | { name: 'export'; tenant: string | null; after: string | null; limit: number }
  | { name: 'checkpoints'; tenant: string | null; all: boolean };

const OPTIONS = {
  tenant: { type: 'string' },
  'public-key': { type: 'string' },
  checkpoint: { type: 'string' },
  after: { type: 'string' },
  limit: { type: 'string' },
  all: { type: 'boolean' },
} as const;
type Option = keyof typeof OPTIONS;

const OPTIONS_OF: Readonly<Record<AuditCommand['name'], readonly Option[]>> = {
  verify: ['tenant', 'public-key', 'checkpoint'],
  export: ['tenant', 'after', 'limit'],
  checkpoints: ['tenant', 'all'],
};

const WHOLE_NUMBER = /^[1-9]\d{0,14}$/;

/** Null when the arguments are not understood. */
export function parseAuditArguments(args: readonly string[]): AuditCommand | null {
  const parsed = parse(args);
  const [name, ...rest] = parsed?.positionals ?? [];
  if (parsed === null || rest.length > 0 || !isCommand(name)) return null;
  const { values } = parsed;
  if (Object.entries(values).some(([option, value]) => !isOptionOf(name, option) || value === '')) return null;
  const tenant = values.tenant ?? null;
  if (name === 'verify') {
    return { name, tenant, publicKeyFile: values['public-key'] ?? null, checkpointFile: values.checkpoint ?? null };
  }
  if (name === 'checkpoints') return { name, tenant, all: values.all ?? false };
  if (values.limit !== undefined && !WHOLE_NUMBER.test(values.limit)) return null;
  return { name, tenant, after: values.after ?? null, limit: Number(values.limit ?? Infinity) };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      // The single-dash spelling of Go's flag package.
      args: args.map((arg) => (/^-[a-z]{2}/.test(arg) ? `-${arg}` : arg)),
      options: OPTIONS,
      allowPositionals: true,
    });
  } catch {
    return null;
  }
}

const isCommand = (name: string | undefined): name is AuditCommand['name'] => name !== undefined && name in OPTIONS_OF;

const isOptionOf = (command: AuditCommand['name'], option: string): boolean =>
  OPTIONS_OF[command].some((allowed) => allowed === option);
