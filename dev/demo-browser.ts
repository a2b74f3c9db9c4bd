import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { startApi } from './api-process.ts';
import { startChromium } from './browser/chromium.ts';
import { startLoginSite } from './browser/login-site.ts';
import { PageRelay } from './browser/relay.ts';
import { makeRelayKeys } from './browser/relay-keys.ts';
import { makeCluster } from './cluster.ts';
import { makeOperators } from './operators.ts';
import { say, show, step, Teller } from './story.ts';

const ACCOUNT = { username: 'bookkeeper', password: 'correct-horse-battery-staple' };

const session = z.object({ session_id: z.string(), session_token: z.string() });
const pending = z.object({ grant_id: z.string(), state: z.literal('pending'), approval_id: z.string() });
const collected = z.object({ state: z.string(), delivery: z.object({ artifact_id: z.string() }) });
const unwrapped = z.object({
  artifact_id: z.string(),
  auto_submit: z.literal(false),
  fields: z.array(z.object({ name: z.string(), selector: z.string(), value: z.string() })),
});

const folder = await mkdtemp(join(tmpdir(), 'asb-demo-browser-'));
const auditFile = join(folder, 'audit.jsonl');
const site = await startLoginSite(ACCOUNT);
const elsewhere = await startLoginSite(ACCOUNT);
const browser = await startChromium();
const cluster = await makeCluster();
const operators = makeOperators(folder);
await writeFile(join(folder, 'cluster.pem'), cluster.publicKey);
const api = await startApi({
  ASB_ADDR: '127.0.0.1:0',
  ASB_SHUTDOWN_NOTICE_SECONDS: '0',
  ASB_K8S_ISSUER: cluster.issuer,
  ASB_K8S_PUBLIC_KEY_FILE: join(folder, 'cluster.pem'),
  ...operators.environment,
  ASB_BROWSER_ORIGIN: site.origin,
  ASB_BROWSER_ALLOW_INSECURE_LOCALHOST: 'true',
  ASB_BROWSER_USERNAME: ACCOUNT.username,
  ASB_BROWSER_PASSWORD: ACCOUNT.password,
  ASB_BROWSER_SELECTOR_USERNAME: '#login input[name=user]',
  ASB_BROWSER_SELECTOR_PASSWORD: '#login input[type=password]',
  ASB_AUDIT_FILE: auditFile,
});
const teller = new Teller(api.urls[0]);

try {
  say(`ASB listens on ${api.urls[0]}; a site with a login form is at ${site.origin}, and a headless Chromium looks at it.`);
  const page = await browser.newPage();
  await page.goto(site.origin);

  step('The pod of an agent shows its service-account token and gets a session');
  const token = await cluster.projectedToken({ namespace: 'agents', serviceAccount: 'bookkeeper' });
  const { session_id, session_token: bearer } = session.parse(
    await teller.succeed('/v1/sessions', {
      tenant_id: 't_dev',
      agent_id: 'bookkeeper',
      run_id: 'run-1',
      tool_context: ['browser'],
      attestation: { kind: 'k8s_sa_jwt', token },
    }),
  );
  show('session', session_id);

  step(
    'The extension in the browser registers as a relay: with a key that never leaves it, at the origin and the tab where it is',
  );
  const relay = new PageRelay(page, await makeRelayKeys('extension-1'), 'tab-1');
  await teller.succeed('/v1/browser/relay-sessions', relay.registration(), bearer);
  show('relay', `${relay.keys.keyId} at ${site.origin}, key ${relay.keys.thumbprint}`);
  const strayed = await browser.newPage();
  await strayed.goto(elsewhere.origin);
  const other = new PageRelay(strayed, await makeRelayKeys('extension-2'), 'tab-2');
  await teller.refused('/v1/browser/relay-sessions', other.registration(), 404, bearer);

  step('The agent asks to log in there, and a person must approve');
  const wish = {
    tool: 'browser',
    capability: 'browser.login',
    resource_ref: `browser_origin:${site.origin}`,
    delivery_mode: 'wrapped_secret',
    ttl_seconds: 120,
    reason: 'book the invoices of yesterday',
  };
  const asked = pending.parse(await teller.succeed('/v1/grants', wish, bearer));
  show('grant', `${asked.grant_id} (${asked.state})`);
  await teller.succeed(`/v1/approvals/${asked.approval_id}:approve`, {}, await operators.token('olga', ['approver']));
  const granted = collected.parse(await teller.read(`/v1/grants/${asked.grant_id}`, bearer));
  const { artifact_id: artifact } = granted.delivery;
  show('approved', `by olga: ${artifact} (${granted.state})`);

  step('The agent cannot open it: neither without the relay, nor for another tab');
  const unwrap = `/v1/artifacts/${artifact}:unwrap`;
  const { origin, tabId } = relay.place();
  const there = { key_id: relay.keys.keyId, origin, tab_id: tabId };
  await teller.refused(unwrap, {}, 400, bearer);
  await teller.refused(unwrap, { ...there, tab_id: 'tab-2' }, 403, bearer);

  step('The relay opens it, once: each value is sealed to its key, for this origin, this tab and this input');
  const answer = unwrapped.parse(await teller.succeed(unwrap, there, bearer));
  for (const { name, selector, value } of answer.fields) show(name, `${value.slice(0, 24)}… into ${selector}`);
  await relay.fill(answer);
  show(
    'filled',
    `user ${await page.inputValue('input[name=user]')}, password ${(await page.inputValue('input[type=password]')).length} characters`,
  );
  show('submitted', `${site.logins.right + site.logins.wrong} times, for ASB submits nothing`);

  step('Whoever drives the page presses the button');
  await page.click('#login button');
  show('page', await page.textContent('#welcome'));

  step('A second unwrap fails, and the extension of another page could not have read the first');
  await teller.refused(unwrap, there, 409, bearer);
  const stolen = await other.fill(answer).then(
    () => 'it was filled',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  if (stolen === 'it was filled') throw new Error('another relay filled its form');
  show('stolen', stolen);

  step('All of it is on record, and the password is nowhere in it, nor in what the agent was answered');
  const log = await readFile(auditFile, 'utf8');
  const types = [...log.matchAll(/"type":"([a-z._]+)"/g)].map(([, type]) => type);
  show('events', types.join(', '));
  if ((log + api.output() + JSON.stringify(answer)).includes(ACCOUNT.password)) throw new Error('the password leaked');
  show('searched', 'audit events, logs and answers: not found');
} finally {
  await browser.close();
  await api.stop();
  await Promise.all([site.close(), elsewhere.close()]);
  await rm(folder, { recursive: true });
}
