import { approveGrant, denyGrant } from './decide-approval.ts';
import { createSession, type CreateSessionDeps } from './create-session.ts';
import { executeGitHubProxy, type ExecuteGitHubProxyDeps } from './execute-github-proxy.ts';
import { registerBrowserRelay } from './register-browser-relay.ts';
import { requestGrant, type RequestGrantDeps } from './request-grant.ts';
import { revokeGrant, type RevokeGrantDeps } from './revoke-grant.ts';
import { revokeSession } from './revoke-session.ts';
import { unwrapArtifact } from './unwrap-artifact.ts';

export type BrokerDeps = CreateSessionDeps & RequestGrantDeps & ExecuteGitHubProxyDeps & RevokeGrantDeps;

/** Every call of BrokerService, ready to be put behind a transport. */
export const makeBroker = (deps: BrokerDeps) => ({
  createSession: createSession(deps),
  requestGrant: requestGrant(deps),
  approveGrant: approveGrant(deps),
  denyGrant: denyGrant(deps),
  revokeGrant: revokeGrant(deps),
  revokeSession: revokeSession(deps),
  executeGitHubProxy: executeGitHubProxy(deps),
  registerBrowserRelay: registerBrowserRelay(deps),
  unwrapArtifact: unwrapArtifact(deps),
});

export type Broker = ReturnType<typeof makeBroker>;
