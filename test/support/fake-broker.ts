import type { Broker } from '../../src/broker/broker.ts';
import type { CallContext } from '../../src/domain/call-context.ts';
import type { ApprovalId, ArtifactId, GrantId, ProxyHandle, SessionId } from '../../src/domain/ids.ts';

export type CallName = keyof Broker;

/** What reached one use case. */
export interface ReceivedCall {
  call: CallName;
  request: unknown;
  context: CallContext;
}

const EXPIRES_AT = new Date('2026-01-02T03:14:05.000Z');
export const FAKE_PAYLOAD = new TextEncoder().encode('{"name":"repo","private":true}\n');

/** A broker that answers every call well, remembers what it was asked, and can be told to do otherwise. */
export class FakeBroker implements Broker {
  readonly received: ReceivedCall[] = [];
  #override: ((call: CallName, context: CallContext) => Promise<void>) | null = null;

  /** Runs before each answer; what it throws is what the call rejects with. */
  before(override: ((call: CallName, context: CallContext) => Promise<void>) | null): void {
    this.#override = override;
  }

  createSession = this.#answering('createSession', {
    sessionId: 'sess_01890a5d-ac96-774b-bcce-b302099a8057' as SessionId,
    sessionToken: 'header.payload.signature',
    expiresAt: EXPIRES_AT,
  });
  requestGrant = this.#answering('requestGrant', {
    grantId: 'gr_01890a5d-ac96-774b-bcce-b302099a8058' as GrantId,
    state: 'issued' as const,
    delivery: {
      kind: 'proxy_handle' as const,
      handle: 'ph_handle' as ProxyHandle,
      artifactId: 'art_01890a5d-ac96-774b-bcce-b302099a8059' as ArtifactId,
    },
    expiresAt: new Date('2026-01-02T03:14:05.250Z'),
  });
  approveGrant = this.#answering('approveGrant', {
    grantId: 'gr_01890a5d-ac96-774b-bcce-b302099a8058' as GrantId,
    state: 'issued' as const,
    approvalId: 'ap_1' as ApprovalId,
    expiresAt: EXPIRES_AT,
  });
  denyGrant = this.#answering('denyGrant', { state: 'denied' as const });
  revokeGrant = this.#answering('revokeGrant', { state: 'revoked' as const });
  revokeSession = this.#answering('revokeSession', { state: 'revoked' as const });
  executeGitHubProxy = this.#answering('executeGitHubProxy', {
    payload: FAKE_PAYLOAD,
    contentType: 'application/vnd.github+json; charset=utf-8',
    nextPage: 2,
  });
  registerBrowserRelay = this.#answering('registerBrowserRelay', {
    sessionId: 'sess_01890a5d-ac96-774b-bcce-b302099a8057' as SessionId,
    keyId: 'key-1',
    expiresAt: EXPIRES_AT,
  });
  unwrapArtifact = this.#answering('unwrapArtifact', {
    artifactId: 'art_1' as ArtifactId,
    origin: 'https://example.com',
    fields: [{ name: 'username', selector: '#user', value: 'somebody' }],
  });

  #answering<Response>(call: CallName, response: Response) {
    return async (request: unknown, context: CallContext): Promise<Response> => {
      this.received.push({ call, request, context });
      await this.#override?.(call, context);
      return response;
    };
  }
}
