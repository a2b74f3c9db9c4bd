/** Two slips of the pen, or one in a short name. */
const MAX_DISTANCE = 2;
const SHORT = 4;
/** Nothing longer is compared. */
const MAX_LENGTH = 64;

/** `; did you mean NAME?` when one of the names is a slip or two away from what was written, otherwise nothing. */
export function suggestion(written: string, names: Iterable<string>): string {
  const nearest = nearestName(written, names);
  return nearest === null ? '' : `; did you mean ${nearest}?`;
}

/** The name that is the fewest slips away; null when none is near. */
export function nearestName(written: string, names: Iterable<string>): string | null {
  if (written.length > MAX_LENGTH) return null;
  let nearest: string | null = null;
  let least = Math.min(MAX_DISTANCE, written.length <= SHORT ? 1 : MAX_DISTANCE) + 1;
  for (const name of names) {
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
