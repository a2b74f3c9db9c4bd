/** Two slips of the pen, or one in a short name. */
const MAX_DISTANCE = 2;
const SHORT = 4;
/** Nothing longer is compared. */
const MAX_LENGTH = 64;

/** A file that holds more mistakes than this is not mended name by name. */
const MAX_SUGGESTIONS = 20;
const MAX_NAMES = 200;

/** `; did you mean NAME?` when one of the names is a slip or two away from what was written, otherwise nothing. */
export type Suggest = (written: string, names: Iterable<string>) => string;

/** For whoever does not read the messages. */
export const noSuggestion: Suggest = () => '';

/**
 * Makes suggestions for one file: for the first mistakes and out of the first names only, because otherwise every name that nobody
 * knows would be compared with every one that is known.
 */
export function makeSuggest(): Suggest {
  let left = MAX_SUGGESTIONS;
  return (written, names) => {
    if (left === 0) return '';
    left -= 1;
    const nearest = nearestName(written, names);
    return nearest === null ? '' : `; did you mean ${nearest}?`;
  };
}

/** The name that is the fewest slips away, of the first ones; null when none is near. */
export function nearestName(written: string, names: Iterable<string>): string | null {
  if (written.length > MAX_LENGTH) return null;
  let nearest: string | null = null;
  let least = Math.min(MAX_DISTANCE, written.length <= SHORT ? 1 : MAX_DISTANCE) + 1;
  let compared = 0;
  for (const name of names) {
    if (compared === MAX_NAMES) break;
    compared += 1;
    if (Math.abs(name.length - written.length) >= least || name === written) continue;
    const distance = slips(written, name);
    if (distance < least) [nearest, least] = [name, distance];
  }
  return nearest;
}

/** How many letters must be put in, left out, changed or swapped with their neighbour (optimal string alignment). */
function slips(one: string, other: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const changed = one[row - 1] === other[column - 1] ? 0 : 1;
      const [above = 0, left = 0, diagonal = 0] = [previous[column], current[column - 1], previous[column - 1]];
      let least = Math.min(above + 1, left + 1, diagonal + changed);
      if (row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]) {
        least = Math.min(least, (before[column - 2] ?? 0) + 1);
      }
      current.push(least);
    }
    [before, previous] = [previous, current];
  }
  return previous[other.length] ?? 0;
}
