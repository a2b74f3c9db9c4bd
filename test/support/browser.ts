import type { JsonValue } from '@bufbuild/protobuf';
import { z } from 'zod';
import { type FilledField, makeRelayKeys, type RelayKeys, type RelayPlace } from '../../dev/browser/relay-keys.ts';
import { type Asb, bodyOf } from './asb.ts';
import type { TransportClient } from './transports.ts';

export const ORIGIN = 'https://ledger.example';
export const USERNAME = 'robot-CANARY-user';
export const PASSWORD = 'CANARY "pass" \\ wörd + 7%2F';
export const SELECTORS = { username: '#user', password: 'input[type="password"]' };

export const FORM_REQUEST = {
  tool: 'browser',
  capability: 'browser.login',
  resource_ref: `browser_origin:${ORIGIN}`,
  delivery_mode: 'wrapped_secret',
  ttl_seconds: 120,
  reason: 'book the invoices',
};

const pending = z.object({ grant_id: z.string(), state: z.literal('pending'), approval_id: z.string() });
const collected = z.object({ delivery: z.object({ kind: z.literal('wrapped_secret'), artifact_id: z.string() }) });
const unwrapped = z.object({
  artifact_id: z.string(),
  origin: z.string(),
  auto_submit: z.literal(false).default(false),
  fields: z.array(z.object({ name: z.string(), selector: z.string(), value: z.string() })),
});

/** A relay that a session has registered. */
export interface Registered extends RelayPlace {
  keys: RelayKeys;
  bearer: string;
}

export const registration = ({ keyId, publicKey }: RelayKeys, place: RelayPlace): Record<string, JsonValue> => ({
  key_id: keyId,
  public_key: publicKey,
  origin: place.origin,
  tab_id: place.tabId,
});

/** A session that may use the browser. */
export async function aBrowserSession(asb: Asb, changes: Record<string, JsonValue> = {}) {
  const { session_id: sessionId, session_token: bearer } = await asb.openSession({ tool_context: ['browser'], ...changes });
  return { sessionId, bearer };
}

let relays = 0;

/** Registers a relay with a key of its own. */
export async function aRelay(
  asb: Asb,
  bearer: string,
  { client = asb.clients[0], changes = {} }: { client?: TransportClient; changes?: Record<string, JsonValue> } = {},
): Promise<Registered> {
  relays += 1;
  const keys = await makeRelayKeys(`relay-${relays}`, relays % 2 === 0 ? 'X25519' : 'P-256');
  const place = { origin: ORIGIN, tabId: `tab-${relays}` };
  bodyOf(await client.call('registerBrowserRelay', { ...registration(keys, place), ...changes }, { bearer }));
  return { keys, bearer, ...place };
}

/** Asks for the form's credential, and has an operator approve. */
export async function aFormGrant(
  asb: Asb,
  bearer: string,
  { client = asb.clients[0], changes = {} }: { client?: TransportClient; changes?: Record<string, JsonValue> } = {},
): Promise<{ grantId: string; artifactId: string }> {
  const asked = pending.parse(bodyOf(await client.call('requestGrant', { ...FORM_REQUEST, ...changes }, { bearer })));
  const operator = { bearer: await asb.operatorToken(['approver']) };
  bodyOf(await client.call('approveGrant', { approval_id: asked.approval_id }, operator));
  const answer = bodyOf(await client.call('getGrant', { grant_id: asked.grant_id }, { bearer }));
  return { grantId: asked.grant_id, artifactId: collected.parse(answer).delivery.artifact_id };
}

/** What opens an artifact at a relay. */
export const unwrapping = (artifactId: string, { keys, origin, tabId }: Registered): Record<string, JsonValue> => ({
  artifact_id: artifactId,
  key_id: keys.keyId,
  origin,
  tab_id: tabId,
});

export async function unwrap(asb: Asb, artifactId: string, relay: Registered, client = asb.clients[0]) {
  return unwrapped.parse(
    bodyOf(await client.call('unwrapArtifact', unwrapping(artifactId, relay), { bearer: relay.bearer })),
  );
}

/** The values in the clear, by the names of inputs. */
export async function opened(
  { artifact_id: artifactId, fields }: { artifact_id: string; fields: readonly FilledField[] },
  { keys, origin, tabId }: Registered,
): Promise<Record<string, string>> {
  const values = await Promise.all(
    fields.map(async (field) => [field.name, await keys.open(field, artifactId, { origin, tabId })] as const),
  );
  return Object.fromEntries(values);
}
