import type { Block } from '../../domain/block.ts';
import type { BlockQuestion } from '../../domain/unit-of-work.ts';
import { TimeQueue } from './time-queue.ts';

/** The runs and workloads that operators have stopped. A block stands until it is forgotten. */
export class Blocks {
  readonly #blocks = new Map<string, Block>();
  readonly #ends = new TimeQueue<string>();

  get(key: string): Block | undefined {
    return this.#blocks.get(key);
  }

  /** Which block stands against the caller. Costs nothing while there is none at all. */
  against(question: BlockQuestion): Block['kind'] | null {
    return blockAgainst(this.#blocks, question);
  }

  put(block: Block): void {
    const key = keyOf(block);
    this.#blocks.set(key, block);
    this.#ends.put(key, block.expiresAt);
  }

  /** Drops up to `limit` blocks that ended before `endedBefore`. Answers how many went. */
  forgetEnded(endedBefore: Date, limit: number): number {
    const ended = this.#ends.takeBefore(endedBefore, limit);
    for (const key of ended) this.#blocks.delete(key);
    return ended.length;
  }

  counts(): Readonly<Record<string, number>> {
    return { blocks: this.#blocks.size, blockEnds: this.#ends.size };
  }
}

/** What a block is kept under: one for each run and each workload of a tenant. */
export const keyOf = (block: Block): string =>
  block.kind === 'run' ? runKey(block.tenantId, block.runId) : workloadKey(block.tenantId, block.workloadHash);

/** Which of these blocks stands against the caller, the run's before the workload's. */
export function blockAgainst(blocks: ReadonlyMap<string, Block>, question: BlockQuestion): Block['kind'] | null {
  if (blocks.size === 0) return null;
  if (blocks.has(runKey(question.tenantId, question.runId))) return 'run';
  return blocks.has(workloadKey(question.tenantId, question.workloadHash)) ? 'workload' : null;
}

// A caller names its run, so the parts are quoted: no run's name reads as another's, or as a workload's.
const runKey = (tenantId: string, runId: string): string => JSON.stringify(['run', tenantId, runId]);
const workloadKey = (tenantId: string, hash: string): string => JSON.stringify(['workload', tenantId, hash]);
