import { createSession, type CreateSessionDeps } from './create-session.ts';
import { approveGrant, type DecideApprovalDeps, denyGrant } from './decide-approval.ts';
import { decideByCallback, type DecideByCallbackDeps } from './decide-by-callback.ts';
import { executeGitHubProxy, type ExecuteGitHubProxyDeps } from './execute-github-proxy.ts';
import { explainDecision, type ExplainDecisionDeps } from './explain-decision.ts';
import { getGrant, type GetGrantDeps } from './get-grant.ts';
import * as records from './read-records.ts';
import { registerBrowserRelay, type RegisterBrowserRelayDeps } from './register-browser-relay.ts';
import { requestGrant, type RequestGrantDeps } from './request-grant.ts';
import { type RevokeAllDeps, revokeRun, revokeWorkload } from './revoke-all.ts';
import { revokeGrant, type RevokeGrantDeps } from './revoke-grant.ts';
import { revokeSession, type RevokeSessionDeps } from './revoke-session.ts';
import { unwrapArtifact, type UnwrapArtifactDeps } from './unwrap-artifact.ts';

export type BrokerDeps = CreateSessionDeps &
  RequestGrantDeps &
  GetGrantDeps &
  DecideApprovalDeps &
  DecideByCallbackDeps &
  ExecuteGitHubProxyDeps &
  RevokeGrantDeps &
  RevokeSessionDeps &
  RevokeAllDeps &
  RegisterBrowserRelayDeps &
  UnwrapArtifactDeps &
  ExplainDecisionDeps &
  records.ReadRecordsDeps;

/** Every call of BrokerService and OperatorService, ready to be put behind a transport. */
export const makeBroker = (deps: BrokerDeps) => ({
  createSession: createSession(deps),
  requestGrant: requestGrant(deps),
  getGrant: getGrant(deps),
  approveGrant: approveGrant(deps),
  denyGrant: denyGrant(deps),
  decideByCallback: decideByCallback(deps),
  revokeGrant: revokeGrant(deps),
  revokeSession: revokeSession(deps),
  executeGitHubProxy: executeGitHubProxy(deps),
  registerBrowserRelay: registerBrowserRelay(deps),
  unwrapArtifact: unwrapArtifact(deps),
  listSessions: records.listSessions(deps),
  getSession: records.getSession(deps),
  listGrants: records.listGrants(deps),
  listApprovals: records.listApprovals(deps),
  getApproval: records.getApproval(deps),
  listRevocations: records.listRevocations(deps),
  listAuditEvents: records.listAuditEvents(deps),
  revokeRun: revokeRun(deps),
  revokeWorkload: revokeWorkload(deps),
  explainDecision: explainDecision(deps),
});

export type Broker = ReturnType<typeof makeBroker>;
