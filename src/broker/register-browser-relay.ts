import { notFound } from '../domain/errors.ts';
import type { SessionId } from '../domain/ids.ts';
import { type AuditDeps, auditRefusals } from './audit-trail.ts';
import { authenticateSession, type AuthenticateSessionDeps } from './authenticate-session.ts';
import type { UseCase } from './use-case.ts';

export interface RegisterBrowserRelayRequest {
  sessionToken: string | null;
  keyId: string;
  publicKey: string;
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
}

/** Binds a browser relay to the caller's session. Rejects with `not_found` for an origin no connector serves. */
export function registerBrowserRelay(
  deps: RegisterBrowserRelayDeps,
): UseCase<RegisterBrowserRelayRequest, RegisterBrowserRelayResponse> {
  return (request, context) =>
    auditRefusals(deps, context, 'relay.refused', async (trail) => {
      trail.details = { origin: request.origin };
      await authenticateSession(deps, request.sessionToken, trail, context);
      throw notFound('origin: no browser connector serves it');
    });
}
