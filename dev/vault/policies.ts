import { z } from 'zod';
import { badRequest } from './answers.ts';

export type Capability = 'create' | 'read' | 'update' | 'delete' | 'list' | 'sudo' | 'deny';

/** A policy in the JSON that Vault takes beside HCL (https://developer.hashicorp.com/vault/docs/concepts/policies). */
const Policy = z.strictObject({
  path: z.record(
    z.string(),
    z.strictObject({ capabilities: z.array(z.enum(['create', 'read', 'update', 'delete', 'list', 'sudo', 'deny'])) }),
  ),
});
export type Policy = z.infer<typeof Policy>;

/** What a new Vault's `default` policy lets every token do, as far as this stand-in has it. */
export const DEFAULT_POLICY: Policy = {
  path: {
    'auth/token/lookup-self': { capabilities: ['read'] },
    'auth/token/renew-self': { capabilities: ['update'] },
    'auth/token/revoke-self': { capabilities: ['update'] },
    'sys/leases/lookup': { capabilities: ['update'] },
    'sys/leases/renew': { capabilities: ['update'] },
  },
};

/** Throws a VaultError for what is no policy. */
export function parsePolicy(text: string): Policy {
  try {
    return Policy.parse(JSON.parse(text));
  } catch {
    throw badRequest('failed to parse policy: this stand-in takes policies in JSON alone');
  }
}

/** Whether one of these policies allows it. The longest path decides, and `deny` wins. */
export function allows(policies: readonly Policy[], path: string, capability: Capability): boolean {
  const matching = policies
    .flatMap((policy) => Object.entries(policy.path))
    .filter(([pattern]) => matches(pattern, path))
    .sort(([one], [other]) => other.length - one.length);
  const [longest] = matching[0] ?? [];
  const granted = matching.filter(([pattern]) => pattern === longest).flatMap(([, { capabilities }]) => capabilities);
  return !granted.includes('deny') && granted.includes(capability);
}

/** A `*` at the end stands for anything, a `+` for one part. */
function matches(pattern: string, path: string): boolean {
  const isPrefix = pattern.endsWith('*');
  const parts = (isPrefix ? pattern.slice(0, -1) : pattern).split('/');
  const given = path.split('/');
  if (isPrefix ? given.length < parts.length : given.length !== parts.length) return false;
  return parts.every((part, at) => {
    const own = given[at] ?? '';
    if (isPrefix && at === parts.length - 1) return own.startsWith(part);
    return part === '+' ? own !== '' : part === own;
  });
}
