import autocannon from 'autocannon';
import { startApi } from '../../dev/api-process.ts';
import { CONNECTIONS, JSON_HEADERS, median, say } from '../load.ts';
import { bearer, grantBody, residentMegabytes, sessionAnswer, sessionBody, type Setting } from '../setting.ts';
import { type DurableServers, startWorker } from './servers.ts';

const STEP = 500;
/** Long enough for a step on a slow machine, short enough that the worker ends and forgets most of the run while it goes on. */
const SESSION_SECONDS = 60;
const GROWTH_GOAL_MB = 5;

/** Opens many sessions with a grant each, with a worker beside that ends and forgets them, and looks at the memory of both processes. */
export async function memoryOfLongRun(setting: Setting, servers: DurableServers, sessions: number): Promise<void> {
  const environment = setting.apiEnvironment({
    ...servers.environmentOf(await servers.makeDatabase('long_run')),
    ASB_RETENTION_SECONDS: '1',
  });
  const processes = {
    API: setting.keep(await startApi(environment)),
    worker: setting.keep(await startWorker(environment)),
  };
  const names = ['API', 'worker'] as const;
  const samples = { API: [] as number[], worker: [] as number[] };
  const sample = async (): Promise<void> => {
    for (const name of names) samples[name].push(await residentMegabytes(processes[name]));
  };
  await sample();
  for (let made = 0; made < sessions; made += STEP) {
    await runs(processes.API.urls[0], await sessionBody(setting.cluster, { ttlSeconds: SESSION_SECONDS }));
    await sample();
  }
  say(`memory on Postgres and Redis over ${sessions} sessions with a grant each, MB:`);
  say('process    start   1/4     1/2     3/4     end     most    growth over the second half   goal');
  for (const name of names) sayMemory(name, samples[name]);
}

/** So many sessions, each with a grant right after it on the same connection. */
async function runs(url: string, body: string): Promise<void> {
  const result = await autocannon({
    url,
    connections: CONNECTIONS,
    amount: 2 * STEP,
    requests: [
      {
        method: 'POST',
        path: '/v1/sessions',
        headers: JSON_HEADERS,
        body,
        onResponse(_status, answer, context) {
          Object.assign(context, sessionAnswer.parse(JSON.parse(answer)));
        },
      },
      {
        method: 'POST',
        path: '/v1/grants',
        body: grantBody,
        setupRequest: (request, context) => ({
          ...request,
          headers: { ...JSON_HEADERS, ...bearer(sessionAnswer.parse(context).session_token) },
        }),
      },
    ],
  });
  if (result['2xx'] !== 2 * STEP) throw new Error(`${result['2xx']} of ${2 * STEP} calls went well`);
}

function sayMemory(name: string, samples: readonly number[]): void {
  const at = (share: number): number => samples[Math.round((samples.length - 1) * share)] ?? NaN;
  // One sample says when a collection was last; the median of some says how much there is.
  const around = (from: number, to: number): number =>
    median(samples.slice(Math.floor(samples.length * from), Math.ceil(samples.length * to)));
  const growth = around(0.875, 1) - around(0.5, 0.625);
  const figures = [0, 0.25, 0.5, 0.75, 1].map(at).concat(Math.max(...samples));
  const columns = figures.map((megabytes) => megabytes.toFixed(0).padEnd(8)).join('');
  say(`${name.padEnd(11)}${columns}${growth.toFixed(1).padEnd(30)}below ${GROWTH_GOAL_MB}`);
}
