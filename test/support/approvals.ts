import type { JsonValue } from '@bufbuild/protobuf';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest } from './asb.ts';
import { TENANTS } from './configured.ts';

export const USE = { operation: 'repository_metadata' };

const asked = z.object({
  grant_id: z.string().startsWith('gr_'),
  state: z.string(),
  approval_id: z.string().startsWith('ap_'),
  delivery: z.never().optional(),
  expires_at: z.iso.datetime(),
});
const collected = z.object({
  grant_id: z.string(),
  state: z.string(),
  delivery: z.object({ handle: z.string() }).optional(),
  end_reason: z.string().optional(),
});
export type Asked = z.infer<typeof asked>;

/** An agent run in a tenant where people approve. */
export interface Waiting extends Asked {
  tenant: string;
  sessionId: string;
  bearer: string;
  /** What the agent sent. */
  request: Record<string, JsonValue>;
}

/** Opens a session in a tenant, with changes. Answers its id and token. */
export async function openIn(
  asb: Asb,
  tenant: string,
  changes: Record<string, JsonValue> = {},
): Promise<{ sessionId: string; bearer: string }> {
  const request = await sessionRequest(asb.attestation, { tenant_id: tenant, ...changes });
  const opened = z
    .object({ session_id: z.string(), session_token: z.string() })
    .parse(bodyOf(await asb.call('createSession', request)));
  return { sessionId: opened.session_id, bearer: opened.session_token };
}

let requests = 0;

/** Opens a session and asks for a grant that waits for people. */
export async function aWaitingGrant(
  asb: Asb,
  tenant: string = TENANTS.human,
  session: Record<string, JsonValue> = {},
): Promise<Waiting> {
  const opened = await openIn(asb, tenant, session);
  requests += 1;
  const request = { ...GRANT_REQUEST, request_id: `request-${requests}` };
  const answer = asked.parse(bodyOf(await asb.call('requestGrant', request, { bearer: opened.bearer })));
  return { ...answer, ...opened, tenant, request };
}

/** What the agent hears when it asks for its grant. */
export const collect = async (asb: Asb, { grant_id, bearer }: Pick<Waiting, 'grant_id' | 'bearer'>) =>
  collected.parse(bodyOf(await asb.call('getGrant', { grant_id }, { bearer })));

/** An operator's word. */
export const decide = async (
  asb: Asb,
  method: 'approveGrant' | 'denyGrant',
  { approval_id }: Pick<Waiting, 'approval_id'>,
  { roles = ['approver'], subject, comment = '' }: { roles?: readonly string[]; subject?: string; comment?: string } = {},
) => asb.call(method, { approval_id, comment }, { bearer: await asb.operatorToken(roles, subject) });
