import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { startApi } from './api-process.ts';
import { makeCluster } from './cluster.ts';
import { writeDemoConfiguration } from './demo-configuration.ts';
import { startGitHubStandIn } from './github/server.ts';
import { say, show, step, Teller } from './story.ts';

const GITHUB_TOKEN = 'github_pat_11DEMO_the_agent_never_sees_this';
const REQUESTS = 4;

const session = z.object({ session_id: z.string(), session_token: z.string(), expires_at: z.string() });
const grant = z.object({
  grant_id: z.string(),
  state: z.string(),
  delivery: z.object({ handle: z.string() }),
  expires_at: z.string(),
});
const pending = z.object({ grant_id: z.string(), state: z.literal('pending'), approval_id: z.string() });
const waiting = z.object({ approval: z.object({ agent_id: z.string(), resource_ref: z.string(), reason: z.string() }) });
const pull = z.object({ number: z.number(), title: z.string(), user: z.object({ login: z.string() }) });

const folder = await mkdtemp(join(tmpdir(), 'asb-demo-'));
const auditFile = join(folder, 'audit.jsonl');

const cluster = await makeCluster();
const configuration = await writeDemoConfiguration(folder, cluster);
const github = await startGitHubStandIn({ token: GITHUB_TOKEN });
const api = await startApi({
  ASB_ADDR: '127.0.0.1:0',
  ASB_SHUTDOWN_NOTICE_SECONDS: '0',
  ASB_CONFIG_FILE: configuration.path,
  ASB_GITHUB_TOKEN: GITHUB_TOKEN,
  ASB_GITHUB_API_BASE_URL: github.url,
  ASB_GITHUB_ALLOWED_OPERATIONS: 'pull_request_metadata,pull_request_files,repository_issues',
  ASB_PROXY_MAX_REQUESTS: String(REQUESTS),
  ASB_AUDIT_FILE: auditFile,
});
const [url] = api.urls;

const teller = new Teller(url);

try {
  say(`ASB listens on ${url}; a stand-in plays GitHub on ${github.url}.`);

  step('The pod of an agent shows its service-account token and gets a session');
  const attestation = {
    kind: 'k8s_sa_jwt',
    token: await cluster.projectedToken({ namespace: 'agents', serviceAccount: 'reviewer' }),
  };
  const run = { tenant_id: configuration.tenants.free, agent_id: 'reviewer', run_id: 'run-1', tool_context: ['github'] };
  const opened = session.parse(await teller.succeed('/v1/sessions', { ...run, attestation }));
  show('session', opened.session_id);
  show('until', opened.expires_at);

  step('It asks for one capability on one repository, and receives a handle');
  const wish = {
    tool: 'github',
    capability: 'repo.read',
    resource_ref: 'github:repo:acme/widgets',
    delivery_mode: 'proxy',
    ttl_seconds: 300,
    reason: 'review pull request 10',
  };
  const granted = grant.parse(await teller.succeed('/v1/grants', wish, opened.session_token));
  const { handle } = granted.delivery;
  show('grant', `${granted.grant_id} (${granted.state})`);
  show('handle', handle);
  show('until', granted.expires_at);

  step('A tool reads a pull request through the handle; ASB holds the credential');
  const proxy = '/v1/proxy/github/rest';
  const reading = { proxy_handle: handle, operation: 'pull_request_metadata', params: { pull_number: 10 } };
  const answer = pull.parse(await teller.succeed(proxy, reading));
  show('pull', `#${answer.number} “${answer.title}” by ${answer.user.login}`);

  step('What is not allowed is refused, and the refusal says why');
  const elsewhere = { ...wish, resource_ref: 'github:repo:umbrella/secrets' };
  await teller.refused('/v1/grants', elsewhere, 403, opened.session_token);
  await teller.refused(proxy, { ...reading, operation: 'repository_metadata', params: {} }, 403);
  await teller.refused(proxy, { ...reading, params: { pull_number: 10, owner: 'umbrella', repo: 'secrets' } }, 403);
  await teller.refused(proxy, { ...reading, params: { pull_number: '../../../user' } }, 400);

  step(`The handle is good for ${REQUESTS} requests; the budget runs out`);
  for (let request = 2; request <= REQUESTS; request += 1) {
    await teller.succeed(proxy, reading);
    show('request', `${request} of ${REQUESTS}: 200`);
  }
  await teller.refused(proxy, reading, 429);

  step('A new grant is revoked, and its handle is dead');
  const second = grant.parse(await teller.succeed('/v1/grants', wish, opened.session_token));
  show('grant', second.grant_id);
  await teller.succeed(proxy, { ...reading, proxy_handle: second.delivery.handle });
  show('handle', 'works');
  const revoked = await teller.succeed(`/v1/grants/${second.grant_id}:revoke`, { reason: 'done' }, opened.session_token);
  show('revoked', JSON.stringify(revoked));
  await teller.refused(proxy, { ...reading, proxy_handle: second.delivery.handle }, 401);

  step('Where the policy asks people, the agent waits, somebody else decides, and the agent alone gets the handle');
  const careful = { ...run, tenant_id: configuration.tenants.careful, attestation };
  const { session_token } = session.parse(await teller.succeed('/v1/sessions', careful));
  const asked = pending.parse(await teller.succeed('/v1/grants', { ...wish, request_id: 'review-10' }, session_token));
  show('grant', `${asked.grant_id} (${asked.state})`);
  const approvalPath = `/v1/approvals/${asked.approval_id}`;
  await teller.refused(`${approvalPath}:approve`, {}, 401, session_token);
  const approver = await configuration.operators.token('olga', ['approver']);
  const { approval } = waiting.parse(await teller.read(approvalPath, approver));
  show('olga sees', `${approval.agent_id} asks for ${approval.resource_ref}: “${approval.reason}”`);
  const answered = teller.read(`/v1/grants/${asked.grant_id}?wait_seconds=30`, session_token);
  show('approved', JSON.stringify(await teller.succeed(`${approvalPath}:approve`, { comment: 'fine' }, approver)));
  const collected = grant.parse(await answered);
  show('the agent', `${collected.grant_id} (${collected.state}), ${collected.delivery.handle}`);
  await teller.refused(`${approvalPath}:approve`, {}, 409, approver);

  step('An operator stops the run: its sessions and handles are dead, and it gets no new ones');
  const stopped = await teller.succeed(
    `/v1/runs/${run.run_id}:revoke`,
    { tenant_id: careful.tenant_id, reason: 'demo' },
    await configuration.operators.token('otto', ['operator']),
  );
  show('revoked', JSON.stringify(stopped));
  await teller.refused(proxy, { ...reading, proxy_handle: collected.delivery.handle }, 401);
  await teller.refused('/v1/sessions', careful, 403);

  step('All of it is on record, and the credential is nowhere in it');
  const log = await readFile(auditFile, 'utf8');
  const types = z.array(z.object({ type: z.string() })).parse(
    log
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line)),
  );
  show('events', types.map(({ type }) => type).join(', '));
  if ((log + api.output()).includes(GITHUB_TOKEN)) throw new Error('the credential leaked');
  show('searched', 'audit events and logs: not found');
  say('\nThat is the main job. README.md tells the story, docs/architecture.md draws it.');
} finally {
  await api.stop();
  await github.close();
  await rm(folder, { recursive: true });
}
