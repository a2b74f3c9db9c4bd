import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Client } from 'pg';
import { z } from 'zod';
import { systemClock } from '../src/bootstrap/system-clock.ts';
import { startPostgresServer } from '../test/support/servers/start.ts';
import { startApi } from './api-process.ts';
import { makeCluster } from './cluster.ts';
import { say, show, step, Teller } from './story.ts';
import { startVaultStandIn } from './vault/server.ts';
import { brokerPolicy, makeToken, setUpDatabase, vaultOperator } from './vault/set-up.ts';

const ROLE = 'orders_ro';
const MOUNT = 'database';
/** For the queue to revoke what a grant leaves behind. */
const PATIENCE_MS = 20_000;

const session = z.object({ session_id: z.string(), session_token: z.string() });
const grant = z.object({ grant_id: z.string(), state: z.string(), delivery: z.object({ artifact_id: z.string() }) });
const unwrapped = z.object({ fields: z.array(z.object({ name: z.string(), value: z.string() })) });

/** Does one thing as the user of a DSN. Answers what the database says. */
async function asUser(dsn: string, statement: string): Promise<string> {
  const client = new Client({ connectionString: dsn });
  try {
    await client.connect();
    const { rows } = await client.query<Record<string, unknown>>(statement);
    return JSON.stringify(rows);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function untilRefused(dsn: string): Promise<string> {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    const answer = await asUser(dsn, 'SELECT 1 AS one');
    if (!answer.startsWith('[')) return answer;
    await wait(100);
  }
  throw new Error('the user can still log in');
}

const folder = await mkdtemp(join(tmpdir(), 'asb-demo-vault-'));
const auditFile = join(folder, 'audit.jsonl');
const postgres = await startPostgresServer();
const vault = await startVaultStandIn({ clock: systemClock });
const ask = vaultOperator(vault.url, vault.rootToken);

await asUser(
  postgres.dsn,
  `CREATE TABLE orders (number int, item text); INSERT INTO orders VALUES (1, 'a widget'), (2, 'two gears')`,
);
await setUpDatabase(ask, { mount: MOUNT, dsn: postgres.dsn, role: ROLE, defaultTtl: '10m', maxTtl: '1h' });
await ask('POST', 'sys/policies/acl/asb', { policy: brokerPolicy(MOUNT, ROLE) });
const vaultToken = await makeToken(ask, { policies: ['asb'], period: '1h' });

const cluster = await makeCluster();
await writeFile(join(folder, 'cluster.pem'), cluster.publicKey);
const api = await startApi({
  ASB_ADDR: '127.0.0.1:0',
  ASB_SHUTDOWN_NOTICE_SECONDS: '0',
  ASB_K8S_ISSUER: cluster.issuer,
  ASB_K8S_PUBLIC_KEY_FILE: join(folder, 'cluster.pem'),
  ASB_VAULT_ADDR: vault.url,
  ASB_VAULT_TOKEN: vaultToken,
  ASB_VAULT_ROLE: ROLE,
  ASB_VAULT_DSN_TEMPLATE: `postgres://{{username}}:{{password}}@${postgres.host}:${postgres.port}/postgres`,
  ASB_AUDIT_FILE: auditFile,
  ASB_CLEANUP_INTERVAL_SECONDS: '1',
});
const teller = new Teller(api.urls[0]);

try {
  say(
    `ASB listens on ${api.urls[0]}; a stand-in plays Vault on ${vault.url}, before a real Postgres on port ${postgres.port}.`,
  );

  step('The pod of an agent shows its service-account token and gets a session');
  const token = await cluster.projectedToken({ namespace: 'agents', serviceAccount: 'analyst' });
  const opened = session.parse(
    await teller.succeed('/v1/sessions', {
      tenant_id: 't_dev',
      agent_id: 'analyst',
      run_id: 'run-1',
      tool_context: ['db'],
      attestation: { kind: 'k8s_sa_jwt', token },
    }),
  );
  const bearer = opened.session_token;
  show('session', opened.session_id);

  step('It asks to read one database; ASB has Vault make a user for this grant alone, and keeps it sealed');
  const wish = {
    tool: 'db',
    capability: 'db.read',
    resource_ref: `dbrole:${ROLE}`,
    delivery_mode: 'wrapped_secret',
    ttl_seconds: 300,
    reason: 'count the orders of yesterday',
  };
  const granted = grant.parse(await teller.succeed('/v1/grants', wish, bearer));
  const { artifact_id: artifact } = granted.delivery;
  show('grant', `${granted.grant_id} (${granted.state})`);
  show('artifact', artifact);

  step('The trusted runtime opens it, once');
  const { fields } = unwrapped.parse(await teller.succeed(`/v1/artifacts/${artifact}:unwrap`, {}, bearer));
  const valueOf = (name: string): string => fields.find((field) => field.name === name)?.value ?? '';
  const dsn = valueOf('dsn');
  show('username', valueOf('username'));
  show('password', `${valueOf('password').length} characters`);
  await teller.refused(`/v1/artifacts/${artifact}:unwrap`, {}, 409, bearer);

  step('With it the runtime logs in to Postgres: it reads, and it cannot write');
  show('read', await asUser(dsn, 'SELECT number, item FROM orders ORDER BY number'));
  const written = await asUser(dsn, `INSERT INTO orders VALUES (3, 'a lever')`);
  if (!written.includes('permission denied')) throw new Error(`a write went through: ${written}`);
  show('write', written);

  step('The grant is revoked: ASB has Vault drop the user, and its login is refused');
  show('revoked', JSON.stringify(await teller.succeed(`/v1/grants/${granted.grant_id}:revoke`, { reason: 'done' }, bearer)));
  show('login', await untilRefused(dsn));
  show('leases', `${vault.leaseIds().length} left at Vault`);

  step('A role that may write is not to be had, nor one that nobody configured');
  await teller.refused('/v1/grants', { ...wish, resource_ref: 'dbrole:orders_rw' }, 400, bearer);
  await teller.refused('/v1/grants', { ...wish, resource_ref: 'dbrole:payments_ro' }, 404, bearer);

  step('All of it is on record, and the credentials are nowhere in it');
  const log = await readFile(auditFile, 'utf8');
  show(
    'events',
    log
      .match(/"type":"[a-z._]+"/g)
      ?.map((type) => type.slice(8, -1))
      .join(', '),
  );
  for (const secret of [vaultToken, valueOf('password'), dsn]) {
    if ((log + api.output()).includes(secret)) throw new Error('a credential leaked');
  }
  show('searched', 'audit events and logs: not found');
} finally {
  await api.stop();
  await vault.close();
  await postgres.close();
  await rm(folder, { recursive: true });
}
