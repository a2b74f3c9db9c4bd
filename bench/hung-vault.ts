import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { startApi, startProcess } from '../dev/api-process.ts';
import { median, type Pace, post, say } from './load.ts';
import {
  bearer,
  grantAnswer,
  grantBody,
  here,
  proxyBody,
  sessionAnswer,
  sessionBody,
  type Setting,
  UPSTREAM_TOKEN,
} from './setting.ts';

/** Agents that wait for a database user meanwhile; fewer than the connector may have under way. */
const HANGING = 100;
const CALLERS = 4;

/** A Vault that knows ASB's token and lets whoever asks for a credential wait. */
async function startHungVault() {
  const hanging = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    if (request.url !== '/v1/auth/token/lookup-self') return void hanging.add(response);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ data: { ttl: 3600, renewable: true } }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    hanging,
    /** A refusal is a sign of life: the connector is not left alone for it. */
    release() {
      for (const response of hanging) response.writeHead(403, { 'content-type': 'application/json' }).end('{"errors":[]}');
      hanging.clear();
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Milliseconds of each proxied call that a few callers make one after the other for so many seconds. */
async function latencies(url: string, body: string, seconds: number): Promise<number[]> {
  const end = performance.now() + seconds * 1000;
  const taken: number[] = [];
  const call = async (): Promise<void> => {
    while (performance.now() < end) {
      const start = performance.now();
      await post(url, '/v1/proxy/github/rest', body);
      taken.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, call));
  return taken;
}

const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? NaN;

/** How long calls to GitHub take while Vault answers nobody, beside how long they take otherwise, in turns. */
export async function compareWithHungVault(setting: Setting, { rounds, seconds, warmUpSeconds }: Pace): Promise<void> {
  const upstream = setting.keep(await startProcess([here('upstream.ts')], { FLOOR_TOKEN: UPSTREAM_TOKEN }));
  const vault = setting.keep(await startHungVault());
  const api = setting.keep(
    await startApi(
      setting.apiEnvironment({
        ASB_AUDIT_FILE: join(setting.folder, 'audit-hung.jsonl'),
        ASB_GITHUB_API_BASE_URL: upstream.urls[0],
        ASB_VAULT_ADDR: vault.url,
        ASB_VAULT_TOKEN: 'hvs.bench',
        ASB_VAULT_ROLE: 'app_ro',
        ASB_VAULT_DSN_TEMPLATE: 'postgres://{{username}}:{{password}}@127.0.0.1/app',
      }),
    ),
  );
  const [url] = api.urls;
  const session = await post(url, '/v1/sessions', await sessionBody(setting.cluster, { tools: ['github', 'db'] }));
  const headers = bearer(sessionAnswer.parse(session).session_token);
  const { delivery } = grantAnswer.parse(await post(url, '/v1/grants', grantBody, headers));
  const body = proxyBody(delivery.handle);
  const wish = {
    tool: 'db',
    capability: 'db.read',
    resource_ref: 'dbrole:app_ro',
    delivery_mode: 'wrapped_secret',
    reason: 'b',
  };

  await latencies(url, body, warmUpSeconds);
  const figures: { usual: number[]; hung: number[] }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const usual = await latencies(url, body, seconds);
    const waiting = Array.from({ length: HANGING }, () =>
      post(url, '/v1/grants', JSON.stringify(wish), headers).catch(String),
    );
    while (vault.hanging.size < HANGING) await new Promise(setImmediate);
    const hung = await latencies(url, body, seconds);
    vault.release();
    await Promise.all(waiting);
    figures.push({ usual, hung });
  }
  say(
    `proxied calls while ${HANGING} agents wait for a Vault that hangs; ${rounds} rounds of ${seconds} s in turns, ${CALLERS} callers, ms`,
  );
  for (const [name, part] of [
    ['median', 0.5],
    ['99th', 0.99],
  ] as const) {
    const of = (values: readonly number[]) => quantile(values, part);
    const usual = median(figures.map((figure) => of(figure.usual)));
    const hung = median(figures.map((figure) => of(figure.hung)));
    const ratio = median(figures.map((figure) => of(figure.hung) / of(figure.usual)));
    say(
      `${name.padEnd(8)}usual ${usual.toFixed(2)}   Vault hangs ${hung.toFixed(2)}   ratio, pair by pair, median ${ratio.toFixed(2)}`,
    );
  }
}
