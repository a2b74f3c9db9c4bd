import type { ASTNode } from '@marcbachmann/cel-js';
import { childrenOf } from './condition-nodes.ts';
import { COLLECTION_FIELDS, MAX_ITEMS, MAX_TEXT_LENGTH } from './condition-variables.ts';

export const MACROS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'filter', 'map']);

/** What a node can come to, and what it takes. */
interface Extent {
  /** The most steps; one is about the time to evaluate a node that does next to nothing. */
  steps: number;
  kind: 'scalar' | 'collection' | 'record';
  /** Elements of a list or entries of a map; 0 for all else. */
  items: number;
  /** Length of the text, or of the longest in a collection; of what is no text, of its longest spelling. */
  chars: number;
}

type Scope = ReadonlyMap<string, Extent>;

/** Above every number, time and bool in writing. */
const SHORT = 64;

// How many characters one step goes through.
const COMPARED = 256;
const COPIED = 64;
const CONVERTED = 4;
const SCANNED = 8;
/** A text is searched for another in time that grows with both lengths as well. */
const SEARCHED = 256;

const CALL_STEPS = 4;
/** Times are objects. */
const ARITHMETIC_STEPS = 6;
/** An upper case letter may be written with three in lower case, or the other way around. */
const CASE_GROWTH = 3;

const SCALAR: Extent = { steps: 1, kind: 'scalar', items: 0, chars: SHORT };
const RECORD: Extent = { steps: 1, kind: 'record', items: 0, chars: 0 };

/**
 * The most steps that an evaluation can take, whatever a request brings. Calls `refuse` for each list or map in a list or map:
 * one that holds another many times, itself held many times, is cheap to make and takes for ever to compare.
 */
export function stepsOf(root: ASTNode, refuse: (node: ASTNode) => void): number {
  const extentIn = (node: ASTNode, scope: Scope): Extent => {
    const extent = (child: ASTNode): Extent => extentIn(child, scope);
    const element = (child: ASTNode, within: Scope = scope): Extent => {
      const found = extentIn(child, within);
      if (found.kind !== 'scalar') refuse(child);
      return found;
    };
    switch (node.op) {
      case 'value':
        return { ...SCALAR, chars: lengthOf(node.args) };
      case 'id':
        return scope.get(node.args) ?? (node.args === 'now' ? SCALAR : RECORD);
      case 'list':
        return collectionOf(
          node.args.map((child) => element(child)),
          node.args.length,
        );
      case 'map':
        return collectionOf(
          node.args.flat().map((child) => element(child)),
          node.args.length,
        );
      case '.':
      case '.?':
        return fieldExtent(extent(node.args[0]), node.args[1]);
      case '[]':
      case '[?]':
        return indexExtent(extent(node.args[0]), extent(node.args[1]), node.args[1]);
      case '?:': {
        const [asked, one, other] = node.args;
        const either = eitherOf(extent(one), extent(other));
        return { ...either, steps: 1 + extent(asked).steps + either.steps };
      }
      case '+':
        return sumOf(extent(node.args[0]), extent(node.args[1]));
      case '==':
      case '!=':
      case '<':
      case '<=':
      case '>':
      case '>=':
      case 'in':
        return compared(extent(node.args[0]), extent(node.args[1]));
      case 'call':
        return called(node.args[0], node.args[1].map(extent));
      case 'rcall': {
        const [name, receiver, args] = node.args;
        return MACROS.has(name)
          ? macroExtent(name, extent(receiver), args, scope, name === 'map' ? element : extentIn)
          : called(name, [receiver, ...args].map(extent));
      }
      case '&&':
      case '||':
      case '!_':
        return { ...SCALAR, steps: 1 + stepsIn(childrenOf(node).map(extent)) };
      default:
        return { ...SCALAR, steps: ARITHMETIC_STEPS + stepsIn(childrenOf(node).map(extent)) };
    }
  };
  return extentIn(root, new Map()).steps;
}

