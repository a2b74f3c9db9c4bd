import { z } from 'zod';

/** The user that a server program runs as; without it, ours. */
export const account = z.object({ uid: z.number().optional(), gid: z.number().optional() });
export type Account = z.infer<typeof account>;

/** What a test tells the guard of a server program. */
export const order = z.discriminatedUnion('order', [
  z.object({ order: z.literal('start'), command: z.string(), args: z.array(z.string()), account }),
  z.object({ order: z.literal('signal'), signal: z.enum(['SIGTERM', 'SIGINT', 'SIGKILL']) }),
]);
export type Order = z.infer<typeof order>;

/** What the guard answers: the program is no longer there. `code` is null when a signal ended it or it could not be started. */
export const ended = z.object({ event: z.literal('ended'), code: z.number().nullable(), reason: z.string() });
export type Ended = z.infer<typeof ended>;
