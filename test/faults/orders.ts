import { z } from 'zod';

/** A place in the work of a process: right before a step, or right after its answer. Steps are numbered from 1 as they come. */
export const point = z.object({ moment: z.enum(['before', 'after']), step: z.number() });
export type Point = z.infer<typeof point>;

/** What a test tells a process of ASB. */
export const order = z.discriminatedUnion('order', [
  /** Counts steps from now on. At a point it kills itself, or goes no further with what it does. */
  z.object({ order: z.literal('count'), at: point.nullable(), then: z.enum(['die', 'hold']) }),
  /** Tells the steps that were counted. */
  z.object({ order: z.literal('steps') }),
  /** A worker begins. */
  z.object({ order: z.literal('work') }),
]);
export type Order = z.infer<typeof order>;

/** What the process answers. */
export const reply = z.discriminatedUnion('reply', [
  z.object({ reply: z.literal('listening'), address: z.string() }),
  z.object({ reply: z.literal('counting') }),
  z.object({ reply: z.literal('held') }),
  z.object({ reply: z.literal('steps'), names: z.array(z.string()) }),
  z.object({ reply: z.literal('worked'), isFinished: z.boolean() }),
]);
export type Reply = z.infer<typeof reply>;
