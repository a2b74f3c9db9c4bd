import { randomUUID } from 'node:crypto';
import type { JsonValue } from '@bufbuild/protobuf';
import { CompactSign } from 'jose';
import { expect } from 'vitest';
import { z } from 'zod';
import { type Asb, bodyOf, GRANT_REQUEST, sessionRequest } from './asb.ts';
import { type Configured, TENANTS } from './configured.ts';
import type { TestReceiver } from './receiver.ts';

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

const links = z.object({ approve: z.url(), deny: z.url() });
const message = z.object({
  type: z.literal('approval.requested'),
  data: z.object({ approval_id: z.string(), request_hash: z.string(), links: links.optional() }),
  links: links.optional(),
});

/** A grant that waits, and what a receiver was told of it: the tokens of its links among that. */
export interface Told extends Waiting {
  requestHash: string;
  approve: string;
  deny: string;
}

/** Opens a session, asks for a grant, and moves time on until the receiver has heard of it. */
export async function aToldGrant(
  asb: Asb,
  receiver: TestReceiver,
  tenant: string = TENANTS.human,
  session: Record<string, JsonValue> = {},
): Promise<Told> {
  const waiting = await aWaitingGrant(asb, tenant, session);
  const { requestHash, approve, deny } = await told(asb, receiver, waiting);
  return { ...waiting, requestHash, approve, deny };
}

/** What the receiver hears of an approval. */
export async function told(
  asb: Asb,
  receiver: TestReceiver,
  { approval_id }: Pick<Waiting, 'approval_id'>,
): Promise<Pick<Told, 'requestHash' | 'approve' | 'deny'>> {
  const heard = () => receiver.received.filter(({ body }) => body.includes(approval_id));
  await expect
    .poll(() => {
      asb.clock.advance(1);
      return heard().length;
    })
    .toBeGreaterThan(0);
  const { body, headers } = heard()[0]!;
  expect(headers['webhook-signature']).toMatch(/^v1,/);
  const { data, links: ofMessage = data.links } = message.parse(JSON.parse(body));
  const token = (url = ''): string => new URL(url).hash.slice(1);
  return { requestHash: data.request_hash, approve: token(ofMessage?.approve), deny: token(ofMessage?.deny) };
}

export interface SignedOptions {
  /** Replaces claims; undefined removes one. */
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
}

/** A yes that the receiver `pager` signed itself, with changes. */
export function signedByReceiver(
  asb: Asb,
  { receiverKey }: Configured,
  { approval_id, requestHash }: Pick<Told, 'approval_id' | 'requestHash'>,
  { claims = {}, header = {} }: SignedOptions = {},
): Promise<string> {
  const iat = Math.floor(asb.clock.now().getTime() / 1000);
  const payload = {
    iss: 'pager',
    aud: 'asb',
    approval_id,
    request_hash: requestHash,
    decision: 'approve',
    jti: randomUUID(),
    iat,
    exp: iat + 120,
    ...claims,
  };
  return new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'EdDSA', typ: 'asb-approval-callback+jwt', ...header })
    .sign(receiverKey);
}
