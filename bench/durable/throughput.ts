import { isDeepStrictEqual } from 'node:util';
import { startApi, startProcess } from '../../dev/api-process.ts';
import { asAdmin } from '../../test/support/servers/template.ts';
import { compare, type Contender, type Load, type Pace, post, say, sayHead } from '../load.ts';
import { bearer, grantBody, here, openSessions, sessionAnswer, sessionBody, type Setting } from '../setting.ts';
import type { DurableServers } from './servers.ts';

/** Goals: share of the floor's throughput. */
const GOALS = { session: 0.6, grant: 0.6 } as const;
/** Of one process. */
const DATABASE_CONNECTIONS = 20;
/** Grants are asked for by many runs, each of which has a few: grants of one session are made one after the other. */
const RUNS = 1024;

/** Sessions and grants on Postgres and Redis, beside a server that commits the same rows to a database on the same server. */
export async function compareOnDurable(setting: Setting, servers: DurableServers, pace: Pace): Promise<void> {
  const dsns = { floor: await servers.makeDatabase('floor'), asb: await servers.makeDatabase('asb') };
  const floor = setting.keep(
    await startProcess([here('durable/floor-server.ts')], {
      FLOOR_ISSUER: setting.cluster.issuer,
      FLOOR_PUBLIC_KEY_FILE: setting.clusterKeyFile,
      FLOOR_DSN: dsns.floor,
      FLOOR_CONNECTIONS: String(DATABASE_CONNECTIONS),
    }),
  );
  const environment = {
    ...servers.environmentOf(dsns.asb),
    ASB_POSTGRES_MAX_CONNECTIONS: String(DATABASE_CONNECTIONS),
  };
  const api = setting.keep(await startApi(setting.apiEnvironment(environment)));
  const urls = { floor: floor.urls[0], asb: api.urls[0] };
  const body = await sessionBody(setting.cluster);
  await requireSameRows(urls, dsns, body);

  say('on Postgres and Redis');
  sayHead(pace);
  const session = (url: string): Contender => ({ url, load: [{ path: '/v1/sessions', headers: {}, body }] });
  await compare('session', session(urls.floor), session(urls.asb), pace, GOALS.session);
  const grant = async (url: string): Promise<Contender> => ({ url, load: grantLoad(await openSessions(url, body, RUNS)) });
  await compare('grant', await grant(urls.floor), await grant(urls.asb), pace, GOALS.grant);
}

const grantLoad = (tokens: readonly string[]): Load =>
  tokens.map((token) => ({ path: '/v1/grants', headers: bearer(token), body: grantBody }));

type Both = Readonly<Record<'floor' | 'asb', string>>;

/** Makes a session and a grant on both, and rejects when one keeps other rows than the other: the comparison would not be one. */
async function requireSameRows(urls: Both, dsns: Both, body: string): Promise<void> {
  const kept = async (url: string, dsn: string): Promise<unknown> => {
    const { session_token } = sessionAnswer.parse(await post(url, '/v1/sessions', body));
    await post(url, '/v1/grants', grantBody, bearer(session_token));
    return Promise.all(ROWS.map((statement) => asAdmin(dsn, statement)));
  };
  const [floor, asb] = [await kept(urls.floor, dsns.floor), await kept(urls.asb, dsns.asb)];
  if (isDeepStrictEqual(floor, asb)) return;
  throw new Error(`the floor keeps other rows than ASB:\n${JSON.stringify(floor)}\n${JSON.stringify(asb)}`);
}

/** Which columns have a value in the rows of each table. */
const ROWS = ['sessions', 'grants', 'artifacts', 'audit_events', 'approvals', 'downstream_calls'].map(
  (table) => `
    SELECT array(SELECT jsonb_object_keys(jsonb_strip_nulls(to_jsonb(r))) ORDER BY 1) AS ${table} FROM ${table} r ORDER BY id`,
);
