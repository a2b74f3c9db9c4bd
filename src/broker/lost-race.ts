import { BrokerError } from '../domain/errors.ts';
import type { Transactor, UnitOfWork } from '../domain/unit-of-work.ts';

/** Whether a state was not the expected one any more. */
export const isConflict = (error: unknown): boolean => error instanceof BrokerError && error.code === 'conflict';

/** Commits; answers false when somebody else was first. */
export async function unlessLost(
  { repository }: { repository: Transactor },
  stage: (unit: UnitOfWork) => void,
): Promise<boolean> {
  try {
    await repository.transact(stage);
    return true;
  } catch (error) {
    if (isConflict(error)) return false;
    throw error;
  }
}
