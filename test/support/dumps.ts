import { Redis } from 'ioredis';
import { Client, escapeIdentifier } from 'pg';
import { expect } from 'vitest';
import { z } from 'zod';
import type { Asb } from './asb.ts';
import type { DurableStores } from './durable-stores.ts';

/** Every row of every table, and what the server remembers of statements. */
export async function dumpOfPostgres(stores: DurableStores): Promise<string> {
  const client = new Client({ connectionString: stores.dsn });
  await client.connect();
  try {
    const names = z.array(z.object({ name: z.string() }));
    const tables = names.parse(
      (await client.query(`SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`)).rows,
    );
    const dumps: string[] = [];
    for (const { name } of tables) {
      const rows = await client.query(`SELECT to_jsonb(t)::text AS name FROM ${escapeIdentifier(name)} t`);
      dumps.push(
        `${name}\n${names
          .parse(rows.rows)
          .map((row) => row.name)
          .join('\n')}`,
      );
    }
    const activity = await client.query(`SELECT coalesce(query, '') AS name FROM pg_stat_activity`);
    dumps.push(...names.parse(activity.rows).map((row) => row.name));
    return dumps.join('\n');
  } finally {
    await client.end();
  }
}

/** Every key of the deployment with all that it holds, as Redis serialises it and as text. */
export async function dumpOfRedis(stores: DurableStores): Promise<string> {
  const { host, port, password, keyPrefix } = stores.redis;
  const redis = new Redis({ host, port, ...(password === null ? {} : { password }) });
  try {
    const keys = await redis.keys(`${keyPrefix}*`);
    expect(keys.length).toBeGreaterThan(0);
    const values = await Promise.all(
      keys.map(async (key) => {
        const type = await redis.type(key);
        const value =
          type === 'hash'
            ? await redis.hgetall(key)
            : type === 'zset'
              ? await redis.zrange(key, '0', '-1')
              : await redis.get(key);
        return `${key} ${JSON.stringify(value)} ${(await redis.dumpBuffer(key)).toString('latin1')}`;
      }),
    );
    return values.join('\n');
  } finally {
    redis.disconnect();
  }
}

/** Every form in which a secret might lie there. */
export function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret);
  // Inside a longer text base64 depends on where the secret begins: three phases, without the characters at their ends.
  const phases = [0, 1, 2].map((pad) =>
    Buffer.concat([Buffer.alloc(pad), bytes])
      .toString('base64')
      .replace(/=+$/, '')
      .slice(4, -4),
  );
  return [secret, ...phases, bytes.toString('hex'), encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)].flatMap(
    (text) => [text, text.toUpperCase(), text.replaceAll('+', '-').replaceAll('/', '_')],
  );
}

/** Everything that is written down anywhere, in one text: log lines, events, metrics, the stores, and these answers. */
export async function writtenDown(asb: Asb, ...answers: readonly unknown[]): Promise<string> {
  const metrics = await asb.raw.send({ method: 'GET', path: '/metrics' });
  const stores = asb.durable === null ? [] : [await dumpOfPostgres(asb.durable), await dumpOfRedis(asb.durable)];
  const said = [...asb.logged, JSON.stringify(asb.audit.events), JSON.stringify(answers), metrics.body.toString()];
  return [...said, ...stores].join('\n');
}

/** Fails when one of the secrets is in the text, in any of its spellings. */
export function expectNoneIn(text: string, secrets: readonly string[]): void {
  for (const secret of secrets) {
    // One that is short, or empty, would prove nothing.
    expect(secret.length).toBeGreaterThan(12);
    for (const spelling of spellings(secret)) expect(text).not.toContain(spelling);
  }
}
