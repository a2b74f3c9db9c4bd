import type { BrowserRelay, BrowserRelays, RelaySealer } from '../domain/browser-relay.ts';
import type { ConnectorResolver } from '../domain/connector.ts';
import { conflict, forbidden, notFound } from '../domain/errors.ts';
import type { SessionId } from '../domain/ids.ts';
import { parseResourceRef } from '../domain/resource.ts';
import { type AuditDeps, auditEvent, auditRefusals, sessionSubject } from './audit-trail.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import type { UseCase } from './use-case.ts';

export interface RegisterBrowserRelayRequest {
  sessionToken: string | null;
  keyId: string;
  /** Null for a relay that takes values in the clear. */
  publicKey: string | null;
  origin: string;
  tabId: string;
  selectors: Readonly<Record<string, string>>;
}

export interface RegisterBrowserRelayResponse {
  sessionId: SessionId;
  keyId: string;
  expiresAt: Date;
}

export interface RegisterBrowserRelayDeps extends AuditDeps, AuthenticateSessionDeps {
  repository: AuditDeps['repository'] & AuthenticateSessionDeps['repository'];
  connectors: ConnectorResolver;
  relays: BrowserRelays;
  relaySealer: RelaySealer;
}

/** For the grant to be asked for, approved and opened. */
const RELAY_SECONDS = 900;

/**
 * Binds a browser relay to the caller's session: a key, an origin and a tab. Rejects with `not_found` for an origin that is not configured,
 * with `invalid_request` for a key or a selector that cannot be used, with `forbidden` for a key that is not trusted, with `conflict`
 * when the session has another relay by that key id, and with `resource_budget_exceeded` when it has too many.
 */
export function registerBrowserRelay(
  deps: RegisterBrowserRelayDeps,
): UseCase<RegisterBrowserRelayRequest, RegisterBrowserRelayResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'relay.refused', async (trail) => {
      const { keyId, origin, tabId, selectors } = request;
      trail.details = { origin, key_id: keyId, tab_id: tabId };
      const session = await authenticateSession(deps, request.sessionToken, trail, context);
      const resource = parseResourceRef(`browser_origin:${origin}`);
      const connector = deps.connectors.findFormConnector(resource.kind);
      if (connector === null) throw notFound('origin: no browser connector serves it');
      connector.formOf(resource, selectors);
      const key = request.publicKey === null ? null : await deps.relaySealer.readKey(request.publicKey);
      requireTrusted(connector, key);
      const details = { ...trail.details, ...(key !== null && { key_thumbprint: key.thumbprint }) };
      trail.details = details;
      const now = deps.clock.now();
      const end = Math.min(now.getTime() + RELAY_SECONDS * 1000, session.expiresAt.getTime());
      const { tenantId, id: sessionId } = session;
      const relay = { tenantId, sessionId, keyId, key, origin, tabId, selectors, expiresAt: new Date(end) };
      const kept = await deps.relays.register(relay, now);
      if (kept === null) throw conflict('key_id: this session has another relay by this name; use a new one');
      // Should this fail, the relay is of no use that is not on record: what is opened for it names its key.
      await deps.repository.transact((unit) => {
        unit.requireNoBlock(session);
        unit.record(auditEvent(deps, context, 'relay.registered', sessionSubject(session), { details }));
      });
      return { sessionId, keyId, expiresAt: kept.expiresAt };
    });
}

/** Throws `forbidden` when the operator trusts other keys. */
export function requireTrusted(
  connector: { name: string; trustsRelayKey(thumbprint: string | null): boolean },
  key: BrowserRelay['key'],
): void {
  if (connector.trustsRelayKey(key?.thumbprint ?? null)) return;
  const message = 'public_key: is none of those that the operator trusts; register with the key of the extension';
  throw forbidden('relay_key_not_trusted', message, { rule: `connector:${connector.name}` });
}
