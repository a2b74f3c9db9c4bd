import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { sharedServer } from './servers/shared.ts';

export { startRedisServer as startRedis } from './servers/start.ts';
export type { RedisServer } from './servers/server.ts';

const address = z.object({ host: z.string(), port: z.number(), password: z.string().nullable() });

// Starts it when nobody has asked before: whoever imports this file needs it.
const shared = await sharedServer('redis', address);

/** The Redis that tests share, and a prefix for the keys of one test. Never flush it. */
export const redisForTest = (): z.infer<typeof address> & { keyPrefix: string } => ({
  ...shared,
  keyPrefix: `test-${randomUUID()}:`,
});
