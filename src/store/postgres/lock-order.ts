/** What units lock, in the order in which everybody takes it. */
const KINDS = ['run', 'workload', 'sessions', 'grants', 'approvals', 'artifacts'] as const;
export type LockKind = (typeof KINDS)[number];

const BEHIND_ALL_IDS = '\uFFFF';

interface Lock {
  kind: LockKind;
  /** Orders the locks of a kind, as Postgres orders ids. */
  key: string;
  ids: readonly string[];
  isShared: boolean;
}

/**
 * Notes which locks the changes of a unit take, and in which order. Two units that take the same locks in different orders may wait
 * for each other for ever, so a unit that leaves the order takes all its locks ahead of its changes.
 */
export class LockOrder {
  readonly #locks = new Map<string, Lock>();
  /** Rows that the unit has made itself: nobody else sees them. */
  readonly #made = new Set<string>();
  #lastRank = -1;
  #lastKey = '';
  #isKept = true;

  made(id: string): void {
    this.#made.add(id);
  }

  /** A change locks a row; shared when others may lock it as well, as long as nobody changes it. */
  take(kind: LockKind, id: string, isShared: boolean): void {
    if (!this.#made.has(id)) this.#take(kind, id, [id], isShared);
  }

  /** A change locks what stops a run or a workload. */
  takeBlock(kind: 'run' | 'workload', tenantId: string, target: string, isShared: boolean): void {
    this.#take(kind, JSON.stringify([tenantId, target]), [kind, tenantId, target], isShared);
  }

  /** A change locks rows of a kind that only the database can name. */
  takeSome(kind: LockKind): void {
    const rank = KINDS.indexOf(kind);
    if (rank < this.#lastRank) this.#isKept = false;
    this.#lastRank = rank;
    this.#lastKey = BEHIND_ALL_IDS;
  }

  /** A change locks something that comes after all other locks, whatever it is. */
  takeLast(): void {
    this.#lastRank = KINDS.length;
  }

  /** What is to be locked ahead of the changes, as `take_locks` reads it; null when the changes keep the order by themselves. */
  toBeTakenFirst(): string | null {
    if (this.#isKept) return null;
    const byKind = Map.groupBy(this.#locks.values(), ({ kind }) => kind);
    const listed = KINDS.flatMap((kind) => {
      const ofKind = (byKind.get(kind) ?? []).sort((one, other) => (one.key < other.key ? -1 : 1));
      if (kind === 'run' || kind === 'workload')
        return ofKind.map(({ ids, isShared }) => ({ of: 'block', ids, is_shared: isShared }));
      // All of a kind at once: a weak lock before a strong one would be an order of its own.
      const ids = ofKind.flatMap((lock) => lock.ids);
      return ids.length === 0 ? [] : [{ of: kind, ids, is_shared: ofKind.every(({ isShared }) => isShared) }];
    });
    return JSON.stringify(listed);
  }

  #take(kind: LockKind, key: string, ids: readonly string[], isShared: boolean): void {
    const rank = KINDS.indexOf(kind);
    const name = `${kind} ${key}`;
    const held = this.#locks.get(name);
    if (held !== undefined) {
      // Two who share a lock and both want more of it would wait for each other.
      if (held.isShared && !isShared) {
        held.isShared = false;
        this.#isKept = false;
      }
      return;
    }
    if (rank < this.#lastRank || (rank === this.#lastRank && key < this.#lastKey)) this.#isKept = false;
    this.#locks.set(name, { kind, key, ids, isShared });
    this.#lastRank = rank;
    this.#lastKey = key;
  }
}
