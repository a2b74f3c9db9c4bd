import { inject } from 'vitest';
import type { z } from 'zod';

/** What the run's setup answers about a server that tests share; starts it when nobody has asked before. */
export async function sharedServer<Answer>(kind: 'postgres' | 'redis', answer: z.ZodType<Answer>): Promise<Answer> {
  const response = await fetch(`${inject('sharedServers')}/${kind}`);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return answer.parse(JSON.parse(text));
}
