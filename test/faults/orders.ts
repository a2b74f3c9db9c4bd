import { z } from 'zod';

/**
 * Where a process kills itself: right before a step, when the step has been sent and its answer is not there, or right after its
 * answer. Steps are numbered from 1 as they come after the order.
 */
export const MOMENTS = ['before', 'sent', 'after'] as const;
export const killPoint = z.object({ moment: z.enum(MOMENTS), step: z.number() });
export type KillPoint = z.infer<typeof killPoint>;

/** What a test tells a process of ASB. */
export const order = z.discriminatedUnion('order', [
  /** Counts steps from now on, and dies at one of them. */
  z.object({ order: z.literal('count'), killAt: killPoint.nullable() }),
  /** Tells the steps that were counted. */
  z.object({ order: z.literal('steps') }),
  /** A worker does what is due. */
  z.object({ order: z.literal('work') }),
]);
export type Order = z.infer<typeof order>;

/** What the process answers. */
export const reply = z.discriminatedUnion('reply', [
  z.object({ reply: z.literal('listening'), address: z.string() }),
  z.object({ reply: z.literal('counting') }),
  z.object({ reply: z.literal('steps'), names: z.array(z.string()) }),
  z.object({ reply: z.literal('worked'), isFinished: z.boolean() }),
]);
export type Reply = z.infer<typeof reply>;