function macroExtent(
  name: string,
  range: Extent,
  [variable, ...bodies]: readonly ASTNode[],
  scope: Scope,
  extentIn: (node: ASTNode, scope: Scope) => Extent,
): Extent {
  const items = Math.min(range.items, MAX_ITEMS);
  const each: Extent = { ...SCALAR, chars: range.chars };
  const within = variable?.op === 'id' ? new Map(scope).set(variable.args, each) : scope;
  const made = bodies.map((body) => extentIn(body, within));
  const steps = CALL_STEPS + range.steps + items * (2 + stepsIn(made));
  if (name === 'filter') return { steps, kind: 'collection', items, chars: range.chars };
  if (name === 'map') return { steps, kind: 'collection', items, chars: made.at(-1)?.chars ?? 0 };
  return { ...SCALAR, steps };
}

const stepsIn = (extents: readonly Extent[]): number => extents.reduce((sum, { steps }) => sum + steps, 0);

function collectionOf(elements: readonly Extent[], items: number): Extent {
  const chars = elements.reduce((most, element) => Math.max(most, element.chars), 0);
  return { steps: 1 + stepsIn(elements), kind: 'collection', items, chars };
}

function fieldExtent(from: Extent, field: string): Extent {
  const steps = from.steps + 1;
  if (from.kind !== 'record') return { ...SCALAR, steps, chars: from.chars };
  if (!COLLECTION_FIELDS.has(field)) {
    return { ...SCALAR, steps, chars: MAX_TEXT_LENGTH };
  }
  return { steps: steps + MAX_ITEMS, kind: 'collection', items: MAX_ITEMS, chars: MAX_TEXT_LENGTH };
}

function indexExtent(from: Extent, key: Extent, written: ASTNode): Extent {
  const named = written.op === 'value' && typeof written.args === 'string' ? written.args : '';
  const found = fieldExtent(from, named);
  return { ...found, steps: found.steps + key.steps + key.chars / COMPARED };
}

const eitherOf = (one: Extent, other: Extent): Extent => ({
  // What is both is treated as what may hold more.
  kind: one.kind === 'scalar' ? other.kind : one.kind,
  steps: Math.max(one.steps, other.steps),
  items: Math.max(one.items, other.items),
  chars: Math.max(one.chars, other.chars),
});

function sumOf(one: Extent, other: Extent): Extent {
  const steps = 1 + one.steps + other.steps;
  if (one.kind === 'scalar' && other.kind === 'scalar') {
    const chars = one.chars + other.chars;
    return { ...SCALAR, steps: steps + chars / COPIED, chars };
  }
  const items = one.items + other.items;
  return { steps: steps + items, kind: 'collection', items, chars: Math.max(one.chars, other.chars) };
}

/** Each element is compared with one of the other side, or with the one that is looked for. */
function compared(one: Extent, other: Extent): Extent {
  const each = 2 + Math.min(one.chars, other.chars) / COMPARED;
  return { ...SCALAR, steps: one.steps + other.steps + Math.max(1, one.items, other.items) * each };
}

function called(name: string, given: readonly Extent[]): Extent {
  const steps = CALL_STEPS + stepsIn(given);
  const [{ chars } = SCALAR, { chars: searched } = SCALAR] = given;
  switch (name) {
    case 'contains': {
      const part = Math.min(searched, chars / 2);
      return { ...SCALAR, steps: steps + chars / SCANNED + (part * (chars - part)) / SEARCHED };
    }
    case 'lowerAscii':
    case 'upperAscii':
      return { ...SCALAR, steps: steps + chars / CONVERTED, chars: chars * CASE_GROWTH };
    case 'string':
      return { ...SCALAR, steps: steps + chars / CONVERTED, chars: Math.max(chars, SHORT) };
    default:
      return { ...SCALAR, steps: steps + chars / CONVERTED };
  }
}

const lengthOf = (written: unknown): number =>
  typeof written === 'string' || written instanceof Uint8Array ? written.length : SHORT;
