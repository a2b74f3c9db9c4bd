import autocannon from 'autocannon';

export const CONNECTIONS = 16;
export const JSON_HEADERS = { 'content-type': 'application/json' };

export interface Request {
  path: string;
  headers: Record<string, string>;
  body: string;
}

/** What is sent over and over: each connection goes round in requests of its own, or in all when there are fewer than connections. */
export type Load = readonly Request[];

export interface Contender {
  url: string;
  load: Load;
}

/** How long to measure. */
export interface Pace {
  rounds: number;
  seconds: number;
  warmUpSeconds: number;
}

export const say = (text: string): void => void process.stdout.write(`${text}\n`);

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/** One call. Answers the JSON of a 2xx and rejects with any other answer. */
export async function post(url: string, path: string, body: string, headers: Record<string, string> = {}): Promise<unknown> {
  const response = await fetch(`${url}${path}`, { method: 'POST', headers: { ...JSON_HEADERS, ...headers }, body });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Requests a second over one stretch of load. Rejects when any answer is not a 2xx. */
async function throughput({ url, load }: Contender, seconds: number): Promise<number> {
  let connection = 0;
  const result = await autocannon({
    url,
    connections: CONNECTIONS,
    duration: seconds,
    setupClient(client) {
      const own = load.length < CONNECTIONS ? load : load.filter((_, place) => place % CONNECTIONS === connection);
      connection += 1;
      client.setRequests(
        own.map(({ path, headers, body }) => ({ method: 'POST', path, headers: { ...JSON_HEADERS, ...headers }, body })),
      );
    },
  });
  if (result.non2xx + result.errors > 0) {
    throw new Error(`${load[0]?.path}: ${result.non2xx} refused, ${result.errors} failed`);
  }
  return result['2xx'] / result.duration;
}

export function sayHead({ rounds, seconds }: Pace): void {
  say(`${rounds} rounds of ${seconds} s, floor and ASB in turns, ${CONNECTIONS} connections; requests a second`);
  say('call       floor (median)   ASB (median)   share, pair by pair: least median most   goal');
}

/** Measures both in turns, so that a machine that slows down slows both, and prints a line. */
export async function compare(
  call: string,
  floor: Contender,
  asb: Contender,
  { rounds, seconds, warmUpSeconds }: Pace,
  goal: number | null,
): Promise<void> {
  await throughput(floor, warmUpSeconds);
  await throughput(asb, warmUpSeconds);
  const pairs: { base: number; ours: number }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const base = await throughput(floor, seconds);
    pairs.push({ base, ours: await throughput(asb, seconds) });
  }
  const shares = pairs.map(({ base, ours }) => ours / base);
  const figures = [Math.min(...shares), median(shares), Math.max(...shares)].map((share) => share.toFixed(2)).join('   ');
  const base = median(pairs.map((pair) => pair.base)).toFixed(0);
  const ours = median(pairs.map((pair) => pair.ours)).toFixed(0);
  say(`${call.padEnd(11)}${base.padEnd(17)}${ours.padEnd(15)}${figures.padEnd(48)}${goal ?? 'none'}`);
}
