import { BrokerError } from '../domain/errors.ts';

/** Whether a store could not be reached. */
export const isAway = (error: unknown): boolean => error instanceof BrokerError && error.code === 'unavailable';

/** For what may be left undone while a store is away; answers null then. */
export async function unlessAway<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (isAway(error)) return null;
    throw error;
  }
}
