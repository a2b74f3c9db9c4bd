import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { startApi } from './api-process.ts';
import { makeCluster } from './cluster.ts';
import { startGitHubStandIn } from './github/server.ts';

const GITHUB_TOKEN = 'github_pat_11DEMO_the_agent_never_sees_this';
const REQUESTS = 4;

const session = z.object({ session_id: z.string(), session_token: z.string(), expires_at: z.string() });
const grant = z.object({
  grant_id: z.string(),
  state: z.string(),
  delivery: z.object({ handle: z.string() }),
  expires_at: z.string(),
});
const pull = z.object({ number: z.number(), title: z.string(), user: z.object({ login: z.string() }) });
const refusal = z.object({ error: z.string(), code: z.string() });

const say = (text: string): void => void process.stdout.write(`${text}\n`);
let steps = 0;
const step = (title: string): void => say(`\n${(steps += 1)}. ${title}`);
const show = (label: string, value: unknown): void => say(`   ${label.padEnd(10)} ${String(value)}`);

const folder = await mkdtemp(join(tmpdir(), 'asb-demo-'));
const keyFile = join(folder, 'cluster.pem');
const auditFile = join(folder, 'audit.jsonl');

const cluster = await makeCluster();
await writeFile(keyFile, cluster.publicKey);
const github = await startGitHubStandIn({ token: GITHUB_TOKEN });
const api = await startApi({
  ASB_ADDR: '127.0.0.1:0',
  ASB_SHUTDOWN_NOTICE_SECONDS: '0',
  ASB_K8S_ISSUER: cluster.issuer,
  ASB_K8S_PUBLIC_KEY_FILE: keyFile,
  ASB_GITHUB_TOKEN: GITHUB_TOKEN,
  ASB_GITHUB_API_BASE_URL: github.url,
  ASB_GITHUB_ALLOWED_OPERATIONS: 'pull_request_metadata,pull_request_files,repository_issues',
  ASB_PROXY_MAX_REQUESTS: String(REQUESTS),
  ASB_AUDIT_FILE: auditFile,
});
const [url] = api.urls;

async function call(path: string, body: unknown, token?: string): Promise<{ status: number; body: unknown }> {
  const headers = {
    'content-type': 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
  const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

/** Makes a call that must succeed, and answers its body. */
async function succeed(path: string, body: unknown, token?: string): Promise<unknown> {
  const answer = await call(path, body, token);
  if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/** Makes a call that must be refused, and shows how. */
async function refused(path: string, body: unknown, status: number): Promise<void> {
  const answer = await call(path, body);
  if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status}: ${JSON.stringify(answer.body)}`);
  const { code, error } = refusal.parse(answer.body);
  show('refused', `${answer.status} ${code}: ${error}`);
}

try {
  say(`ASB listens on ${url}; a stand-in plays GitHub on ${github.url}.`);

  step('The pod of an agent shows its service-account token and gets a session');
  const attestation = {
    kind: 'k8s_sa_jwt',
    token: await cluster.projectedToken({ namespace: 'agents', serviceAccount: 'reviewer' }),
  };
  const run = { tenant_id: 't_dev', agent_id: 'reviewer', run_id: 'run-1', tool_context: ['github'] };
  const opened = session.parse(await succeed('/v1/sessions', { ...run, attestation }));
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
  const granted = grant.parse(await succeed('/v1/grants', wish, opened.session_token));
  const { handle } = granted.delivery;
  show('grant', `${granted.grant_id} (${granted.state})`);
  show('handle', handle);
  show('until', granted.expires_at);

  step('A tool reads a pull request through the handle; ASB holds the credential');
  const proxy = '/v1/proxy/github/rest';
  const read = { proxy_handle: handle, operation: 'pull_request_metadata', params: { pull_number: 10 } };
  const answer = pull.parse(await succeed(proxy, read));
  show('pull', `#${answer.number} “${answer.title}” by ${answer.user.login}`);

  step('What is not allowed is refused, and the refusal says why');
  await refused(proxy, { ...read, operation: 'repository_metadata', params: {} }, 403);
  await refused(proxy, { ...read, params: { pull_number: 10, owner: 'umbrella', repo: 'secrets' } }, 403);
  await refused(proxy, { ...read, params: { pull_number: '../../../user' } }, 400);

  step(`The handle is good for ${REQUESTS} requests; the budget runs out`);
  for (let request = 2; request <= REQUESTS; request += 1) {
    await succeed(proxy, read);
    show('request', `${request} of ${REQUESTS}: 200`);
  }
  await refused(proxy, read, 429);

  step('A new grant is revoked, and its handle is dead');
  const second = grant.parse(await succeed('/v1/grants', wish, opened.session_token));
  show('grant', second.grant_id);
  await succeed(proxy, { ...read, proxy_handle: second.delivery.handle });
  show('handle', 'works');
  const revoked = await succeed(`/v1/grants/${second.grant_id}:revoke`, { reason: 'done' }, opened.session_token);
  show('revoked', JSON.stringify(revoked));
  await refused(proxy, { ...read, proxy_handle: second.delivery.handle }, 401);

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
