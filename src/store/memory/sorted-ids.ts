/** How many ids a block holds: what putting one in or taking one out moves at most. */
const BLOCK_SIZE = 512;

/**
 * Ids in their order. They sort by time and mostly come in that order, so one is added at the end for next to nothing; anywhere
 * else it costs a search and the move of one block, however many there are.
 */
export class SortedIds<Id extends string> {
  /** In order, within and among each other; none is empty. */
  readonly #blocks: Id[][] = [];

  get isEmpty(): boolean {
    return this.#blocks.length === 0;
  }

  /** Adds an id. One that is inside already is no error. */
  add(id: Id): void {
    const at = this.#blockFor(id);
    const block = this.#blocks[at];
    if (block === undefined) return void this.#blocks.push([id]);
    const place = placeFor(block, id);
    if (block[place] === id) return;
    if (block.length < BLOCK_SIZE) return void block.splice(place, 0, id);
    // Ids that come in order leave full blocks behind, not halves.
    if (place === block.length) return void this.#blocks.splice(at + 1, 0, [id]);
    this.#blocks.splice(at + 1, 0, block.splice(BLOCK_SIZE / 2));
    this.add(id);
  }

  /** Takes an id out. One that is not inside is no error. */
  remove(id: Id): void {
    const at = this.#blockFor(id);
    const block = this.#blocks[at];
    if (block === undefined) return;
    const place = placeFor(block, id);
    if (block[place] !== id) return;
    block.splice(place, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
  }

  /** All ids, first to last. */
  *ascending(): Generator<Id, void> {
    for (const block of this.#blocks) yield* block;
  }

  /** Last to first: all ids, or those before `below`, which need not be inside. */
  *descending(below: string | null): Generator<Id, void> {
    for (let at = below === null ? this.#blocks.length - 1 : this.#blockFor(below); at >= 0; at -= 1) {
      const block = this.#blocks[at] ?? [];
      for (let place = (below === null ? block.length : placeFor(block, below)) - 1; place >= 0; place -= 1) {
        const id = block[place];
        if (id !== undefined) yield id;
      }
    }
  }

  /** The last block that starts at `id` or before it, or else the first. */
  #blockFor(id: string): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    let middle = high;
    while (low < high) {
      if (startsAfter(this.#blocks[middle], id)) high = middle - 1;
      else low = middle;
      middle = (low + high + 1) >> 1;
    }
    return Math.max(low, 0);
  }
}

function startsAfter(block: readonly string[] | undefined, id: string): boolean {
  const first = block?.[0];
  return first !== undefined && first > id;
}

/** Where `id` is or belongs: the first place whose id is not before it. */
function placeFor(block: readonly string[], id: string): number {
  let low = 0;
  let high = block.length;
  // The end first: that is where new ids go.
  let middle = high - 1;
  while (low < high) {
    const there = block[middle];
    if (there !== undefined && there < id) low = middle + 1;
    else high = middle;
    middle = (low + high) >> 1;
  }
  return low;
}
